"""The one function that moves a run on: from what the database says to the next orders.

It looks for the first stage that is not complete, and makes the orders that are missing there. Everything
follows from rows that are read under the run's lock, so that calling it twice, late, or in two processes at
once gives no second order. Each call is one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from fedcore.coordinator.governance import audit, standings
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.booking import book_release
from fedcore.coordinator.governance.models import HostStanding, OwnerHost
from fedcore.coordinator.governance.problems import DecisionError
from fedcore.coordinator.runs import ending
from fedcore.coordinator.runs.bell import TRAIN, ring
from fedcore.coordinator.runs.coverage import gaps_of, is_undecided
from fedcore.coordinator.runs.flow import Stage, Who
from fedcore.coordinator.runs.models import Artefact, Run, RunDataset, RunEvent, RunOrder
from fedcore.coordinator.runs.orders import MODEL, acting, issue, roster_of, stages_of
from fedcore.coordinator.runs.reporting import report_of
from fedcore.coordinator.runs.states import RunState
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Settled, Status

MAXIMUM_ATTEMPTS = 3
"""How often a training is started before its run is given up."""


def advance(run_id: str) -> None:
    """Move a run on as far as it goes now. Unknown and ended runs are left alone."""
    if not _move(run_id):
        return
    # The report takes a while to compute, so it is made before the run's row is locked again; it is the
    # same whoever makes it.
    now = timezone.now()
    report = report_of(Run.objects.get(pk=run_id), now)
    with audit.atomic():
        run = Run.objects.select_for_update().get(pk=run_id)
        if not run.ended and _grants_hold(run, roster_of(run), now):
            ending.finish(run, report, now)


@audit.atomic()
def _move(run_id: str) -> bool:
    """Do what is next; whether all stages are complete."""
    run = Run.objects.select_for_update().filter(pk=run_id).first()
    if run is None or run.ended:
        return False
    now = timezone.now()
    orders = list(run.orders.select_related("host").defer("envelope", "report"))
    roster = roster_of(run)
    if _stopped(run, orders, roster, now):
        return False
    if run.started_at is None and not _start(run, roster, now):
        return False
    all_stages = stages_of(run)
    for number, stage in enumerate(all_stages):
        if not _is_complete(run, stage, orders, roster):
            progress = _progress(number, stage, len(all_stages), orders, roster)
            _work_on(run, stage, orders, roster, progress, now)
            return False
    return True


def _stopped(run: Run, orders: Sequence[RunOrder], roster: Sequence[RunDataset], now: datetime) -> bool:
    """End the run if an order was not done, is overdue, or the deadline has passed; whether it was ended."""
    for order in orders:
        if order.answered and order.status != Status.DONE:
            ending.stop(run, RefusalCode(order.code), now, host=order.host)
            return True
    late = run.deadline <= now
    state = RunState.EXPIRED if late else RunState.FAILED
    silent = next(
        (order for order in orders if not order.answered and (late or order.expires_at <= now)), None
    )
    if silent is not None:
        ending.stop(run, RefusalCode.OWNER_AWAY, now, host=silent.host, state=state)
    elif late:
        code, host = _missed(run, roster)
        ending.stop(run, code, now, host=host, detail="The run's deadline has passed.", state=state)
    return run.ended


def _missed(run: Run, roster: Sequence[RunDataset]) -> tuple[RefusalCode, OwnerHost | None]:
    """What a run whose deadline has passed was waiting for, and at whom."""
    for entry in roster if run.started_at is None else ():
        if is_undecided(entry.request):
            return RefusalCode.NOT_GRANTED, entry.host
        if standings.awaited(entry.request.grant, entry.host):
            waits = entry.request.grant.standing == HostStanding.WAITING
            return (RefusalCode.GRANT_NOT_CONFIRMED if waits else RefusalCode.OWNER_AWAY), entry.host
    return RefusalCode.EXPIRED, None


def _start(run: Run, roster: Sequence[RunDataset], now: datetime) -> bool:
    """Begin a run whose grants are all usable; whether it has begun."""
    if not _grants_hold(run, roster, now):
        return False
    waiting = _awaited(roster)
    if waiting:
        _enter(run, RunState.AWAITING_GRANTS, "", waiting, True, 0.0)
        return False
    for entry in roster:
        grant = entry.request.grant
        if not grant.is_usable(now):
            ending.stop(run, RefusalCode.RELEASES_SPENT, now, host=entry.host)
            return False
    run.started_at = now
    run.save(update_fields=["started_at"])
    audit.record(Action.START_RUN, run)
    return True


def _awaited(roster: Sequence[RunDataset]) -> str:
    """What is missing before every grant can be used: approvals at the coordinator first, then the hosts' word."""
    waiting = [entry for entry in roster if is_undecided(entry.request)]
    if waiting:
        owners = ", ".join(f"{entry.host.name} ({entry.name})" for entry in waiting)
        return f"Waiting for the approval of {owners}."
    said = [
        f"{entry.name}: {words}"
        for entry in roster
        if (words := standings.awaited(entry.request.grant, entry.host))
    ]
    return f"Waiting for the owners' hosts. {'; '.join(said)}." if said else ""


def _grants_hold(run: Run, roster: Sequence[RunDataset], now: datetime) -> bool:
    """Stop the run if a grant does not cover it any more: ended, expired or tightened; whether all do or wait."""
    for entry, wanted in zip(roster, run.spec.datasets, strict=True):
        gap = next(gaps_of(entry.request, run.spec, wanted, now), None)
        if gap is not None:
            ending.stop(run, gap.code, now, host=entry.host, detail=gap.detail)
            return False
    return True


def _is_complete(run: Run, stage: Stage, orders: Sequence[RunOrder], roster: Sequence[RunDataset]) -> bool:
    if stage.who is Who.COORDINATOR:
        return Artefact.objects.filter(run=run, order=None, role=MODEL, complete=True).exists()
    done = {order.host_id for order in orders if order.key == stage.key and order.status == Status.DONE}
    return done >= {host.pk for host in acting(run, roster, stage.who)}


def _work_on(
    run: Run,
    stage: Stage,
    orders: Sequence[RunOrder],
    roster: Sequence[RunDataset],
    progress: float,
    now: datetime,
) -> None:
    if not _grants_hold(run, roster, now) or not _states_agree(run, orders, now):
        return
    if stage.phase is not Phase.CHECK and not _book(run, roster, now):
        return
    if stage.who is Who.COORDINATOR:
        if run.phase != stage.phase:
            _enter(run, stage.state, stage.phase, "The coordinator trains the model.", False, progress)
        ask_for_training(run, now)
        return
    hosts = acting(run, roster, stage.who)
    of_stage = {order.host_id: order for order in orders if order.key == stage.key}
    missing = [host for host in hosts if host.pk not in of_stage]
    awaited = [host for host in hosts if host in missing or not of_stage[host.pk].answered]
    _enter(run, stage.state, stage.phase, *_waiting(stage.phase, awaited, now), progress)
    try:
        issue(run, stage, missing, roster, now)
    except WireError as error:
        ending.stop(run, error.code, now, detail="Use fewer owners or smaller shards.")


def _book(run: Run, roster: Sequence[RunDataset], now: datetime) -> bool:
    """Use one release of each grant, once every owner has agreed to take part; whether there was one left in all.

    All or none. Grants are locked in one order, so that two runs cannot wait for each other in a circle.
    """
    entry = roster[0]
    try:
        with audit.atomic():
            for entry in sorted(roster, key=lambda entry: entry.request.grant.pk):
                book_release(entry.request.grant, run.id, now, run.spec.privacy.epsilon_micro)
    except DecisionError as error:
        ending.stop(run, RefusalCode(error.code), now, host=entry.host)
        return False
    return True


def _states_agree(run: Run, orders: Sequence[RunOrder], now: datetime) -> bool:
    """Stop the run if owners settled on different states; they compare themselves too, and would refuse."""
    settled: dict[int, set[str]] = {}
    for order in orders:
        if order.phase == Phase.SETTLE and order.answered and isinstance(order.reported.result, Settled):
            settled.setdefault(order.step, set()).add(order.reported.result.state)
    if any(len(states) > 1 for states in settled.values()):
        ending.stop(run, RefusalCode.STATE_MISMATCH, now)
    return not run.ended


def ask_for_training(run: Run, now: datetime) -> None:
    """Ask a worker to train, unless one trains or was asked just now. Call it with the run's row locked.

    A training whose worker shows no sign of life for a while is given to another worker.
    """
    silence = timedelta(seconds=settings.FEDCORE_LEASE_SECONDS)
    if run.heartbeat_at is not None and now - run.heartbeat_at < silence:
        return
    if run.attempts >= MAXIMUM_ATTEMPTS:
        ending.stop(
            run,
            RefusalCode.INTERNAL,
            now,
            detail="The coordinator's worker ended three times in the training.",
        )
        return
    run.lease, run.heartbeat_at = "", now
    run.save(update_fields=["lease", "heartbeat_at"])
    transaction.on_commit(lambda: ring(run.id, TRAIN))


def _progress(
    number: int, stage: Stage, stages: int, orders: Sequence[RunOrder], roster: Sequence[RunDataset]
) -> float:
    answered = sum(order.key == stage.key and order.answered for order in orders)
    return round((number + answered / (len(roster) + 1)) / stages, 4)


def _waiting(phase: Phase, awaited: Sequence[OwnerHost], now: datetime) -> tuple[str, bool]:
    """For whom a run waits, and whether one of them is away and its owner has to do something."""
    away = [host.name for host in awaited if host.is_away(now)]
    if away:
        return f"Waiting for {', '.join(away)}, which is away. Ask the owner to start the host.", True
    return f"Waiting for {', '.join(host.name for host in awaited)}: {phase}.", False


def _enter(run: Run, state: RunState, phase: str, message: str, notable: bool, progress: float) -> None:
    """Show where the run is; an event only where it came into another phase, or the message is notable."""
    moved = (run.state, run.phase) != (state, phase)
    if not moved and (run.message, run.progress) == (message, max(run.progress, progress)):
        return
    told = moved or (notable and run.message != message)
    run.state, run.phase, run.message = state, phase, message[:500]
    run.progress = max(run.progress, progress)
    run.save(update_fields=["state", "phase", "message", "progress"])
    if told:
        RunEvent.objects.create(run=run, state=state, text=run.message, progress=run.progress)
