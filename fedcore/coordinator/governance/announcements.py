"""The catalogue follows the hosts' signed announcements; nobody edits it by hand."""

from __future__ import annotations

from datetime import UTC, datetime

from django.utils import timezone

from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.audit import Action
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
    with audit.atomic():
        OwnerHost.objects.select_for_update().get(pk=host.pk)
        if Dataset.objects.filter(host=host, announced_at__gt=announced_at).exists():
            raise WireError(RefusalCode.CONFLICT, "a later announcement is known")
        known = {dataset.name: dataset for dataset in Dataset.objects.filter(host=host)}
        for offer in message.datasets:
            described = _described(offer, announced_at)
            dataset, _made = Dataset.objects.update_or_create(host=host, name=offer.name, defaults=described)
            _record(host, known.get(offer.name), dataset, described)
        gone = Dataset.objects.filter(host=host).exclude(name__in=names)
        for dataset in gone.filter(is_offered=True):
            audit.record(Action.WITHDRAW_DATASET, dataset, by=host)
        gone.update(is_offered=False, announced_at=announced_at)


def _record(host: OwnerHost, known: Dataset | None, dataset: Dataset, described: dict[str, object]) -> None:
    """Say in the audit what an announcement changed; most change nothing."""
    if known is None:
        audit.record(Action.OFFER_DATASET, dataset, by=host)
        return
    changed = tuple(name for name, value in described.items() if getattr(known, name) != value)
    if set(changed) - {"announced_at"}:
        fields = tuple(name for name in changed if name != "announced_at")
        audit.record(Action.CHANGE_DATASET, dataset, by=host, fields=fields)


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
