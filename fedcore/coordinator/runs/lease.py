"""Who trains a run: one worker at a time, for as long as it shows signs of life.

The lease and its heartbeat are columns of the run. A worker that was killed stops its heartbeat; the sweep then
gives the training to another, and whatever the first one might still write finds that its lease is gone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from fedcore.coordinator.runs.flow import MODEL_AT_COORDINATOR
from fedcore.coordinator.runs.models import Run, RunEvent, Runs
from fedcore.wire.orders import Phase

logger = logging.getLogger(__name__)


class Superseded(Exception):
    """The run has ended, or another worker has its training: stop, and keep nothing."""


@dataclass(frozen=True)
class Lease:
    """The right to train one run."""

    run_id: str
    token: str

    def beat(self) -> None:
        """Show that the worker is alive. Raises `Superseded`."""
        if not self._held().update(heartbeat_at=timezone.now()):
            raise Superseded(self.run_id)

    @transaction.atomic
    def tell(self, text: str, progress: float) -> None:
        """Show how far the training is, to whoever follows the run. Raises `Superseded`."""
        if not self._held().update(heartbeat_at=timezone.now(), progress=progress, message=text):
            raise Superseded(self.run_id)
        state = Run.objects.values_list("state", flat=True).get(pk=self.run_id)
        RunEvent.objects.create(run_id=self.run_id, state=state, text=text, progress=progress)

    def locked_run(self) -> Run:
        """The run with its row locked, for the training's last transaction. Raises `Superseded`."""
        run: Run | None = self._held().select_for_update().first()
        if run is None:
            raise Superseded(self.run_id)
        return run

    def release(self) -> None:
        """Give the lease up; the sweep asks another worker when the heartbeat has grown old."""
        self._held().update(lease="")

    def _held(self) -> Runs:
        return Run.objects.unfinished().filter(pk=self.run_id, lease=self.token)


@transaction.atomic
def claim(run_id: str) -> Lease | None:
    """The lease of a run that waits for its training, or nothing if there is nothing to do."""
    waiting = Run.objects.unfinished().filter(phase=Phase.TRAIN, protocol__in=MODEL_AT_COORDINATOR, lease="")
    run = waiting.select_for_update().filter(pk=run_id).first()
    if run is None or run.artefacts.filter(order=None, complete=True).exists():
        return None
    if any(not order.answered for order in run.orders.filter(phase=Phase.TRAIN)):
        return None  # Hosts are still training: what they send is put together here afterwards.
    run.lease, run.heartbeat_at, run.attempts = uuid4().hex, timezone.now(), run.attempts + 1
    run.save(update_fields=["lease", "heartbeat_at", "attempts"])
    return Lease(run_id, run.lease)


@contextmanager
def kept_alive(lease: Lease) -> Iterator[None]:
    """Beat in a thread of its own, so that a long step of the training is not taken for a lost worker."""
    ended = threading.Event()
    thread = threading.Thread(target=_beat_until, args=(lease, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat_until(lease: Lease, ended: threading.Event) -> None:
    while not ended.wait(settings.FEDCORE_LEASE_SECONDS / 4):
        try:
            lease.beat()
        except Superseded:
            break  # The training notices itself, when it next tells how far it is.
        except DatabaseError as error:
            logger.warning("No heartbeat for run %s: %s", lease.run_id[:8], error)
        finally:
            connection.close()
