"""The coordinator's Celery tasks: each is one call of the domain, and may be lost or repeated without harm."""

from __future__ import annotations

from celery import shared_task

from fedcore.coordinator.runs import bell, warming  # noqa: F401  (the worker is warmed when it starts)


@shared_task(name=bell.ADVANCE)
def advance_run(*, run_id: str) -> None:
    from fedcore.coordinator.runs.advance import advance

    advance(run_id)


@shared_task(name=bell.TRAIN)
def train_run(*, run_id: str) -> None:
    from fedcore.coordinator.runs.training import train

    train(run_id)


@shared_task(name=bell.SWEEP)
def sweep() -> None:
    from fedcore.coordinator.runs.sweeping import sweep_runs

    sweep_runs()


@shared_task(name=bell.TIDY)
def tidy() -> None:
    from fedcore.coordinator.runs.sweeping import tidy_artefacts

    tidy_artefacts()
