"""`kill -9` at every point and at random: no spend is lost or doubled, and no order is ever answered twice.

The agent is a real process that forks its workers and speaks to a coordinator over a socket. Runs have an epsilon, so
that a second answer would have other noise, and show.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from fedcore.owner.ledger import open_ledger
from fedcore.wire.orders import Order, Phase
from fedcore.wire.reports import Report, Status
from fedcore.wire.signing import Signed
from fedcore.wire.spec import PluginChoice, Privacy, Protocol, Training
from tests.owner.cast import PLAIN, Cast, Owner, Plan
from tests.owner.nursery import POINTS
from tests.owner.scripted import Site

pytestmark = pytest.mark.processes

PHASES: Final = (Phase.CHECK, Phase.TRAIN, Phase.EVALUATE, Phase.CLOSE)
EPSILON: Final = Privacy(epsilon_micro=100_000, delta=1e-6)
QUICK: Final = Training(optimiser=PluginChoice(name="adam", options={"lr": 0.3}), epochs=2)
PATIENCE: Final = 900


class Nursery:
    """Agents of one home, one after the other, each killed when the test says so."""

    def __init__(self, owner: Owner) -> None:
        command = [sys.executable, "-m", "tests.owner.nursery", str(owner.home.path)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert self._line() == "ready"

    def start(self, point: str = "") -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{point}\n")
        self._process.stdin.flush()
        return int(self._line())

    def kill(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> None:
        assert self._line() == "ended"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


class Runs:
    """A coordinator that leads runs through their phases, each order issued when the one before is answered."""

    def __init__(self, cast: Cast, owner: Owner, count: int) -> None:
        self._cast, self._owner = cast, owner
        self.plans = [self._plan() for _ in range(count)]
        self._issued: dict[str, list[Signed]] = {plan.run: [] for plan in self.plans}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._lead, daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        return all(self._answered(plan) == len(PHASES) for plan in self.plans)

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _plan(self) -> Plan:
        return self._cast.spec(
            Protocol.LOCAL, backend=PLAIN, training=QUICK, privacy=EPSILON, asked=EPSILON, releases=1
        )

    def _answered(self, plan: Plan) -> int:
        issued = self._issued[plan.run]
        return sum(order.open(Order).id in self._cast.coordinator.reports for order in issued)

    def _lead(self) -> None:
        while not self._stopping.is_set():
            for plan in self.plans:
                issued = self._issued[plan.run]
                if self._answered(plan) == len(issued) < len(PHASES):
                    issued.append(plan.order(PHASES[len(issued)], self._owner))
            self._stopping.wait(0.01)


@pytest.fixture
def cast(tmp_path: Path) -> Iterator[Cast]:
    cast = Cast(tmp_path)
    site = Site(cast.coordinator)
    cast.url = site.url
    yield cast.settle_in(["north"], rows=150, privacy="epsilon_total = 500.0")
    site.close()


@pytest.fixture
def north(cast: Cast) -> Owner:
    return cast.owners[0]


@pytest.fixture
def nursery(north: Owner) -> Iterator[Nursery]:
    nursery = Nursery(north)
    yield nursery
    nursery.close()


def live_on(nursery: Nursery, runs: Runs) -> None:
    """One more agent, which lives until all runs are over."""
    pid, until = nursery.start(), time.monotonic() + PATIENCE
    while not runs.over and time.monotonic() < until:
        time.sleep(0.02)
    nursery.kill(pid)


def check_books(cast: Cast, north: Owner, runs: Runs) -> None:
    """Every run is over, was answered with one text a phase, and is booked once, with what was answered."""
    assert runs.over
    texts: dict[tuple[str, Phase], set[str]] = defaultdict(set)
    for signed in cast.coordinator.every_report:
        report = signed.open(Report)
        assert report.status is Status.DONE, report
        texts[report.run, report.phase].add(signed.digest)
    assert {len(found) for found in texts.values()} == {1}
    with open_ledger(north.home) as ledger:
        assert ledger.held() is None
        assert ledger._counter.read() == ledger.chain.head(), "the counter follows, whatever was cut off"
        entries = list(ledger.chain.entries())
        assert ledger.chain.verify() == len(entries) == 2 * len(runs.plans)
        reserved = [entry.subject for entry in entries if entry.kind == "reserved"]
        assert sorted(reserved) == sorted(plan.run for plan in runs.plans)
        released = {entry.said["run"]: entry.said["answer"] for entry in entries if entry.kind == "released"}
        assert released == {plan.run: texts[plan.run, Phase.EVALUATE].pop() for plan in runs.plans}


@pytest.mark.parametrize("point", POINTS)
def test_an_agent_that_is_killed_at_this_point_loses_and_doubles_nothing(
    cast: Cast, north: Owner, nursery: Nursery, point: str
) -> None:
    runs = Runs(cast, north, 2)
    nursery.start(point)
    nursery.wait()
    live_on(nursery, runs)
    runs.close()
    check_books(cast, north, runs)


def kill_at_random(cast: Cast, north: Owner, nursery: Nursery, kills: int, count: int, seed: int) -> None:
    chance, runs = random.Random(seed), Runs(cast, north, count)
    for _ in range(kills):
        pid = nursery.start()
        time.sleep(chance.uniform(0.01, 0.4))
        nursery.kill(pid)
    live_on(nursery, runs)
    runs.close()
    check_books(cast, north, runs)


def test_twenty_random_kills_lose_and_double_nothing(cast: Cast, north: Owner, nursery: Nursery) -> None:
    kill_at_random(cast, north, nursery, kills=20, count=20, seed=1)


@pytest.mark.nightly
def test_a_thousand_random_kills_lose_and_double_nothing(cast: Cast, north: Owner, nursery: Nursery) -> None:
    kill_at_random(cast, north, nursery, kills=1000, count=800, seed=2)
