"""Dry runs from the scientist's side: what to try, and waiting for what comes of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from fedcore.client.asking import distinct_by
from fedcore.client.catalogue import Dataset
from fedcore.client.errors import FedcoreError
from fedcore.client.runs import RunPlan
from fedcore.client.transport import Transport
from fedcore.wire.dry_runs import DryRunPlan

OVER: Final = "done"
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 2.0
PATIENCE: Final = 900.0
"""Seconds after which somebody should look whether the coordinator tries anything at all."""


def plan_to_try(datasets: Sequence[Dataset], plans: Sequence[RunPlan]) -> DryRunPlan:
    """All that the plans name, with the training of the first one."""
    return DryRunPlan(
        datasets=tuple(dataset.reference for dataset in datasets),
        pipelines=distinct_by(plans, lambda plan: plan.pipeline),
        backends=distinct_by(plans, lambda plan: plan.backend),
        models=distinct_by(plans, lambda plan: plan.model),
        training=plans[0].training,
    )


def wait_for_dry_run(http: Transport, dry_run: str) -> dict[str, Any]:
    """Wait until a dry run is over. Raises `FedcoreError` where that takes too long."""
    pause, until = FIRST_PAUSE, time.monotonic() + PATIENCE
    while True:
        found: dict[str, Any] = http.get(f"/api/dry-runs/{dry_run}")
        if found["state"] == OVER:
            return found
        if time.monotonic() > until:
            raise FedcoreError(
                f"The dry run {dry_run[:8]} is {found['state']} after {PATIENCE / 60:.0f} minutes. Ask the operator "
                "whether a worker runs at the coordinator, and try again."
            )
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
