"""Making orders: from a stage of a run to one signed order for each host that acts in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from pydantic import ValidationError

from fedcore.coordinator.governance.models import OwnerHost
from fedcore.coordinator.identity import coordinator_key
from fedcore.coordinator.runs.flow import FittedPlace, Stage, Who, stages
from fedcore.coordinator.runs.models import Artefact, Run, RunDataset, RunOrder, Serial, seconds_of
from fedcore.wire.access import Grant
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import Order, Phase, order_id
from fedcore.wire.signing import Signed

MODEL = "model"
DATASET = "dataset"
"""The roles of what the coordinator makes itself: a trained model, and the merged pseudonymised rows."""

MOST_DELETED = 10_000
"""How many deleted artefacts an order can name."""


def stages_of(run: Run) -> tuple[Stage, ...]:
    """The stages of this run, by the plan that was made when it was submitted."""
    fitted = [FittedPlace(step["place"], step["rounds"]) for step in run.plan["fitted"]]
    return stages(run.protocol_kind, run.plan["agreement"], fitted)


def roster_of(run: Run) -> list[RunDataset]:
    """The owners' datasets in the order of the spec, with host and request."""
    joined = ("host__organisation", "request__grant", "request__requested_by__organisation")
    return list(run.datasets.select_related(*joined))


def acting(run: Run, roster: Sequence[RunDataset], who: Who) -> list[OwnerHost]:
    """The hosts that act in a stage, owners first in the order of the spec."""
    owners = [dataset.host for dataset in roster]
    others = {Who.REFERENCE: run.reference_host, Who.DEALER: run.dealer}
    match who:
        case Who.OWNERS:
            return owners
        case Who.COMPUTE_OWNERS:
            return [host for host in owners if host.signing_key in run.spec.compute_owners]
        case Who.EVERYONE:
            return owners + [host for host in others.values() if host]
        case _:
            return [host for host in [others.get(who)] if host]


def issue(
    run: Run, stage: Stage, hosts: Sequence[OwnerHost], roster: Sequence[RunDataset], now: datetime
) -> list[RunOrder]:
    """Sign and store the orders of a stage for these hosts. Call it with the run's row locked.

    Raises `WireError` (`too_large`) when an order would exceed a message's limit.
    """
    model = Artefact.objects.filter(run=run, order=None, role=MODEL) if stage.carries_model else ()
    work = {
        **_work(*stage.key),
        "evidence": _evidence(run, stage, roster),
        "artefacts": tuple(artefact.ref for artefact in model),
    }
    expires_at = min(run.deadline, now + timedelta(seconds=settings.FEDCORE_ORDER_SECONDS))
    return _store(run, hosts, roster, work, now, expires_at)


def issue_close(run: Run, keep: bool, now: datetime) -> list[RunOrder]:
    """Tell every host that had an order of this run to close it, and which of its artefacts are deleted.

    Call it with the run's row locked, when the files of deleted artefacts are gone.
    """
    told = OwnerHost.objects.filter(orders__run=run).distinct().order_by("pk")
    work = {**_work(Phase.CLOSE, 0, 0), "keep": keep}
    expires_at = now + timedelta(seconds=settings.FEDCORE_CLOSE_SECONDS)
    return _store(run, list(told), roster_of(run), work, now, expires_at, _deleted(run))


def _deleted(run: Run) -> dict[int, tuple[str, ...]]:
    """The digests of what each host uploaded in the run and is deleted, as many as an order can name."""
    gone = Artefact.objects.filter(run=run, order__isnull=False).exclude(deleted_at=None)
    digests: dict[int, set[str]] = {}
    for host, digest in gone.values_list("order__host_id", "digest"):
        digests.setdefault(host, set()).add(digest)
    return {host: tuple(sorted(found)[:MOST_DELETED]) for host, found in digests.items()}


def _work(phase: Phase, step: int, round: int) -> dict[str, Any]:
    return {"phase": phase, "step": step, "round": round}


def _store(
    run: Run,
    hosts: Sequence[OwnerHost],
    roster: Sequence[RunDataset],
    work: dict[str, Any],
    now: datetime,
    expires_at: datetime,
    deleted: Mapping[int, tuple[str, ...]] | None = None,
) -> list[RunOrder]:
    """One order with this work for each host, with the grant that covers the host's dataset."""
    grants = {entry.host_id: _grant_of(entry, work["phase"]) for entry in roster} if hosts else {}
    place = {name: work[name] for name in ("phase", "step", "round")}
    rows = []
    for serial, host in zip(Serial.following("orders", len(hosts)), hosts, strict=True):
        order = {
            **work,
            "id": order_id(run.id, audience=host.signing_key, **place),
            "audience": host.signing_key,
            "run": run.id,
            "spec": run.signed,
            "grant": grants.get(host.pk),
            "pins": run.plugin_pins,
            "deleted": (deleted or {}).get(host.pk, ()),
            "issued_at": seconds_of(now),
            "expires_at": seconds_of(expires_at),
        }
        row = RunOrder(id=order["id"], serial=serial, run=run, host=host, envelope=_envelope(order), **place)
        row.issued_at, row.expires_at = now, expires_at
        rows.append(row)
    return RunOrder.objects.bulk_create(rows)


def _grant_of(entry: RunDataset, phase: Phase) -> Grant | None:
    """The grant as it is now. A run whose grant cannot be read is still closed, without it."""
    try:
        return entry.request.grant.as_message
    except WireError:
        if phase is Phase.CLOSE:
            return None
        raise


def _envelope(fields: dict[str, Any]) -> str:
    try:
        return Order.model_validate(fields).signed_by(coordinator_key()).encode()
    except ValidationError as error:
        # All values come from parsed messages: only their number or their length together can be wrong.
        raise WireError(RefusalCode.TOO_LARGE, f"an order would exceed the limits: {error}") from None


def _evidence(run: Run, stage: Stage, roster: Sequence[RunDataset]) -> tuple[Signed, ...]:
    found: list[Signed] = []
    for earlier in stage.evidence:
        hosts = acting(run, roster, earlier.who)
        found += [order.signed_report for order in _in_order(run, earlier, hosts)]
    return tuple(found)


def _in_order(run: Run, stage: Stage, hosts: Iterable[OwnerHost]) -> list[RunOrder]:
    phase, step, round = stage.key
    by_host = {order.host_id: order for order in run.orders.filter(phase=phase, step=step, round=round)}
    return [by_host[host.pk] for host in hosts]
