"""Deleting what runs have left that nobody will close any more: temporary files go, whatever happened."""

from __future__ import annotations

import logging
import os
from typing import Final

from fedcore.owner.facts import Done
from fedcore.owner.home import Home
from fedcore.owner.orders import Life, OrderStore
from fedcore.owner.run_folder import RunFolder
from fedcore.owner.spool import OrderSpool
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Status
from fedcore.wire.spec import RunSpec

logger = logging.getLogger(__name__)

GRACE_SECONDS: Final = 7 * 86_400


def delete_what_is_over(home: Home, store: OrderStore, now: float) -> None:
    """Close runs whose deadline passed a week ago, and delete all temporary files that nobody needs any more.

    A run that has a model keeps it: the owner may still score logs with it.
    """
    for directory in sorted(home.runs.iterdir()):
        folder = RunFolder(directory)
        if Done(Phase.CLOSE) not in store.done(directory.name) and _deadline(folder) + GRACE_SECONDS < now:
            logger.warning("Run %s was never closed, and its deadline passed a week ago.", directory.name)
            for order in store.of_run(directory.name):
                OrderSpool(home.spool_directory(order.id)).delete()
            folder.close(keep=True)
    for directory in sorted(home.spool.iterdir()):
        if store.find(directory.name) is None or _is_over(store, directory.name):
            OrderSpool(directory).delete()
    _delete_left_behind(home)


def _is_over(store: OrderStore, order: str) -> bool:
    """Whether nothing of the order's spool is needed any more: its answer was no success, or its run is closed."""
    stored = store.find(order)
    if stored is None or stored.life is not Life.RELEASED:
        return False
    return stored.status is not Status.DONE or Done(Phase.CLOSE) in store.done(stored.run)


def _delete_left_behind(home: Home) -> None:
    """Delete what a killed agent was about to write, and the rows that a killed prediction was at."""
    predictions = home.path / "predictions"
    for directory in sorted(predictions.iterdir()) if predictions.is_dir() else ():
        if not _runs(directory.name):
            OrderSpool(directory).delete()
    for pattern in ("runs/*/.*.part", ".datasets-*"):
        for left in home.path.glob(pattern):
            left.unlink(missing_ok=True)


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _deadline(folder: RunFolder) -> int:
    try:
        return folder.spec().open(RunSpec).deadline
    except (OSError, WireError):
        # A folder without a readable spec was left before its first phase ended: it holds nothing of use.
        return 0
