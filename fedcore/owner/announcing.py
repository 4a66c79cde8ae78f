"""Telling the coordinator which datasets this host offers now: at the start, and whenever they change.

The mock samples that an announcement names are sent after it, those that the coordinator does not have yet.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from fedcore.owner.booking import Booking
from fedcore.owner.config_problems import ConfigError
from fedcore.owner.coordinator_api import CoordinatorApi, CoordinatorAway, CoordinatorRefused
from fedcore.owner.datasets import DatasetProblem, Datasets
from fedcore.owner.deciding import Governing
from fedcore.owner.home import Home
from fedcore.owner.journal import EntryKind, Journal, JournalError
from fedcore.owner.mocks import MockProblem, ref_of
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
        governing: Governing,
        journal: Journal,
        booking: Booking,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home, self._api, self._governing = home, api, governing
        self._journal, self._booking, self._clock = journal, booking, clock
        self._announced: tuple[DatasetOffer, ...] | None = None
        self._announced_at = 0.0
        self._problems: tuple[str, ...] = ()
        self._mocks_are_due = False

    def run(self, stopping: threading.Event) -> None:
        """Announce until the host stops. A dataset that cannot be used is logged and not offered."""
        while not stopping.is_set():
            try:
                self.announce()
            except (ConfigError, PluginError, JournalError, MockProblem) as error:
                logger.error("Nothing is announced: %s", error)
            except (CoordinatorAway, CoordinatorRefused) as error:
                logger.warning("The datasets were not announced, or not with their mock samples: %s", error)
            except Exception:
                logger.exception("The datasets could not be announced")
            stopping.wait(LOOK_SECONDS)

    def announce(self) -> None:
        """Announce now, if anything has changed or the last time is long ago; then send mock samples."""
        today = datetime.fromtimestamp(self._clock(), UTC).date().isoformat()
        governed = self._governing.governed()
        datasets, policies = governed.datasets, governed.policy.datasets
        offers, problems = datasets.offers(
            today, lambda name, now: self._booking.shown_rows(datasets, policies[name], name, now)
        )
        self._log(problems)
        if offers != self._announced or self._clock() - self._announced_at >= REPEAT_SECONDS:
            self._tell(offers)
        if self._mocks_are_due:
            self._send_mocks(datasets, offers)
            self._mocks_are_due = False

    def _log(self, problems: Iterable[DatasetProblem]) -> None:
        """Say of each dataset that cannot be offered why, when that is new."""
        found = tuple(map(str, problems))
        for problem in found:
            if problem not in self._problems:
                logger.error("Not offered: %s", problem)
        self._problems = found

    def _tell(self, offers: tuple[DatasetOffer, ...]) -> None:
        if offers != self._announced:
            self._journal.append(
                EntryKind.EVENT,
                {"announced": [{"dataset": offer.name, "version": offer.version} for offer in offers]},
            )
        self._api.announce(Announcement(datasets=offers, announced_at=int(self._clock())))
        self._announced, self._announced_at = offers, self._clock()
        self._mocks_are_due = True

    def _send_mocks(self, datasets: Datasets, offers: Iterable[DatasetOffer]) -> None:
        """Send the samples that the coordinator asks for, of those that were announced and are still the same."""
        wanted = set(self._api.wanted_mocks())
        for offer in offers:
            if offer.mock is None or offer.mock.digest not in wanted:
                continue
            sample = datasets.mock(offer.name)
            if sample is None or ref_of(sample) != offer.mock:
                continue  # The owner has changed it meanwhile; the next announcement names the new one.
            self._journal.append(
                EntryKind.EVENT, {"mock_sample": offer.mock.digest, "of": offer.name, "bytes": len(sample)}
            )
            self._api.send_mock(offer.mock, sample)
            wanted.remove(offer.mock.digest)
