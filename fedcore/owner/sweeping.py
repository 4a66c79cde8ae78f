"""Deleting what runs have left that nobody will close any more: temporary files go, whatever happened."""

from __future__ import annotations

import logging
from typing import Final

from fedcore.owner.facts import Done
from fedcore.owner.home import Home
from fedcore.owner.orders import OrderStore
from fedcore.owner.run_folder import RunFolder
from fedcore.owner.spool import OrderSpool
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import Phase
from fedcore.wire.spec import RunSpec

logger = logging.getLogger(__name__)

GRACE_SECONDS: Final = 7 * 86_400


def delete_what_is_over(home: Home, store: OrderStore, now: float) -> None:
    """Close runs whose deadline passed a week ago, and delete spools that belong to no order.

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
        if store.find(directory.name) is None:
            OrderSpool(directory).delete()


def _deadline(folder: RunFolder) -> int:
    try:
        return folder.spec().open(RunSpec).deadline
    except (OSError, WireError):
        # A folder without a readable spec was left before its first phase ended: it holds nothing of use.
        return 0
