"""How runs end: one place that sets the last state, deletes what must not stay, and tells the hosts that it is gone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from fedcore.coordinator.governance import audit, notices
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.models import OwnerHost
from fedcore.coordinator.runs import storage
from fedcore.coordinator.runs.audited import stopped_run
from fedcore.coordinator.runs.flow import MODEL_AT_COORDINATOR
from fedcore.coordinator.runs.models import Artefact, Run, RunDataset, RunEvent
from fedcore.coordinator.runs.orders import DATASET, MODEL, issue_close, roster_of
from fedcore.coordinator.runs.rights import rights_of
from fedcore.coordinator.runs.states import ENDED, RunState
from fedcore.wire.codes import EXPLANATIONS, RefusalCode
from fedcore.wire.orders import Phase


class NotAllowed(Exception):
    """A change of a run that its state does not permit. The text says what the state is."""

    code = "conflict"


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


@audit.atomic()
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


def holding() -> QuerySet[Run]:
    """The ended runs of which the coordinator still holds a model or a merged dataset."""
    held = Artefact.objects.filter(order=None, deleted_at=None)
    runs: QuerySet[Run] = Run.objects.filter(state__in=ENDED, pk__in=held.values("run"))
    return runs


@audit.atomic()
def cancel_lapsed(run_id: str) -> None:
    """Cancel a run whose scientist may no longer have one: see `AccessRequest.has_lapsed`."""
    run: Run = Run.objects.select_for_update().get(pk=run_id)
    if not run.ended and any(entry.request.has_lapsed for entry in roster_of(run)):
        stop(run, RefusalCode.SCIENTIST_LEFT, timezone.now(), state=RunState.CANCELLED)


@audit.atomic()
def let_go(run: Run, now: datetime) -> None:
    """Delete what the coordinator still holds of a run that has ended, as far as the grants no longer allow it."""
    storage.discard(_to_delete(run, now))


def _end(run: Run, state: RunState, message: str, now: datetime) -> None:
    run.state, run.message, run.finished_at = state, message[:500], now
    run.lease = ""
    run.save()
    RunEvent.objects.create(run=run, state=state, text=run.message, host=run.culprit, progress=run.progress)
    _record(run)
    storage.discard(_to_delete(run, now))
    _tell_scientist(run)
    transaction.on_commit(lambda: close_hosts(run.pk))


def _tell_scientist(run: Run) -> None:
    if run.code == RefusalCode.CANCELLED:
        return  # It was the scientist, who knows.
    about = notices.About.RUN_FINISHED if run.state == RunState.FINISHED else notices.About.RUN_STOPPED
    text = _("Your run %(title)s is %(state)s.") % {"title": run.title, "state": run.get_state_display()}
    notices.tell([run.scientist], about, run.pk, text)


def _record(run: Run) -> None:
    if run.state == RunState.FINISHED:
        audit.record(Action.FINISH_RUN, run)
    elif run.state == RunState.CANCELLED:
        audit.record(Action.CANCEL_RUN, run)
    else:
        audit.record(Action.STOP_RUN, stopped_run(run), refused=run.code)


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
        rights = rights_of(run, now)
        roles = {MODEL: rights.keep, DATASET: rights.download_dataset}
        live = live.exclude(order=None, role__in=[role for role, kept in roles.items() if kept])
    return list(live)


def _message(code: RefusalCode, host: OwnerHost | None, dataset: RunDataset | None, detail: str) -> str:
    subject = f"{host.name} ({dataset.name}): " if host and dataset else f"{host.name}: " if host else ""
    return f"{subject}{EXPLANATIONS[code]}" + (f" {detail}" if detail else "")
