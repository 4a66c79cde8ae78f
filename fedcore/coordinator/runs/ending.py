"""How runs end: one place that sets the last state, deletes what must not stay, and tells the hosts that it is gone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from fedcore.coordinator.governance.models import Grant, OwnerHost
from fedcore.coordinator.runs import storage
from fedcore.coordinator.runs.flow import MODEL_AT_COORDINATOR
from fedcore.coordinator.runs.models import Artefact, Run, RunDataset, RunEvent
from fedcore.coordinator.runs.orders import DATASET, MODEL, issue_close
from fedcore.coordinator.runs.states import RunState
from fedcore.wire.codes import EXPLANATIONS, RefusalCode
from fedcore.wire.orders import Phase


class NotAllowed(Exception):
    """A change of a run that its state does not permit. The text says what the state is."""


def stop(
    run: Run,
    code: RefusalCode,
    now: datetime,
    *,
    host: OwnerHost | None = None,
    detail: str = "",
    state: RunState = RunState.FAILED,
) -> None:
    """End a run that did not finish. Call it with the run's row locked.

    The message names the owner and the dataset where there is one, and the remedy.
    """
    dataset = run.datasets.filter(host=host).first() if host else None
    run.code, run.culprit = code, host
    run.culprit_dataset = dataset.name if dataset else ""
    _end(run, state, _message(code, host, dataset, detail), now)


def finish(run: Run, report: dict[str, Any], now: datetime) -> None:
    """End a run that reached its last stage. Call it with the run's row locked."""
    run.report, run.progress = report, 1.0
    _end(run, RunState.FINISHED, "The run has finished.", now)


@transaction.atomic
def cancel(run_id: str) -> Run:
    """Cancel a run that has not ended. Cancelling it again changes nothing. Raises `NotAllowed`."""
    run: Run = Run.objects.select_for_update().get(pk=run_id)
    if run.state == RunState.CANCELLED:
        return run
    if run.ended:
        raise NotAllowed(
            f"The run is {run.get_state_display()}: only a run that has not ended can be cancelled."
        )
    stop(run, RefusalCode.CANCELLED, timezone.now(), state=RunState.CANCELLED)
    return run


def may_download(run: Run, now: datetime) -> bool:
    """Whether the merged pseudonymised dataset may be handed out: every owner's grant allows it, now."""
    grants = Grant.objects.filter(request__run_datasets__run=run)
    leave = grants.filter(download=True, revoked_at=None, expires_at__gt=now)
    owners = RunDataset.objects.filter(run=run).count()
    return run.protocol_kind in MODEL_AT_COORDINATOR and leave.distinct().count() == owners


@transaction.atomic
def withdraw(run: Run) -> None:
    """Delete the merged dataset of a finished run whose owners no longer all allow downloads."""
    storage.discard(Artefact.objects.filter(run=run, deleted_at=None, order=None, role=DATASET))


def _end(run: Run, state: RunState, message: str, now: datetime) -> None:
    run.state, run.message, run.finished_at = state, message[:500], now
    run.lease = ""
    run.save()
    RunEvent.objects.create(run=run, state=state, text=run.message, progress=run.progress)
    storage.discard(_to_delete(run, now))
    transaction.on_commit(lambda: close_hosts(run.pk))


def close_hosts(run_id: str) -> None:
    """Tell the hosts of an ended run to close it, once what they uploaded is gone: the orders are their receipts.

    May be called again at any time: what was left undone by a crash is done then, and nothing twice.
    """
    storage.unlink(Artefact.objects.filter(run_id=run_id).exclude(deleted_at=None))
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=run_id)
        if run.ended and not run.orders.filter(phase=Phase.CLOSE).exists():
            keep = run.state == RunState.FINISHED and run.protocol_kind in MODEL_AT_COORDINATOR
            issue_close(run, keep, timezone.now())


def _to_delete(run: Run, now: datetime) -> list[Artefact]:
    live = Artefact.objects.filter(run=run, deleted_at=None)
    if run.state == RunState.FINISHED:
        kept = [MODEL, DATASET] if may_download(run, now) else [MODEL]
        live = live.exclude(order=None, role__in=kept)
    return list(live)


def _message(code: RefusalCode, host: OwnerHost | None, dataset: RunDataset | None, detail: str) -> str:
    subject = f"{host.name} ({dataset.name}): " if host and dataset else f"{host.name}: " if host else ""
    return f"{subject}{EXPLANATIONS[code]}" + (f" {detail}" if detail else "")
