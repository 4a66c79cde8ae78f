"""Telling the coordinator which datasets this host offers now: at the start, and whenever they change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from fedcore.owner.config_problems import ConfigError
from fedcore.owner.coordinator_api import CoordinatorApi, CoordinatorAway, CoordinatorRefused
from fedcore.owner.deciding import Deciding
from fedcore.owner.home import Home
from fedcore.owner.journal import EntryKind, Journal, JournalError
from fedcore.plugin_api.registry import PluginError
from fedcore.wire.reports import Announcement, DatasetOffer

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 10.0
REPEAT_SECONDS: Final = 600.0


class Announcing:
    """Announces the catalogue's view of the datasets of one home."""

    def __init__(
        self,
        home: Home,
        api: CoordinatorApi,
        deciding: Deciding,
        journal: Journal,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home, self._api, self._deciding, self._journal, self._clock = (
            home,
            api,
            deciding,
            journal,
            clock,
        )
        self._announced: tuple[DatasetOffer, ...] | None = None
        self._announced_at = 0.0

    def run(self, stopping: threading.Event) -> None:
        """Announce until the host stops. A dataset that cannot be used is logged and not offered."""
        while not stopping.is_set():
            try:
                self.announce()
            except (ConfigError, PluginError, JournalError) as error:
                logger.error("Nothing is announced: %s", error)
            except (CoordinatorAway, CoordinatorRefused) as error:
                logger.warning("The datasets were not announced: %s", error)
            except Exception:
                logger.exception("The datasets could not be announced")
            stopping.wait(LOOK_SECONDS)

    def announce(self) -> None:
        """Announce now, if anything has changed or the last time is long ago."""
        today = datetime.fromtimestamp(self._clock(), UTC).date().isoformat()
        offers, problems = self._deciding.governed().datasets.offers(today)
        recent = self._clock() - self._announced_at < REPEAT_SECONDS
        if offers == self._announced and recent:
            return
        for problem in problems:
            logger.error("Not offered: %s", problem)
        if offers != self._announced:
            self._journal.append(
                EntryKind.EVENT,
                {"announced": [{"dataset": offer.name, "version": offer.version} for offer in offers]},
            )
        self._api.announce(Announcement(datasets=offers, announced_at=int(self._clock())))
        self._announced, self._announced_at = offers, self._clock()
