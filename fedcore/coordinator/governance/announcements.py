"""The catalogue follows the hosts' signed announcements; nobody edits it by hand.

A version that was announced stays known, with the moments of its first and last announcement, as long as a request
names it; of the others the last ones do. Mock samples are kept for current versions, and for those that requests name.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

from django.db.models import F, QuerySet
from django.utils import timezone

from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.models import (
    AccessRequest,
    Dataset,
    DatasetVersion,
    MockSample,
    OwnerHost,
)
from fedcore.wire import catalogue as wire
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.reports import Announcement, DatasetOffer
from fedcore.wire.requests import TOLERANCE_SECONDS
from fedcore.wire.signing import Signed
from fedcore.wire.text import one_line

KEPT_VERSIONS: Final = 100
"""How many versions of a dataset stay known that no request names."""


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
            _note_version(dataset, offer, announced_at)
            _record(host, known.get(offer.name), dataset, described)
        gone = Dataset.objects.filter(host=host).exclude(name__in=names)
        for dataset in gone.filter(is_offered=True):
            audit.record(Action.WITHDRAW_DATASET, dataset, by=host)
        gone.update(is_offered=False, announced_at=announced_at)
        _forget_unused_mocks()


def _record(host: OwnerHost, known: Dataset | None, dataset: Dataset, described: dict[str, object]) -> None:
    """Say in the audit what an announcement changed; most change nothing."""
    if known is None:
        audit.record(Action.OFFER_DATASET, dataset, by=host)
        return
    changed = tuple(name for name, value in described.items() if getattr(known, name) != value)
    if set(changed) - {"announced_at"}:
        fields = tuple(name for name in changed if name != "announced_at")
        audit.record(Action.CHANGE_DATASET, dataset, by=host, fields=fields)


def wanted_mocks(host: OwnerHost) -> list[str]:
    """The mock samples that the host's offers name and that are not here."""
    wanted = set(_announced_mocks(host).values_list("mock_digest", flat=True))
    return sorted(wanted - set(MockSample.objects.filter(pk__in=wanted).values_list("pk", flat=True)))


def keep_mock(host: OwnerHost, digest: str, content: bytes) -> None:
    """Keep a mock sample that an offer of `host` names. The same sample again changes nothing.

    Raises `WireError`: `artefact_invalid` for bytes of another digest or schema, `unknown_dataset` where no offer
    names it, and the codes of parsing.
    """
    if hashlib.sha256(content).hexdigest() != digest:
        raise WireError(RefusalCode.ARTEFACT_INVALID, "the bytes have another digest")
    version = _announced_mocks(host).filter(mock_digest=digest).select_related("dataset").first()
    if version is None:
        raise WireError(RefusalCode.UNKNOWN_DATASET, "no dataset that is offered now names this mock sample")
    sample = wire.MockSample.parse(content, wire.MAXIMUM_MOCK_BYTES)
    dataset = version.dataset
    if (list(sample.columns), list(sample.classes)) != (dataset.columns, dataset.classes):
        raise WireError(
            RefusalCode.ARTEFACT_INVALID, f"the mock sample has another schema than {dataset.name}"
        )
    MockSample.objects.get_or_create(digest=digest, defaults={"content": content})


def _announced_mocks(host: OwnerHost) -> QuerySet[DatasetVersion]:
    """The versions that the host offers now, with a mock sample."""
    current = DatasetVersion.objects.filter(
        dataset__host=host, dataset__is_offered=True, digest=F("dataset__current_version")
    )
    return current.exclude(mock_digest="")


def _note_version(dataset: Dataset, offer: DatasetOffer, announced_at: datetime) -> None:
    said = {
        "rows": offer.rows,
        "mock_digest": offer.mock.digest if offer.mock else "",
        "last_announced": announced_at,
    }
    DatasetVersion.objects.update_or_create(
        dataset=dataset,
        digest=offer.version,
        defaults=said,
        create_defaults={**said, "first_announced": announced_at},
    )
    asked_for = AccessRequest.objects.filter(dataset=dataset).values("dataset_version")
    past = dataset.versions.exclude(digest=offer.version).exclude(digest__in=asked_for)
    past.update(mock_digest="")
    too_old = list(past.values_list("pk", flat=True)[KEPT_VERSIONS:])
    DatasetVersion.objects.filter(pk__in=too_old).delete()


def _forget_unused_mocks() -> None:
    named = DatasetVersion.objects.exclude(mock_digest="").values("mock_digest")
    MockSample.objects.exclude(pk__in=named).delete()


def _described(offer: DatasetOffer, announced_at: datetime) -> dict[str, object]:
    return {
        "title": one_line(offer.title),
        "description": offer.description,
        "reader": offer.reader,
        "columns": list(offer.columns),
        "column_kinds": {column: kind.value for column, kind in offer.column_kinds.items()},
        "column_notes": dict(offer.column_notes),
        "classes": list(offer.classes),
        "rows": offer.rows,
        "licence": offer.licence,
        "terms": offer.terms,
        "sensitivity": offer.sensitivity.value,
        "price": offer.price,
        "contact": offer.contact,
        "retention": offer.retention,
        "current_version": offer.version,
        "announced_at": announced_at,
        "is_offered": True,
    }
