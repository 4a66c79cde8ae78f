"""The catalogue follows the hosts' signed announcements; nobody edits it by hand."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import transaction
from django.utils import timezone

from fedcore.coordinator.governance.models import Dataset, OwnerHost
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.reports import Announcement, DatasetOffer
from fedcore.wire.requests import TOLERANCE_SECONDS
from fedcore.wire.signing import Signed


def announce(host: OwnerHost, signed: Signed) -> None:
    """Offer exactly the datasets that `host` announces. The same announcement again changes nothing.

    Raises `WireError`: `expired` for an announcement from the future, `conflict` for one that is older than
    what is known, and the codes of signatures and parsing.
    """
    message = signed.open(Announcement, signer=host.signing_key)
    if message.announced_at > timezone.now().timestamp() + TOLERANCE_SECONDS:
        raise WireError(RefusalCode.EXPIRED, "the announcement is from the future: set the host's clock")
    announced_at = datetime.fromtimestamp(message.announced_at, UTC)
    names = [offer.name for offer in message.datasets]
    if len(set(names)) != len(names):
        raise WireError(RefusalCode.MALFORMED, "a dataset is announced twice")
    with transaction.atomic():
        OwnerHost.objects.select_for_update().get(pk=host.pk)
        if Dataset.objects.filter(host=host, announced_at__gt=announced_at).exists():
            raise WireError(RefusalCode.CONFLICT, "a later announcement is known")
        for offer in message.datasets:
            Dataset.objects.update_or_create(
                host=host, name=offer.name, defaults=_described(offer, announced_at)
            )
        Dataset.objects.filter(host=host).exclude(name__in=names).update(
            is_offered=False, announced_at=announced_at
        )


def _described(offer: DatasetOffer, announced_at: datetime) -> dict[str, object]:
    return {
        "title": offer.title,
        "description": offer.description,
        "reader": offer.reader,
        "columns": list(offer.columns),
        "classes": list(offer.classes),
        "rows": offer.rows,
        "current_version": offer.version,
        "announced_at": announced_at,
        "is_offered": True,
    }
