"""Every change of state of access requests and grants: one function each, called by admin and API alike.

Each is one transaction with a conditional update, so that of two people who decide at the same time one
decides and the other is told. Only data owners of the dataset's organisation decide: not the operator of the
coordinator, and not the scientist.

| state | approve | refuse | revoke |
|---|---|---|---|
| waiting | approved | refused | - |
| approved | - | - | revoked |
| refused, revoked | - | - | - |
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext as _

from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.models import AccessRequest, Grant, Person, Release, RequestState

decided = Signal()
"""Sent after a decision is committed, with `request`: whatever waits for it, or relies on it, may look again."""


class DecisionError(Exception):
    """A decision that was not taken. The text states the rule, the subject and the fix; `code` is for programs."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class Limits:
    """How far a grant goes, where the owner wants less than was asked. None means as asked."""

    releases: int | None = None
    expires_at: datetime | None = None
    download: bool | None = None


@audit.refusals_of(Action.APPROVE_REQUEST)
def approve(request: AccessRequest, person: Person, limits: Limits | None = None, reason: str = "") -> Grant:
    """Grant a waiting request, within its own limits. Raises `DecisionError`."""
    _check_owner(request, person)
    now = timezone.now()
    grant = _narrowed(request, limits or Limits())
    grant.approved_by, grant.approved_at = person, now
    with audit.atomic():
        _move(request, RequestState.WAITING, RequestState.APPROVED, person, reason, now)
        _check_current(request, now)
        _check_not_wider(request, grant, now)
        grant.save(force_insert=True)
        audit.record(Action.APPROVE_REQUEST, request, by=person, **_granted(grant))
    return grant


@audit.refusals_of(Action.REFUSE_REQUEST)
def refuse(request: AccessRequest, person: Person, reason: str) -> None:
    """Refuse a waiting request. The scientist reads the reason. Raises `DecisionError`."""
    _check_owner(request, person)
    _check_reason(reason)
    with audit.atomic():
        _move(request, RequestState.WAITING, RequestState.REFUSED, person, reason, timezone.now())
        audit.record(Action.REFUSE_REQUEST, request, by=person)


@audit.refusals_of(Action.REVOKE_GRANT)
def revoke(request: AccessRequest, person: Person, reason: str) -> None:
    """End an approved request's grant at once: no further run starts under it. Raises `DecisionError`.

    What was handed over before cannot be called back.
    """
    _check_owner(request, person)
    _check_reason(reason)
    now = timezone.now()
    with audit.atomic():
        _move(request, RequestState.APPROVED, RequestState.REVOKED, person, reason, now)
        Grant.objects.filter(request=request).update(revoked_at=now)
        audit.record(Action.REVOKE_GRANT, request, by=person)


def book_release(grant: Grant, run: str, now: datetime | None = None) -> None:
    """Use one release of `grant` for the run with this digest; booking a run again changes nothing.

    Raises `DecisionError` with `grant_revoked`, `grant_expired` or `releases_spent`.
    """
    now = now or timezone.now()
    with audit.atomic():
        locked = Grant.objects.select_for_update().get(pk=grant.pk)
        if locked.used.filter(run=run).exists():
            return
        _check_usable(locked, now)
        Release.objects.create(grant=locked, run=run, booked_at=now)
        audit.record(Action.USE_RELEASE, locked, run=run)


def _check_usable(grant: Grant, now: datetime) -> None:
    if grant.revoked_at is not None:
        raise DecisionError("grant_revoked", _("The grant %(grant)s is revoked.") % {"grant": grant})
    if grant.expires_at <= now:
        raise DecisionError(
            "grant_expired",
            _("The grant %(grant)s expired on %(when)s. Request access again.")
            % {"grant": grant, "when": f"{grant.expires_at:%Y-%m-%d %H:%M} UTC"},
        )
    if grant.releases_used >= grant.releases:
        raise DecisionError(
            "releases_spent",
            _("The grant %(grant)s allows %(count)d runs, and all are used. Request access for more.")
            % {"grant": grant, "count": grant.releases},
        )


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


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise DecisionError("reason_missing", _("Give a reason: the scientist reads it."))


def _narrowed(request: AccessRequest, limits: Limits) -> Grant:
    return Grant(
        request=request,
        releases=request.releases if limits.releases is None else limits.releases,
        expires_at=request.expires_at if limits.expires_at is None else limits.expires_at,
        download=request.download if limits.download is None else limits.download,
    )


def _granted(grant: Grant) -> dict[str, Any]:
    """What the audit says of a grant's limits."""
    return {
        "releases": grant.releases,
        "expires_at": int(grant.expires_at.timestamp()),
        "download": grant.download,
    }


def _check_current(request: AccessRequest, now: datetime) -> None:
    if request.expires_at <= now:
        raise DecisionError(
            "expired",
            _("The request asked for access until %(when)s, which is past. The scientist must ask again.")
            % {"when": f"{request.expires_at:%Y-%m-%d %H:%M} UTC"},
        )
    if request.dataset_version != request.dataset.current_version:
        raise DecisionError(
            "dataset_changed",
            _("%(dataset)s has a new version since it was asked for. The scientist must ask again.")
            % {"dataset": request.dataset},
        )


def _check_not_wider(request: AccessRequest, grant: Grant, now: datetime) -> None:
    if not 1 <= grant.releases <= request.releases:
        raise DecisionError(
            "exceeds_request",
            _("The request asks for %(asked)d releases: grant between 1 and %(asked)d.")
            % {"asked": request.releases},
        )
    if not now < grant.expires_at <= request.expires_at:
        raise DecisionError(
            "exceeds_request",
            _("The request asks for access until %(asked)s: grant a moment from now until then.")
            % {"asked": f"{request.expires_at:%Y-%m-%d %H:%M} UTC"},
        )
    if grant.download and not request.download:
        raise DecisionError(
            "exceeds_request", _("The request does not ask to download the dataset: leave download out.")
        )


def _move(
    request: AccessRequest, old: RequestState, new: RequestState, person: Person, reason: str, now: datetime
) -> None:
    moved = AccessRequest.objects.filter(pk=request.pk, state=old).update(
        state=new, decided_by=person, decided_at=now, decision_reason=reason.strip()
    )
    request.refresh_from_db()
    transaction.on_commit(partial(decided.send, sender=AccessRequest, request=request), robust=True)
    if not moved:
        raise DecisionError(
            "conflict",
            _("The request is %(state)s; only a request that is %(old)s can become %(new)s.")
            % {"state": request.get_state_display(), "old": old.label, "new": new.label},
        )
