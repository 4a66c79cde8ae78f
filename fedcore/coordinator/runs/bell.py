"""The broker as a bell: a message only says that a run may be moved on. What is lost, the sweep finds."""

from __future__ import annotations

import logging

from celery import current_app
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

ADVANCE = "fedcore.runs.advance"
TRAIN = "fedcore.runs.train"
SWEEP = "fedcore.runs.sweep"
TIDY = "fedcore.runs.tidy"


def ring(run_id: str, task: str = ADVANCE) -> None:
    """Ask a Celery worker to look at the run. Call it when the transaction is committed.

    A broker that is away only delays the run until the next sweep.
    """
    try:
        current_app.send_task(task, kwargs={"run_id": run_id}, retry=False, ignore_result=True)
    except OperationalError as error:
        logger.warning("The broker is away, run %s waits for the sweep: %s", run_id[:8], error)
