"""Every change of state of access requests and grants: one function each, called by admin and API alike.

Each is one transaction with a conditional update, so that of two people who decide at the same time one
decides and the other is told; the thread of the request and the notices are written in it too. Only data owners of
the dataset's organisation decide: not the operator of the coordinator, and not the scientist. The scientist answers
and withdraws.

| state | approve, renew | refuse | ask | answer | tighten | revoke | withdraw |
|---|---|---|---|---|---|---|---|
| waiting | approved | refused | asked_back | - | - | - | withdrawn |
| asked_back | approved | refused | asked_back | waiting | - | - | withdrawn |
| proposed | approved | refused | asked_back | - | - | - | withdrawn |
| approved | - | - | - | - | approved | revoked | withdrawn |
| refused, revoked, withdrawn | - | - | - | - | - | - | - |

Where an organisation wants two approvers, the first approval makes the request `proposed`, and a second data owner
approves that, or less. Limits only ever become tighter. That a time has passed is no state, it follows from the limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, Final

from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext as _

from fedcore.coordinator.governance import audit, renewals, standings
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.limits import (
    NAMES,
    Limited,
    Limits,
    excess,
    limits_of,
    narrowed,
)
from fedcore.coordinator.governance.models import (
    UNDECIDED,
    AccessRequest,
    Grant,
    Person,
    Proposal,
    RequestState,
    Said,
)
from fedcore.coordinator.governance.notices import About
from fedcore.coordinator.governance.problems import DecisionError
from fedcore.coordinator.governance.saying import say, tell_owners, tell_scientist

__all__ = ["Decision", "DecisionError", "Limits", "bound_of", "decided", "open_to", "within"]

decided = Signal()
"""Sent after a decision is committed, with `request`: whatever waits for it, or relies on it, may look again."""


class Decision(StrEnum):
    """What can be done about a request."""

    APPROVE = "approve"
    RENEW = "renew"
    REFUSE = "refuse"
    ASK = "ask"
    ANSWER = "answer"
    TIGHTEN = "tighten"
    REVOKE = "revoke"
    WITHDRAW = "withdraw"


FROM: Final[Mapping[Decision, tuple[RequestState, ...]]] = {
    Decision.APPROVE: UNDECIDED,
    Decision.RENEW: UNDECIDED,
    Decision.REFUSE: UNDECIDED,
    Decision.ASK: UNDECIDED,
    Decision.ANSWER: (RequestState.ASKED_BACK,),
    Decision.TIGHTEN: (RequestState.APPROVED,),
    Decision.REVOKE: (RequestState.APPROVED,),
    Decision.WITHDRAW: (*UNDECIDED, RequestState.APPROVED),
}
"""In which states each decision may be taken."""

OF_THE_SCIENTIST: Final = frozenset({Decision.ANSWER, Decision.WITHDRAW})


def open_to(request: AccessRequest, person: Person) -> frozenset[Decision]:
    """The decisions that `person` may take about the request as it is now. What is outdated is granted no more."""
    if person.is_active and request.requested_by_id == person.pk:
        allowed = OF_THE_SCIENTIST
    elif person.owns_data_of(request.dataset.organisation.pk):
        allowed = frozenset(Decision) - OF_THE_SCIENTIST
    else:
        return frozenset()
    found = {decision for decision in allowed if request.state in FROM[decision]}
    if _outdated(request, timezone.now()) is not None:
        found -= {Decision.APPROVE, Decision.RENEW}
    proposal = _proposal_of(request)
    if proposal is not None and proposal.proposed_by_id == person.pk:
        found -= {Decision.APPROVE, Decision.RENEW}
    return frozenset(found if renewals.is_renewal(request) else found - {Decision.RENEW})


@audit.refusals_of(Action.APPROVE_REQUEST)
def approve(
    request: AccessRequest, person: Person, limits: Limits | None = None, reason: str = ""
) -> Grant | None:
    """Grant a request, within its own limits; None where a second data owner must approve it too.

    Raises `DecisionError`.
    """
    _check_owner(request, person)
    return _approve(request, person, limits, reason)


def _approve(request: AccessRequest, person: Person, limits: Limits | None, reason: str) -> Grant | None:
    now = timezone.now()
    with audit.atomic():
        locked = AccessRequest.objects.select_for_update().get(pk=request.pk)
        first = _proposal_of(locked)
        if first is not None and first.proposed_by_id == person.pk:
            raise DecisionError(
                "second_person",
                _("You have approved it already. A second data owner of %(organisation)s must approve it.")
                % {"organisation": request.dataset.organisation},
            )
        is_final = first is not None or not locked.dataset.organisation.two_approvers
        state = RequestState.APPROVED if is_final else RequestState.PROPOSED
        _move(request, Decision.APPROVE, state, person, reason, now)
        _check_current(request, now)
        values = within(first or request, limits or Limits(), now)
        if not is_final:
            _propose(request, person, values, reason, now)
            return None
        grant = Grant(request=request, approved_by=person, approved_at=now, **values)
        grant.proposed_by = first.proposed_by if first else None
        grant.save(force_insert=True)
        standings.note_change(grant)
        Proposal.objects.filter(request=request).delete()
        say(request, person, Said.APPROVED, reason, now, values)
        tell_scientist(
            request, About.DECISION, _("%(person)s approved your request for %(dataset)s."), person
        )
    return grant


@audit.refusals_of(Action.APPROVE_REQUEST)
def renew(request: AccessRequest, person: Person, reason: str = "") -> Grant | None:
    """Approve a renewal with the limits of the grant that it renews, but for the period and the releases, which are
    as asked. Raises `DecisionError`."""
    _check_owner(request, person)
    limits = renewals.limits_of_renewal(request)
    if limits is None:
        raise DecisionError(
            "no_renewal",
            _("It asks for more than another period and other releases of a grant. Approve it with limits."),
        )
    return _approve(request, person, limits, reason)


@audit.refusals_of(Action.REFUSE_REQUEST)
def refuse(request: AccessRequest, person: Person, reason: str) -> None:
    """Refuse a request. The scientist reads the reason. Raises `DecisionError`."""
    _check_owner(request, person)
    _check_text(reason, _("Give a reason: the scientist reads it."))
    now = timezone.now()
    with audit.atomic():
        _move(request, Decision.REFUSE, RequestState.REFUSED, person, reason, now)
        Proposal.objects.filter(request=request).delete()
        say(request, person, Said.REFUSED, reason, now)
        tell_scientist(request, About.DECISION, _("%(person)s refused your request for %(dataset)s."), person)


@audit.refusals_of(Action.ASK_BACK)
def ask(request: AccessRequest, person: Person, question: str) -> None:
    """Ask the scientist something; the request waits for the answer, and a first approval is void.

    Raises `DecisionError`.
    """
    _check_owner(request, person)
    _check_text(question, _("Write the question: the scientist reads it."))
    now = timezone.now()
    with audit.atomic():
        _move(request, Decision.ASK, RequestState.ASKED_BACK)
        Proposal.objects.filter(request=request).delete()
        say(request, person, Said.QUESTION, question, now)
        text = _("%(person)s asks you something about your request for %(dataset)s.")
        tell_scientist(request, About.QUESTION, text, person)


@audit.refusals_of(Action.ANSWER_BACK)
def answer(request: AccessRequest, person: Person, text: str) -> None:
    """Answer an owner's question; the request waits for a decision again. Raises `DecisionError`."""
    _check_scientist(request, person)
    _check_text(text, _("Write the answer: the owner reads it."))
    with audit.atomic():
        _move(request, Decision.ANSWER, RequestState.WAITING)
        say(request, person, Said.ANSWER, text, timezone.now())
        said = _("%(person)s answered your question about the request for %(dataset)s.")
        tell_owners(request, About.ANSWER, said, person)


@audit.refusals_of(Action.TIGHTEN_GRANT)
def tighten(request: AccessRequest, person: Person, limits: Limits, reason: str) -> Grant:
    """Lower limits of a grant at once, also for runs under way. A limit that is left out stays as it is.

    Raises `DecisionError`. What was handed over before cannot be called back.
    """
    _check_owner(request, person)
    _check_text(reason, _("Give a reason: the scientist reads it."))
    now = timezone.now()
    with audit.atomic():
        _move(request, Decision.TIGHTEN, RequestState.APPROVED, person, reason, now)
        grant: Grant = Grant.objects.select_for_update().get(request=request)
        values = within(grant, limits, now)
        if values == limits_of(grant):
            raise DecisionError(
                "nothing_changed", _("All limits are as before. Lower one, or revoke the grant.")
            )
        for name, value in values.items():
            setattr(grant, name, value)
        grant.tightened_at = now
        grant.save(update_fields=[*NAMES, "tightened_at"])
        standings.note_change(grant)
        say(request, person, Said.TIGHTENED, reason, now, values)
        tell_scientist(
            request, About.TIGHTENED, _("%(person)s tightened your grant for %(dataset)s."), person
        )
    return grant


@audit.refusals_of(Action.REVOKE_GRANT)
def revoke(request: AccessRequest, person: Person, reason: str) -> None:
    """End an approved request's grant at once: no run starts or goes on under it. Raises `DecisionError`.

    The coordinator deletes what it still holds of it. What was handed over before cannot be called back.
    """
    _check_owner(request, person)
    _check_text(reason, _("Give a reason: the scientist reads it."))
    now = timezone.now()
    with audit.atomic():
        _move(request, Decision.REVOKE, RequestState.REVOKED, person, reason, now)
        Grant.objects.filter(request=request).update(revoked_at=now)
        standings.note_change(request.grant)
        say(request, person, Said.REVOKED, reason, now)
        tell_scientist(request, About.REVOKED, _("%(person)s revoked your grant for %(dataset)s."), person)


@audit.refusals_of(Action.WITHDRAW_REQUEST)
def withdraw(request: AccessRequest, person: Person, reason: str = "") -> None:
    """Take one's own request back, or give its grant back: no run starts or goes on under it.

    Raises `DecisionError`.
    """
    _check_scientist(request, person)
    now = timezone.now()
    with audit.atomic():
        _move(request, Decision.WITHDRAW, RequestState.WITHDRAWN)
        Proposal.objects.filter(request=request).delete()
        grant = Grant.objects.filter(request=request).first()
        if grant is not None:
            Grant.objects.filter(pk=grant.pk).update(revoked_at=now)
            standings.note_change(grant)
        say(request, person, Said.WITHDRAWN, reason, now)
        said = _("%(person)s withdrew the request for %(dataset)s.")
        tell_owners(request, About.WITHDRAWN, said, person)


def _propose(
    request: AccessRequest, person: Person, values: dict[str, Any], reason: str, now: datetime
) -> None:
    facts = values | {"proposed_by": person, "proposed_at": now}
    Proposal.objects.update_or_create(request=request, defaults=facts)
    say(request, person, Said.PROPOSED, reason, now, values)
    text = _("%(person)s approved a request for %(dataset)s: a second data owner must approve it too.")
    tell_owners(request, About.SECOND_APPROVAL, text, person)


def bound_of(request: AccessRequest) -> Limited:
    """What an approval may allow at most: the first approval where there is one, else what was asked."""
    return _proposal_of(request) or request


def within(bound: Limited, limits: Limits, now: datetime) -> dict[str, Any]:
    """The limits of `bound` with the tighter `limits`.

    Raises `DecisionError` (`exceeds_request`) with every mistake.
    """
    subjects = {
        AccessRequest: _("The request"),
        Proposal: _("The first approval"),
        Grant: _("The grant"),
    }
    values = narrowed(bound, limits)
    mistakes = excess(values, bound, subjects[type(bound)], now)
    used = bound.releases_used if isinstance(bound, Grant) else 0
    if values["releases"] < used and "releases" not in mistakes:
        text = _("%(used)d runs have used it already: leave it at %(used)d at least, or revoke the grant.")
        mistakes["releases"] = text % {"used": used}
    if mistakes:
        raise DecisionError("exceeds_request", " ".join(mistakes.values()), mistakes)
    return values


def _proposal_of(request: AccessRequest) -> Proposal | None:
    """The first approval, as long as the person who gave it still owns the data."""
    if request.state != RequestState.PROPOSED:
        return None
    found = Proposal.objects.filter(request=request).select_related("proposed_by__organisation").first()
    if found is None or not found.proposed_by.owns_data_of(request.dataset.organisation.pk):
        return None
    return found


def _check_owner(request: AccessRequest, person: Person) -> None:
    organisation = request.dataset.organisation
    if not person.owns_data_of(organisation.pk):
        raise DecisionError(
            "not_data_owner",
            _("Only a data owner of %(organisation)s decides about %(dataset)s.")
            % {"organisation": organisation, "dataset": request.dataset},
        )
    if request.requested_by_id == person.pk:
        raise DecisionError(
            "own_request", _("Nobody decides about their own request. Ask another data owner.")
        )


def _check_scientist(request: AccessRequest, person: Person) -> None:
    if not person.is_active or request.requested_by_id != person.pk:
        raise DecisionError(
            "not_own_request",
            _("Only %(scientist)s, who asked, answers and withdraws. Ask back, refuse or revoke instead.")
            % {"scientist": request.requested_by},
        )


def _check_text(text: str, missing: str) -> None:
    if not text.strip():
        raise DecisionError("reason_missing", missing)


def _check_current(request: AccessRequest, now: datetime) -> None:
    problem = _outdated(request, now)
    if problem is not None:
        raise problem


def _outdated(request: AccessRequest, now: datetime) -> DecisionError | None:
    """Why the request can no longer be granted, if it cannot."""
    if request.has_lapsed:
        text = _(
            "%(person)s no longer works for the organisation that the request names. It cannot be granted."
        )
        return DecisionError("scientist_left", text % {"person": request.requested_by})
    if request.expires_at <= now:
        text = _("The request asked for access until %(when)s, which is past. The scientist must ask again.")
        return DecisionError("expired", text % {"when": f"{request.expires_at:%Y-%m-%d %H:%M} UTC"})
    if request.dataset_version != request.dataset.current_version:
        text = _("%(dataset)s has a new version since it was asked for. The scientist must ask again.")
        return DecisionError("dataset_changed", text % {"dataset": request.dataset})
    return None


def _move(
    request: AccessRequest,
    decision: Decision,
    new: RequestState,
    person: Person | None = None,
    reason: str = "",
    now: datetime | None = None,
) -> None:
    """Change the state, if it is one that the decision may be taken in. `person`: whose decision is shown."""
    change = {"decided_by": person, "decided_at": now, "decision_reason": reason.strip()} if person else {}
    moved = AccessRequest.objects.filter(pk=request.pk, state__in=FROM[decision]).update(state=new, **change)
    request.refresh_from_db()
    transaction.on_commit(partial(decided.send, sender=AccessRequest, request=request), robust=True)
    if not moved:
        allowed = " or ".join(str(state.label) for state in FROM[decision])
        raise DecisionError(
            "conflict",
            _("The request is %(state)s; only a request that is %(old)s can become %(new)s.")
            % {"state": request.get_state_display(), "old": allowed, "new": new.label},
        )
