"""What happens without being asked for: every unfinished run is looked at again, and files that may not stay go.

A lost message, a killed worker or a wiped broker only costs the time until the next sweep.
"""

from __future__ import annotations

import logging

from django.utils import timezone

from fedcore.coordinator.governance import audit
from fedcore.coordinator.runs import ending, storage
from fedcore.coordinator.runs.advance import advance
from fedcore.coordinator.runs.models import Artefact, Run
from fedcore.coordinator.runs.states import ENDED
from fedcore.wire.orders import Phase

logger = logging.getLogger(__name__)


def sweep_runs() -> None:
    """Move every unfinished run on. One run's trouble does not stop the others."""
    for run_id in Run.objects.unfinished().values_list("pk", flat=True):
        try:
            advance(run_id)
        except Exception:
            logger.exception("The sweep could not move run %s on; it tries again.", run_id[:8])
    not_closed = Run.objects.filter(state__in=ENDED, orders__isnull=False).exclude(orders__phase=Phase.CLOSE)
    for run_id in not_closed.values_list("pk", flat=True).distinct():
        try:
            ending.close_hosts(run_id)
        except Exception:
            logger.exception("The sweep could not close run %s at its hosts; it tries again.", run_id[:8])


def tidy_artefacts() -> None:
    """Delete models and merged datasets without every owner's leave, and files that belong to nothing any more."""
    now = timezone.now()
    for run in ending.holding():
        ending.let_go(run, now)
    # An upload may have begun while its run ended.
    late = Artefact.objects.filter(run__state__in=ENDED, deleted_at=None).exclude(order=None)
    with audit.atomic():
        storage.discard(late)
    storage.collect_garbage()
