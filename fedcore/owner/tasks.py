"""One task of an order: claimed in the spool, computed in a forked process, and its end noted in the spool."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path

from fedcore.owner.confined.reach import host_code
from fedcore.owner.description import Work
from fedcore.owner.home import Home
from fedcore.owner.isolation import Limits, Reach, WorkFailed, WorkLost, refusal_of, run_isolated
from fedcore.owner.spool import OrderSpool
from fedcore.owner.work import carry_out, registry_of
from fedcore.plugin_api.registry import PluginError

logger = logging.getLogger(__name__)


def compute_task(home: Home, kind: str, order_id: str, shard: int) -> None:
    """Do one task of an order that the agent has put into the spool of this home.

    A task that is finished, that another process is at, or whose order is over, is left alone: messages may come
    twice or late.
    """
    spool = OrderSpool(home.spool_directory(order_id))
    work = spool.work()
    if work is None or work.kind != kind or not 0 <= shard < work.tasks or not spool.claim(shard):
        logger.info("Nothing to do for task %s %s/%s.", kind, order_id, shard)
        return
    limits = Limits(work.memory_mb, work.seconds)
    try:
        registry_of(
            work
        )  # Looked at here, so that the forked process finds it, and what confines plugins, ready.
        run_isolated(
            partial(carry_out, spool, work, shard),
            limits,
            partial(spool.touch, shard),
            reach_of(work, spool),
        )
    except (WorkFailed, PluginError) as error:
        logger.error("Task %s %s/%s: %s", kind, order_id, shard, error)
        spool.refuse(shard, refusal_of(error))
    except WorkLost as error:
        logger.error("Task %s %s/%s: the process was lost (%s).", kind, order_id, shard, error)
        spool.lose(shard)


def reach_of(work: Work, spool: OrderSpool) -> Reach:
    """The files that a task can open: Python's, those that its work names, and its order's spool."""
    secrets = [path for path in (work.split_key, work.run_key, work.sharing.secret) if path is not None]
    named = [*(file.path for file in work.files), *(state.path for state in work.states)]
    given = [Path(path) for path in (*secrets, *named, *work.sums, *work.inputs)]
    return Reach((*host_code(Path(work.home)), *given), (spool.directory, Path(os.devnull)))


class InlineBell:
    """Computes each task at once, in a forked process: for tests, and hosts without a broker."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def ring(self, kind: str, order_id: str, shard: int) -> None:
        compute_task(self._home, kind, order_id, shard)

    def busy(self) -> bool:
        return False
