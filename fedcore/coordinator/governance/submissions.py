"""What people hand in: their signing keys and their signed access requests, checked before they are kept."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import IntegrityError
from django.utils import timezone
from django.utils.translation import gettext as _

from fedcore.coordinator import plugins
from fedcore.coordinator.governance import audit, decisions, notices, trying
from fedcore.coordinator.governance.audit import Action, Subject, Thing
from fedcore.coordinator.governance.limits import in_audit, limits_of
from fedcore.coordinator.governance.models import (
    UNDECIDED,
    AccessRequest,
    Dataset,
    Person,
    PersonKey,
    Role,
)
from fedcore.coordinator.governance.problems import DecisionError
from fedcore.plugin_api.models import ModelType
from fedcore.plugin_api.pipeline import BuiltPipeline, InvalidPipeline
from fedcore.plugin_api.registry import UnknownPlugin
from fedcore.wire import access as wire
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import verify
from fedcore.wire.signing import Signed
from fedcore.wire.spec import PluginChoice

KEY_PROOF: Final = b"fedcore/key/v1\0"
LONGEST: Final = timedelta(days=10 * 365)
"""How far ahead access may be asked for."""

UNDECIDED_EACH: Final = 30
"""How many requests of one person may wait for a decision."""


def register_key(person: Person, public_key: str, signature: str) -> PersonKey:
    """Keep a public key of `person`, who proves with `signature` (base64, over `KEY_PROOF` and the username)
    to hold the private one. Registering a key again changes nothing.

    Raises `WireError` (`bad_signature`) or `DecisionError` (`conflict`: somebody's, or revoked).
    """
    if not verify(public_key, _decoded(signature), KEY_PROOF + person.username.encode()):
        raise WireError(RefusalCode.BAD_SIGNATURE, "the proof does not fit the key and the username")
    try:
        with audit.atomic():
            key, made = PersonKey.objects.get_or_create(public_key=public_key, defaults={"person": person})
            if made:
                audit.record(Action.REGISTER_KEY, key, by=person)
    except IntegrityError:
        key = PersonKey.objects.get(public_key=public_key)
    if key.person_id != person.pk or key.revoked_at is not None:
        raise DecisionError("conflict", _("This key cannot be registered. Make a new one."))
    return key


def revoke_key(key: PersonKey) -> None:
    """End a key: nothing that it signs is accepted from now on."""
    with audit.atomic():
        if PersonKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()):
            audit.record(Action.REVOKE_KEY, key)
    key.refresh_from_db()


def submit_request(signed: Signed, person: Person) -> tuple[AccessRequest, bool]:
    """Keep a scientist's signed request, for the owner to decide; also tells whether it is new.

    Handing in the same text again returns the request as it is. Raises `WireError` or `DecisionError`.
    """
    with audit.refusals(Action.SUBMIT_REQUEST, Subject(Thing.REQUEST, signed.digest), by=person):
        return _submit(signed, person)


def _submit(signed: Signed, person: Person) -> tuple[AccessRequest, bool]:
    message = signed.open(wire.AccessRequest)
    _check_scientist(signed, message, person)
    known = AccessRequest.objects.filter(digest=signed.digest).first()
    if known is not None:
        return _of(person, signed, known), False
    dataset = _dataset_of(message, person)
    replaced = _replaced_by(message, person)
    expires_at = _expiry_of(message)
    _check_plugins(message)
    with audit.atomic():
        _check_number(message, person)
        kept, is_new = _kept(signed, message, dataset, person, expires_at)
        trying.ask_for_request(kept)
        if is_new:
            audit.record(Action.SUBMIT_REQUEST, kept, by=person, **in_audit(limits_of(kept)))
            _announce(kept, person, replaced)
    return _of(person, signed, kept), is_new


def _check_number(message: wire.AccessRequest, person: Person) -> None:
    """What waits is for owners to read, and is tried: nobody hands in more than a few dozen. Locks the person's row."""
    Person.objects.select_for_update().get(pk=person.pk)
    waiting = AccessRequest.objects.filter(
        requested_by=person, state__in=UNDECIDED, expires_at__gt=timezone.now()
    )
    if waiting.exclude(pk=message.replaces).count() >= UNDECIDED_EACH:
        raise DecisionError(
            "too_many_requests",
            _(
                "You have %(count)d requests that nobody has decided about. Wait for decisions, or withdraw some."
            )
            % {"count": UNDECIDED_EACH},
        )


def _announce(request: AccessRequest, person: Person, replaced: AccessRequest | None) -> None:
    """Tell the owners; what the request replaces is withdrawn if it still waits, while a grant stays until it ends."""
    if replaced is not None and replaced.state in UNDECIDED:
        decisions.withdraw(replaced, person, _("Another request replaces it."))
    said = _("%(person)s asks for access to %(dataset)s.") % {"person": person, "dataset": request.dataset}
    owners = notices.data_owners_of(request.dataset.organisation, person)
    notices.tell(owners, notices.About.REQUEST, request.pk, said)


def _of(person: Person, signed: Signed, known: AccessRequest) -> AccessRequest:
    """The known request with this text, if this person signed it: somebody else may have copied the text."""
    if known.requested_by_id != person.pk or known.signer != signed.signer:
        raise DecisionError(
            "conflict",
            _("Somebody else has handed in a request with this text. Sign one with another nonce."),
        )
    return known


def _kept(
    signed: Signed, message: wire.AccessRequest, dataset: Dataset, person: Person, expires_at: datetime
) -> tuple[AccessRequest, bool]:
    said = message.model_dump(mode="json")
    return AccessRequest.objects.get_or_create(
        digest=signed.digest,
        defaults={
            "text": signed.text,
            "signer": signed.signer,
            "signature": signed.signature,
            "dataset": dataset,
            "dataset_version": message.dataset.version,
            "requested_by": person,
            "purpose": message.purpose,
            "reason": message.reason,
            "pipelines": said["pipelines"],
            "protocols": said["protocols"],
            "backends": said["backends"],
            "model_types": said["models"],
            "epsilon_micro": message.privacy.epsilon_micro,
            "delta": message.privacy.delta,
            "releases": message.releases,
            "minimum_owners": message.minimum_owners,
            "download": message.download,
            "expires_at": expires_at,
            "replaces_id": message.replaces,
        },
    )


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        raise WireError(RefusalCode.BAD_SIGNATURE, "the signature is not base64") from None


def _check_scientist(signed: Signed, message: wire.AccessRequest, person: Person) -> None:
    if not PersonKey.objects.active().filter(person=person, public_key=signed.signer).exists():
        raise WireError(
            RefusalCode.UNKNOWN_SIGNER, "the key is not one that you registered, or it is revoked"
        )
    if not person.has_role(Role.DATA_SCIENTIST):
        raise DecisionError("not_data_scientist", _("Only data scientists ask for access to data."))
    organisation = person.organisation.name if person.organisation else ""
    if message.organisation != organisation:
        raise DecisionError(
            "wrong_organisation",
            _("The request says that you work for %(said)s; you belong to %(known)s. Sign it with that name.")
            % {"said": message.organisation, "known": organisation},
        )


def _dataset_of(message: wire.AccessRequest, person: Person) -> Dataset:
    asked = message.dataset
    dataset: Dataset | None = (
        Dataset.objects.visible_to(person)
        .offered()
        .filter(host__signing_key=asked.host, name=asked.name)
        .first()
    )
    if dataset is None:
        raise WireError(RefusalCode.UNKNOWN_DATASET, asked.name)
    if dataset.current_version != asked.version:
        raise WireError(RefusalCode.DATASET_CHANGED, f"now {dataset.current_version}, asked {asked.version}")
    return dataset


def _replaced_by(message: wire.AccessRequest, person: Person) -> AccessRequest | None:
    if message.replaces is None:
        return None
    known: AccessRequest | None = AccessRequest.objects.filter(
        digest=message.replaces, requested_by=person
    ).first()
    if known is None:
        raise DecisionError(
            "unknown_request",
            _(
                "The request replaces %(digest)s, which is none of yours. Leave `replaces` out, or name one of yours."
            )
            % {"digest": message.replaces[:12]},
        )
    return known


def _expiry_of(message: wire.AccessRequest) -> datetime:
    now = timezone.now()
    if message.expires_at <= now.timestamp():
        raise WireError(RefusalCode.EXPIRED, "the access asked for ends in the past")
    if message.expires_at > (now + LONGEST).timestamp():
        raise WireError(RefusalCode.MALFORMED, f"access may be asked for at most {LONGEST.days} days ahead")
    return datetime.fromtimestamp(message.expires_at, UTC)


def _check_plugins(message: wire.AccessRequest) -> None:
    """A request that could never run is refused now, not when an owner has thought about it."""
    registry = plugins.installed()
    try:
        for name in message.models:
            registry.of_type(ModelType, name)  # type: ignore[type-abstract]
        for pipeline in message.pipelines:
            for name in message.backends:
                BuiltPipeline(registry, pipeline, PluginChoice(name=name))
    except UnknownPlugin as error:
        raise WireError(RefusalCode.PLUGIN_MISSING, str(error)) from None
    except InvalidPipeline as error:
        raise WireError(RefusalCode.INVALID_OPTIONS, str(error)) from None
