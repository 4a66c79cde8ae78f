"""What an owner's host hears of the grants on its data, and what it makes of them.

The host has the last word: until it has signed that a grant is in force, no run starts under it. Each change of a
grant gets a serial of its host, in the transaction that makes it, so that a host which asks for what is new since
a serial misses nothing.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import partial

from django.db import transaction
from django.db.models import F, Sum
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext as _
from pydantic import ValidationError

from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.models import AccessRequest, Grant, HostStanding, OwnerHost
from fedcore.coordinator.governance.reminders import tell_standing
from fedcore.coordinator.identity import coordinator_key
from fedcore.wire.access import GrantNotice, GrantStanding
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import MAXIMUM_MESSAGE_BYTES, WireError
from fedcore.wire.requests import TOLERANCE_SECONDS
from fedcore.wire.signing import Signed

logger = logging.getLogger(__name__)

DIGITS_SHOWN = 12

stood = Signal()
"""Sent after a host's word on a grant is committed, with `request`: whatever waits for it may look again."""


def note_change(grant: Grant) -> None:
    """Have the host hear of a grant that is new, has other limits, or is revoked.

    Call it in the transaction that changes the grant: the host's row stays locked until that ends, so serials
    become visible in their order.
    """
    host = OwnerHost.objects.filter(pk=grant.request.dataset.host_id)
    host.update(grants_serial=F("grants_serial") + 1)
    Grant.objects.filter(pk=grant.pk).update(serial=host.values_list("grants_serial", flat=True).get())


def serial_of(host: OwnerHost) -> int:
    """The serial of the latest change of a grant on this host's data."""
    return OwnerHost.objects.filter(pk=host.pk).values_list("grants_serial", flat=True).first() or 0


def serials() -> int:
    """A number that rises with every change of any grant."""
    return OwnerHost.objects.aggregate(all=Sum("grants_serial"))["all"] or 0


def notices(host: OwnerHost, after: int, most: int) -> tuple[int, list[Signed]]:
    """Signed notices of at most `most` changed grants of this host beyond the serial `after`, and the last serial.

    What has expired is left out: nothing can run under it.
    """
    changed = Grant.objects.filter(request__dataset__host=host, serial__gt=after)
    found = changed.select_related("request").order_by("serial")[:most]
    now, signed = timezone.now(), []
    for grant in found:
        if grant.expires_at > now:
            signed += _notice(host, grant)
    return max((grant.serial for grant in found), default=after), signed


def _notice(host: OwnerHost, grant: Grant) -> list[Signed]:
    """The notice, unless it would not fit into a message: then no order under the grant does, either."""
    revoked = grant.revoked_at is not None
    try:
        notice = GrantNotice(audience=host.signing_key, grant=grant.as_message, revoked=revoked)
    except (ValidationError, WireError) as error:
        logger.error("Grant %s cannot be told to %s: %s", grant.digest[:DIGITS_SHOWN], host, error)
        return []
    if len(notice.encode()) > MAXIMUM_MESSAGE_BYTES:
        logger.error("Grant %s is too long to be told to %s.", grant.digest[:DIGITS_SHOWN], host)
        return []
    return [notice.signed_by(coordinator_key())]


def receive(host: OwnerHost, signed: Signed) -> None:
    """Keep what a host says of a grant on its data. The same again changes nothing.

    Raises `WireError`: `wrong_audience` for a grant on other data, `conflict` where a later word is known, or the
    host has revoked it before, `expired` for a word from the future, and the codes of signatures and parsing.
    """
    said = signed.open(GrantStanding, signer=host.signing_key)
    if said.decided_at > timezone.now().timestamp() + TOLERANCE_SECONDS:
        raise WireError(RefusalCode.EXPIRED, "the standing is from the future: set the host's clock")
    decided_at = datetime.fromtimestamp(said.decided_at, UTC)
    with audit.atomic():
        own = Grant.objects.select_for_update().filter(request__dataset__host=host)
        grant = own.filter(pk=said.request).first()
        if grant is None:
            raise WireError(RefusalCode.WRONG_AUDIENCE, f"{said.request} is no grant on data of this host")
        if grant.standing_signed == signed.encode():
            return
        if grant.standing == HostStanding.REVOKED or (grant.standing_at and decided_at < grant.standing_at):
            raise WireError(RefusalCode.CONFLICT, "a later or final standing of this grant is known")
        Grant.objects.filter(pk=grant.pk).update(
            standing=said.standing.value, standing_at=decided_at, standing_signed=signed.encode()
        )
        if said.standing.value != grant.standing:
            tell_standing(grant.request, HostStanding(said.standing.value))
        audit.record(Action.STAND_GRANT, grant, by=host, standing=said.standing.value)
        transaction.on_commit(partial(stood.send, sender=AccessRequest, request=grant.request), robust=True)


def refusal(grant: Grant) -> RefusalCode | None:
    """Why nothing can run under the grant, by its host's word."""
    codes = {
        HostStanding.REFUSED: RefusalCode.NOT_GRANTED,
        HostStanding.REVOKED: RefusalCode.GRANT_REVOKED,
    }
    return codes.get(HostStanding(grant.standing)) if grant.standing else None


def awaited(grant: Grant, host: OwnerHost) -> str:
    """What is awaited of the host before a run may start under the grant. Empty where it is in force, or over."""
    if grant.standing == HostStanding.WAITING:
        command = f"fedcore-owner grants confirm {grant.digest[:DIGITS_SHOWN]}"
        return _("%(host)s waits for a person on the host: `%(command)s`") % {
            "host": host.name,
            "command": command,
        }
    if grant.standing:
        return ""
    if host.is_away():
        return _("%(host)s is away: ask the owner to start the host") % {"host": host.name}
    return _("%(host)s has not taken the grant yet") % {"host": host.name}


def in_words(grant: Grant, host: OwnerHost) -> str:
    """How the grant stands at its owner's host, for whoever looks at it."""
    known = {"host": host.name, "grant": grant.digest[:DIGITS_SHOWN]}
    if grant.revoked_at is not None and grant.standing != HostStanding.REVOKED:
        return (
            _(
                "%(host)s has not confirmed yet that it is revoked. To be sure at once, run there: "
                "`fedcore-owner grants revoke %(grant)s`"
            )
            % known
        )
    waiting = awaited(grant, host)
    if waiting:
        return _("%(waiting)s. Until then no run starts under it.") % {"waiting": waiting}
    return {
        HostStanding.IN_FORCE: _("%(host)s has it in force."),
        HostStanding.REFUSED: _("%(host)s refuses it: `fedcore-owner grants show %(grant)s` there says why."),
        HostStanding.REVOKED: _("%(host)s has revoked it, which is final."),
    }[HostStanding(grant.standing)] % known
