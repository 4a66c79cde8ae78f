"""The report of a finished run: quality, cost, and what was leaked to whom, as one JSON document."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from fedcore.coordinator.plugins import installed, leakage_of
from fedcore.coordinator.runs.models import Run, RunDataset, RunOrder
from fedcore.plugin_api.backends import EncryptionBackend
from fedcore.plugin_api.evaluation import ScoreCounts, from_evaluated, metrics_of
from fedcore.privacy.mechanisms import MICRO
from fedcore.wire.encoding import Message
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Evaluated, Prepared, Spent, Trained
from fedcore.wire.spec import Protocol

SomeResult = TypeVar("SomeResult", bound=Message)


def report_of(run: Run, now: datetime) -> dict[str, Any]:
    """The report of a run whose stages are all complete; `now` is when it finished."""
    orders = list(run.orders.exclude(phase=Phase.CLOSE).select_related("host"))
    roster = list(run.datasets.select_related("host__organisation"))
    evaluated = ((order.host_id, order.reported.result) for order in orders if order.phase == Phase.EVALUATE)
    results = {host: result for host, result in evaluated if isinstance(result, Evaluated)}
    counts = {host: from_evaluated(result) for host, result in results.items()}
    costs = {host: _privacy(result.spent) for host, result in results.items()}
    return {
        "run": run.id,
        "title": run.title,
        "protocol": run.protocol,
        "backend": _backend(run),
        "model": run.model_type,
        "pipeline": run.spec.pipeline.model_dump(mode="json")["steps"],
        "owners": [
            _owner(entry, orders, counts[entry.host_id]) | {"privacy": costs[entry.host_id]}
            for entry in roster
        ],
        "metrics": _metrics(ScoreCounts.add(list(counts.values()))),
        "training": _training(run, orders),
        "seconds": _seconds(run, orders, now),
        "privacy": _dearest(list(costs.values())),
        "created_at": run.created_at.isoformat(),
        "finished_at": now.isoformat(),
    }


def _backend(run: Run) -> dict[str, Any]:
    backend = installed().of_type(EncryptionBackend, run.backend)
    rows_leave = run.protocol_kind is not Protocol.LOCAL
    return {
        "name": backend.name,
        "pseudonymised": backend.renames_only and rows_leave,
        "leakage": leakage_of(backend) if rows_leave else [],
        "trust": list(backend.trust) if rows_leave else [],
    }


def _owner(entry: RunDataset, orders: Iterable[RunOrder], counts: ScoreCounts) -> dict[str, Any]:
    own = [order for order in orders if order.host_id == entry.host_id]
    prepared, trained = _result(own, Prepared), _result(own, Trained)
    seconds: dict[str, float] = defaultdict(float)
    for order in own:
        for stage, spent in order.reported.seconds.items():
            seconds[f"{order.phase}.{stage}"] += spent
    return {
        "host_name": entry.host.name,
        "organisation": entry.host.organisation.name,
        "dataset": entry.name,
        "version": entry.version,
        "rows_trained": prepared.rows if prepared else trained.rows if trained else 0,
        "rows_held_out": counts.rows,
        "bytes_sent": sum(ref.size for order in own for ref in order.reported.artefacts),
        "plaintext_bytes": prepared.plaintext_bytes if prepared else 0,
        "seconds": {stage: round(spent, 6) for stage, spent in seconds.items()},
        "training": _curve(trained),
        "metrics": _metrics(counts),
    }


def _privacy(spent: Spent | None) -> dict[str, Any]:
    """What a run has cost at one owner, as the owner's host says."""
    if spent is None:
        return {"epsilon": "none"}
    return {
        "epsilon": spent.epsilon_micro / MICRO,
        "delta": spent.delta,
        "mechanisms": list(spent.mechanisms),
    }


def _dearest(costs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a run has cost any one row: a row lies at one owner. `none` where one owner's counts have no bound."""
    bounded = [cost for cost in costs if cost["epsilon"] != "none"]
    if len(bounded) < len(costs) or not costs:
        return {"epsilon": "none"}
    return max(bounded, key=lambda cost: float(cost["epsilon"]))


def _result(orders: Iterable[RunOrder], kind: type[SomeResult]) -> SomeResult | None:
    results = (order.reported.result for order in orders)
    return next((result for result in results if isinstance(result, kind)), None)


def _metrics(counts: ScoreCounts) -> dict[str, Any] | None:
    """The metrics, or nothing where no row was held out."""
    return metrics_of(counts).model_dump(mode="json") if counts.rows else None


def _training(run: Run, orders: Sequence[RunOrder]) -> dict[str, Any]:
    """Rows and curve of the run's model; under `local` the sums only, since each owner trained its own."""
    if run.training is not None:
        return {name: value for name, value in run.training.items() if name not in ("started_at", "seconds")}
    trained = [result for order in orders if isinstance(result := order.reported.result, Trained)]
    if run.protocol_kind is Protocol.REFERENCE and trained:
        return _curve(trained[0]) or {}
    curves = [result.curve for result in trained if result.curve is not None]
    return {
        "rows": sum(result.rows for result in trained),
        "epochs": max((curve.epochs for curve in curves), default=0),
        "steps": max((curve.steps for curve in curves), default=0),
        "every": 1,
        "loss": [],
        "accuracy": [],
    }


def _curve(trained: Trained | None) -> dict[str, Any] | None:
    """Rows and curve of an owner's training; nothing where it trained nothing, or says nothing under an epsilon."""
    if trained is None or trained.curve is None:
        return None
    return {"rows": trained.rows, **trained.curve.model_dump(mode="json")}


def _seconds(run: Run, orders: Sequence[RunOrder], now: datetime) -> dict[str, float]:
    """Wall seconds by phase, all of them from the first order to the end, and which of them was computing.

    A stage computes for as long as the busiest worker of its slowest host says, and never longer than the stage
    took. Waiting for a worker, sealing, uploads, orders and the state of the run are overhead.
    """
    stages: dict[tuple[Any, ...], list[RunOrder]] = defaultdict(list)
    for order in orders:
        stages[order.key].append(order)
    walls: dict[str, float] = defaultdict(float)
    computing = 0.0
    for (phase, _, _), answered in stages.items():
        ended = max(order.reported_at for order in answered if order.reported_at)
        wall = (ended - min(order.issued_at for order in answered)).total_seconds()
        walls[str(phase)] += wall
        computing += min(wall, max(order.reported.seconds.get("computing", 0.0) for order in answered))
    if run.training is not None:
        walls[str(Phase.TRAIN)] += run.training["seconds"]
        computing += run.training["seconds"]
    total = (now - (run.started_at or run.created_at)).total_seconds()
    named = {**walls, "total": total, "computing": computing, "overhead": max(0.0, total - computing)}
    return {name: round(spent, 6) for name, spent in named.items()}
