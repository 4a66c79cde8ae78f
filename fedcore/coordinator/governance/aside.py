"""Dry runs beside a worker's other work: a thread waits for their process, so that no run waits for a dry run.

Each worker process performs one at a time. A thread that is lost with its worker leaves a dry run that the sweep finds.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from django.db import connection

from fedcore.coordinator.governance import trying
from fedcore.coordinator.governance.models import DryRun, DryRunState

logger = logging.getLogger(__name__)

_BUSY: Final = threading.Lock()


def perform_aside(dry_run_id: str) -> threading.Thread | None:
    """Perform a dry run, and those that wait after it, in a thread; None where this process has one already.

    What is left out here waits, and the thread that is under way takes it next.
    """
    if not _BUSY.acquire(blocking=False):
        return None
    thread = threading.Thread(target=_perform_all, args=(dry_run_id,), name="dry-run", daemon=True)
    thread.start()
    return thread


def _perform_all(first: str) -> None:
    try:
        following: str | None = first
        while following is not None:
            trying.perform(following)
            waiting = DryRun.objects.filter(state=DryRunState.WAITING, attempts=0)
            following = waiting.order_by("asked_at").values_list("pk", flat=True).first()
    except Exception:
        logger.exception("A dry run could not be performed; the sweep tries again.")
    finally:
        connection.close()
        _BUSY.release()
