"""What can be done, as a fixed list, and what an entry says about each: ids, numbers and codes.

No detail has free text: a reason, a name, an e-mail address or a secret has no field that it could stand in.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _
from pydantic import BaseModel, ConfigDict, Field

Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]
"""A name of a field, role, plugin, phase or code."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class Action(TextChoices):
    """What was done, or refused."""

    LOG_IN = "log_in", _("log in")
    PASS_PASSWORD = "pass_password", _("give the right password, with the code still to come")
    LOCK_OUT = "lock_out", _("lock out after wrong passwords")
    LOG_OUT = "log_out", _("log out")
    MAKE_TOKEN = "make_token", _("make an API token")
    END_TOKEN = "end_token", _("end an API token")
    END_SESSION = "end_session", _("end a session")
    LIFT_LOCKOUT = "lift_lockout", _("lift a lock-out")

    ADD_PERSON = "add_person", _("add a person")
    CHANGE_PERSON = "change_person", _("change a person")
    DELETE_PERSON = "delete_person", _("delete a person")
    ERASE_PERSON = "erase_person", _("erase a person's name")
    GIVE_ROLE = "give_role", _("give a role")
    TAKE_ROLE = "take_role", _("take a role away")
    ADD_ORGANISATION = "add_organisation", _("add an organisation")
    CHANGE_ORGANISATION = "change_organisation", _("change an organisation")
    DELETE_ORGANISATION = "delete_organisation", _("delete an organisation")
    ADD_HOST = "add_host", _("add an owner host")
    CHANGE_HOST = "change_host", _("change an owner host")
    DELETE_HOST = "delete_host", _("delete an owner host")
    REGISTER_KEY = "register_key", _("register a signing key")
    REVOKE_KEY = "revoke_key", _("revoke a signing key")

    OFFER_DATASET = "offer_dataset", _("offer a dataset")
    CHANGE_DATASET = "change_dataset", _("change a dataset")
    WITHDRAW_DATASET = "withdraw_dataset", _("withdraw a dataset")

    SET_APPROVERS = "set_approvers", _("say how many approve a request")
    ENROL_FACTOR = "enrol_factor", _("set up a second factor")
    REMOVE_FACTOR = "remove_factor", _("remove a second factor")
    RENEW_CODES = "renew_codes", _("make new recovery codes")

    SUBMIT_REQUEST = "submit_request", _("submit an access request")
    APPROVE_REQUEST = "approve_request", _("approve an access request")
    PROPOSE_GRANT = "propose_grant", _("approve an access request as the first of two")
    ASK_BACK = "ask_back", _("ask back about an access request")
    ANSWER_BACK = "answer_back", _("answer a question about an access request")
    WITHDRAW_REQUEST = "withdraw_request", _("withdraw an access request or give a grant back")
    TIGHTEN_GRANT = "tighten_grant", _("tighten a grant")
    STAND_GRANT = "stand_grant", _("say how a grant stands at the host")
    REFUSE_REQUEST = "refuse_request", _("refuse an access request")
    REVOKE_GRANT = "revoke_grant", _("revoke a grant")
    USE_RELEASE = "use_release", _("use a release of a grant")

    SUBMIT_RUN = "submit_run", _("submit a run")
    START_RUN = "start_run", _("start a run")
    FINISH_RUN = "finish_run", _("finish a run")
    STOP_RUN = "stop_run", _("stop a run")
    CANCEL_RUN = "cancel_run", _("cancel a run")
    DELETE_RUN = "delete_run", _("delete a run")
    ANSWER_ORDER = "answer_order", _("answer an order")

    RECEIVE_ARTEFACT = "receive_artefact", _("receive an artefact from a host")
    GIVE_ARTEFACT = "give_artefact", _("give an artefact to a host")
    DELETE_ARTEFACTS = "delete_artefacts", _("delete artefacts")
    READ_REPORT = "read_report", _("read a run's report")
    DOWNLOAD_MODEL = "download_model", _("download a model")
    DOWNLOAD_DATASET = "download_dataset", _("download a merged dataset")
    EXPORT_AUDIT = "export_audit", _("export the audit")
    VERIFY_AUDIT = "verify_audit", _("verify the audit")


def action_choices() -> list[tuple[str, Any]]:
    """The actions as a field's choices. As a function, so that a further action is no change of the database."""
    return list(Action.choices)


class Detail(BaseModel):
    """What an entry says beside who, where, what and when. Nothing, unless its action names a subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Changed(Detail):
    """Which fields changed. What they said stays out: it may be personal."""

    fields: tuple[Word, ...]


class RoleDetail(Detail):
    role: Word


class TokenDetail(Detail):
    expired: bool = False


class Limits(Detail):
    """The limits of a request or a grant. `expires_at` is in seconds since 1970; epsilon is in millionths."""

    protocols: tuple[Word, ...] | None = None
    backends: tuple[Word, ...] | None = None
    model_types: tuple[Word, ...] | None = None
    epsilon_micro: Count | None = None
    minimum_owners: Count | None = None
    releases: Count | None = None
    expires_at: Count | None = None
    download: bool | None = None


class Stands(Detail):
    standing: Word


class Approvers(Detail):
    number: Count


class Release(Detail):
    run: Digest


class RunDetail(Detail):
    protocol: Word
    backend: Word
    model: Word


class OrderDetail(Detail):
    phase: Word
    step: Count
    round: Count
    status: Word


class ArtefactDetail(Detail):
    role: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{0,63}$")]
    digest: Digest
    size: Count


class Deleted(Detail):
    artefacts: tuple[Digest, ...]


class Exported(Detail):
    format: Word
    entries: Count


class Verified(Detail):
    """Which entries were looked at, and whether a head that was noted down earlier was among them."""

    first: Count
    last: Count
    head: bool


DETAILS: Final[dict[Action, type[Detail]]] = {
    Action.END_TOKEN: TokenDetail,
    Action.CHANGE_PERSON: Changed,
    Action.CHANGE_ORGANISATION: Changed,
    Action.CHANGE_HOST: Changed,
    Action.CHANGE_DATASET: Changed,
    Action.GIVE_ROLE: RoleDetail,
    Action.TAKE_ROLE: RoleDetail,
    Action.SUBMIT_REQUEST: Limits,
    Action.APPROVE_REQUEST: Limits,
    Action.PROPOSE_GRANT: Limits,
    Action.TIGHTEN_GRANT: Limits,
    Action.STAND_GRANT: Stands,
    Action.SET_APPROVERS: Approvers,
    Action.USE_RELEASE: Release,
    Action.SUBMIT_RUN: RunDetail,
    Action.ANSWER_ORDER: OrderDetail,
    Action.RECEIVE_ARTEFACT: ArtefactDetail,
    Action.GIVE_ARTEFACT: ArtefactDetail,
    Action.DELETE_ARTEFACTS: Deleted,
    Action.EXPORT_AUDIT: Exported,
    Action.VERIFY_AUDIT: Verified,
}


def detail_of(action: Action, facts: dict[str, Any], refused: bool) -> dict[str, Any]:
    """The facts as the action's detail has them; a refusal may say none. Raises `ValidationError`."""
    schema = DETAILS.get(action, Detail)
    if refused and not facts:
        return {}
    return schema(**facts).model_dump(mode="json", exclude_none=True)
