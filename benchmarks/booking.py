"""What the privacy ledger costs: booking a run and giving it back, and the accounting of many releases."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.benchmark import best_seconds, median
from fedcore.client.runs import DELTA
from fedcore.owner.budgets import Allowance, Budget
from fedcore.owner.ledger import Ledger, Reservation
from fedcore.owner.ledger_counter import Counter
from fedcore.privacy.accounting import Booked, epsilon_of
from fedcore.privacy.mechanisms import MICRO, DiscreteGaussian, DiscreteLaplace, Mechanism, Rows

_ROUNDS: Final = 40
_BUDGET: Final = Budget(1_000_000 * MICRO, DELTA)
_LIMITED: Final = Allowance(1_000_000, _BUDGET, _BUDGET)
_UNLIMITED: Final = Allowance(1_000_000)


def booking_seconds(before: int) -> tuple[float, float]:
    """Median seconds of booking a run and giving it back, beside `before` booked runs, and of a plain insert.

    Both are on the disk when they end (`synchronous = FULL`), in the same folder, and take turns.
    """
    with TemporaryDirectory(prefix="fedcore-bench-") as folder, _ledger(Path(folder)) as ledger:
        for run in range(before):
            if ledger.reserve(_run(run), _UNLIMITED) is not None:
                raise AssertionError("A run that nothing limits was refused.")
        plain = sqlite3.connect(Path(folder) / "plain.sqlite", isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "CREATE TABLE t (x TEXT)",
        ):
            plain.execute(statement)
        turns = [
            (_timed(partial(_book, ledger, before + number)), _timed(partial(_insert, plain)))
            for number in range(_ROUNDS)
        ]
        plain.close()
    return median([booked for booked, _ in turns]), median([inserted for _, inserted in turns])


def accounting_seconds(releases: int) -> tuple[float, float]:
    """Seconds for the epsilon of so many releases with Gaussian noise: ours, and those of dp-accounting."""
    from dp_accounting.dp_event import GaussianDpEvent
    from dp_accounting.rdp import RdpAccountant

    noises = [_noise(number) for number in range(releases)]
    booked = [Booked((noise,), "split") for noise in noises]

    def ours() -> int | None:
        return epsilon_of(booked, DELTA, _BUDGET.epsilon_micro)

    def theirs() -> float:
        accountant = RdpAccountant()
        for noise in noises:
            ratio = math.sqrt(noise.variance) / noise.sensitivity
            accountant.compose(GaussianDpEvent(ratio), noise.times)
        return float(accountant.get_epsilon(DELTA))

    best, other = epsilon_of(booked, DELTA), theirs()
    if best is None or abs(best / MICRO - other) > 0.02 * other:
        raise AssertionError(f"The two accountants say {best} and {other}: not the same work.")
    seconds = best_seconds([ours, theirs])
    return seconds[0], seconds[1]


def _ledger(folder: Path) -> Ledger:
    return Ledger(folder / "ledger.sqlite", Counter(folder / "elsewhere" / "counter"))


def _noise(number: int) -> DiscreteGaussian:
    """The noise of a run of 50 passes; every run's is another."""
    return DiscreteGaussian(Fraction(10**16 + number), 1 << 20, 50, Rows.TRAINING)


def _run(number: int) -> Reservation:
    counts = DiscreteLaplace(Fraction(100 + number % 50), 1, Rows.HELD_OUT)
    mechanisms: tuple[Mechanism, ...] = (_noise(number), counts)
    return Reservation(f"{number:064x}", "grant", "dataset", mechanisms, "split")


def _book(ledger: Ledger, number: int) -> None:
    run = _run(number)
    if ledger.reserve(run, _LIMITED) is not None or not ledger.settle(run.run):
        raise AssertionError("The run was not booked and given back.")


def _insert(plain: sqlite3.Connection) -> None:
    plain.execute("INSERT INTO t VALUES (?)", ("x" * 500,))


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
