"""What people are told without anybody doing something at the coordinator: times that run out, hosts that stay away,
and what hosts say of grants. Each once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from fedcore.coordinator.governance import notices
from fedcore.coordinator.governance.models import (
    UNDECIDED,
    AccessRequest,
    HostStanding,
    OwnerHost,
    RequestState,
)
from fedcore.coordinator.governance.notices import About

ENDING_SOON: Final = timedelta(days=14)
HOST_AWAY_AFTER: Final = timedelta(minutes=15)
"""A host is shown as away after a minute. People are told after this long, so that a restart disturbs nobody."""


def remind(now: datetime) -> None:
    """Tell whom it concerns what has come about since the last time."""
    for request in _ending(now):
        _tell_ending(request, now)
    for request in _ended(now):
        _tell_ended(request, now)
    OwnerHost.objects.filter(away_told_at__isnull=False, last_contact__gt=now - HOST_AWAY_AFTER).update(
        away_told_at=None
    )
    for host in OwnerHost.objects.active().filter(away_told_at=None, last_contact__lte=now - HOST_AWAY_AFTER):
        _tell_away(host, now)


def _ending(now: datetime) -> Any:
    return _joined().filter(
        state=RequestState.APPROVED,
        ending_told_at=None,
        grant__expires_at__gt=now,
        grant__expires_at__lte=now + ENDING_SOON,
    )


def _ended(now: datetime) -> Any:
    granted = Q(state=RequestState.APPROVED, grant__expires_at__lte=now)
    undecided = Q(state__in=UNDECIDED, expires_at__lte=now)
    return _joined().filter(granted | undecided, end_told_at=None)


def _joined() -> Any:
    return AccessRequest.objects.select_related("dataset__host__organisation", "requested_by", "grant")


@transaction.atomic
def _tell_ending(request: AccessRequest, now: datetime) -> None:
    """A grant that was given for a short time ends soon from the beginning: nobody has to be told."""
    if not AccessRequest.objects.filter(pk=request.pk, ending_told_at=None).update(ending_told_at=now):
        return
    grant = request.grant
    if grant.expires_at - grant.approved_at <= ENDING_SOON:
        return
    told = {"dataset": request.dataset, "day": f"{grant.expires_at:%Y-%m-%d}", "person": request.requested_by}
    text = _("Your grant for %(dataset)s ends on %(day)s. Ask for a renewal if you need more.") % told
    notices.tell([request.requested_by], About.ENDING, request.pk, text)
    text = _("The grant of %(person)s for %(dataset)s ends on %(day)s.") % told
    notices.tell(notices.data_owners_of(request.dataset.organisation), About.ENDING, request.pk, text)


@transaction.atomic
def _tell_ended(request: AccessRequest, now: datetime) -> None:
    if not AccessRequest.objects.filter(pk=request.pk, end_told_at=None).update(end_told_at=now):
        return
    text = (
        _("Your grant for %(dataset)s has expired.")
        if request.state == RequestState.APPROVED
        else _("Your request for %(dataset)s was not decided within the time that it asked for.")
    )
    notices.tell([request.requested_by], About.ENDED, request.pk, text % {"dataset": request.dataset})


@transaction.atomic
def _tell_away(host: OwnerHost, now: datetime) -> None:
    if not OwnerHost.objects.filter(pk=host.pk, away_told_at=None).update(away_told_at=now):
        return
    text = _("The host %(host)s has been away since %(when)s UTC. Runs wait for it.")
    since = f"{host.last_contact:%Y-%m-%d %H:%M}"
    owners = notices.data_owners_of(host.organisation)
    notices.tell(owners, About.HOST_AWAY, host.pk, text % {"host": host.name, "when": since})


def tell_standing(request: AccessRequest, standing: HostStanding) -> None:
    """Tell what a host has said of a grant, where somebody has to know: call it in the transaction that keeps it.

    The owners hear of a grant that goes beyond their host's ceilings, so that a person must confirm it there; the
    scientist of one that the host refuses or has revoked.
    """
    told = {"dataset": request.dataset, "person": request.requested_by, "host": request.dataset.host.name}
    if standing == HostStanding.WAITING:
        text = _("The grant of %(person)s for %(dataset)s waits for a person at the host %(host)s.") % told
        owners = notices.data_owners_of(request.dataset.organisation)
        notices.tell(owners, About.WAITS_AT_HOST, request.pk, text)
    if standing == HostStanding.REFUSED:
        text = _("The host %(host)s refuses your grant for %(dataset)s. Ask its owner why.") % told
        notices.tell([request.requested_by], About.DECISION, request.pk, text)
    if standing == HostStanding.REVOKED and request.state == RequestState.APPROVED:
        text = _("Your grant for %(dataset)s was revoked at the host %(host)s.") % told
        notices.tell([request.requested_by], About.REVOKED, request.pk, text)
