"""Getting work done by the workers: ring the bell for each task, and watch the spool until all are done.

The spool is the truth and the broker only a bell: a task whose worker was killed, or whose message was lost, is
rung for again. After so many lost attempts at one task as the work allows the work ends with `worker_lost`.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from fedcore.owner.description import Finished, Work
from fedcore.owner.isolation import WorkFailed
from fedcore.owner.spool import OrderSpool, Progress, digest_of
from fedcore.wire.codes import RefusalCode

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.01
COMPUTING: Final = "computing"
"""The stage of a report's seconds that the coordinator counts as computing; everything else is overhead."""
SILENCE_SECONDS: Final = 5.0
"""How long nothing may happen on any task of this order before unclaimed ones are rung for again."""


class Bell(Protocol):
    """Tells the workers that a task waits in the spool. A ring may get lost: it is repeated."""

    def ring(self, kind: str, order_id: str, shard: int) -> None: ...

    def busy(self) -> bool:
        """Whether workers are at tasks of any order."""


@dataclass
class Shards:
    """The tasks of one order's work, from the first ring to the last result."""

    spool: OrderSpool
    order_id: str
    work: Work
    bell: Bell
    attempts: Counter[int] = field(default_factory=Counter)
    rung_at: float = 0.0

    def compute(self, go_on: Callable[[], None], poll: float = POLL_SECONDS) -> list[Finished]:
        """Have all tasks done, and return their facts in order. `go_on` is called meanwhile, and raises to give up.

        Raises `WorkFailed` with the first code that a task ended with, or with `worker_lost`.
        """
        self.spool.begin(self.work)
        everything = frozenset(range(self.work.tasks))
        progress = self.spool.progress()
        self._ring(everything - progress.finished - progress.claimed)
        while not everything <= progress.finished:
            go_on()
            time.sleep(poll)
            progress = self.spool.progress()
            if progress.refused:
                raise WorkFailed(*self.spool.refusal(min(progress.refused)))
            self._recover(progress, everything)
        return [self._checked(task) for task in sorted(everything)]

    def _recover(self, progress: Progress, everything: frozenset[int]) -> None:
        lost = (progress.lost | progress.stale) - progress.finished
        for task in sorted(lost):
            self.attempts[task] += 1
            logger.warning(
                "Task %d of order %s lost its worker (%d).", task, self.order_id, self.attempts[task]
            )
            if self.attempts[task] >= self.work.attempts:
                raise WorkFailed(RefusalCode.WORKER_LOST)
            self.spool.reset(task)
        if lost:
            self._ring(lost)
        waiting = everything - progress.finished - progress.claimed - lost
        if waiting and time.monotonic() - self.rung_at > SILENCE_SECONDS and not self.bell.busy():
            logger.warning("No worker takes up the tasks of order %s: asking again.", self.order_id)
            self._ring(waiting)

    def _ring(self, tasks: Iterable[int]) -> None:
        for task in sorted(tasks):
            self.bell.ring(self.work.kind, self.order_id, task)
        self.rung_at = time.monotonic()

    def _checked(self, task: int) -> Finished:
        finished = self.spool.finished(task)
        if digest_of(self.spool.payload_path(task)) != finished.digest:
            raise WorkFailed(RefusalCode.STORAGE_FAILED)
        return finished


def add_seconds(parts: Iterable[Finished]) -> dict[str, float]:
    """Seconds by stage, added over the workers that shared the work, and `computing`: those of the busiest worker."""
    total: defaultdict[str, float] = defaultdict(float)
    by_worker: defaultdict[int, float] = defaultdict(float)
    for part in parts:
        by_worker[part.worker] += sum(part.seconds.values())
        for stage, seconds in part.seconds.items():
            total[stage] += seconds
    total[COMPUTING] = max(by_worker.values(), default=0.0)
    return {stage: round(seconds, 6) for stage, seconds in total.items()}


def spool_is_busy(spools: Iterable[OrderSpool]) -> bool:
    """Whether a worker is at a task of any of these orders."""
    return any(progress.claimed - progress.stale for progress in (spool.progress() for spool in spools))
