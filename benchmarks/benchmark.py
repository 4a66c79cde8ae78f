"""What a benchmark is: a name, comparisons with a baseline or peer of the same run, and goals as data."""

from __future__ import annotations

import math
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar


class PeerAbsent(Exception):
    """What a benchmark compares with is not there: the goal counts as missed. The text names it and the remedy."""


@dataclass(frozen=True)
class Goal:
    """The bound that a measured value has to keep: `at least 10 x`, `at most 3 s`."""

    bound: float
    unit: str = "x"
    at_least: bool = True

    def met_by(self, value: float | None) -> bool:
        if value is None or not math.isfinite(value):
            return False
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {self.unit}"


@dataclass(frozen=True)
class Comparison:
    """One row: figures for people, and the value that the goal is about (`None` where it could not be measured)."""

    name: str
    figures: Mapping[str, str]
    value: float | None
    goal: Goal
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.goal.met_by(self.value)


class Benchmark(ABC):
    """A named set of comparisons. `goals` has the goal of every comparison, by the comparison's name."""

    name: ClassVar[str]
    summary: ClassVar[str]
    goals: ClassVar[Mapping[str, Goal]]

    @abstractmethod
    def measure(self) -> Iterator[Comparison]:
        """Yield the comparisons one by one. Raises `PeerAbsent`."""


def best_seconds(contestants: Sequence[Callable[[], object]], repeats: int = 3) -> list[float]:
    """The shortest wall time of each contestant over some rounds in which they take turns.

    The shortest time is what the code takes when nothing else does; taking turns spreads what else the machine
    does over all of them.
    """
    seconds: list[list[float]] = [[] for _ in contestants]
    for _ in range(repeats):
        for place, contestant in enumerate(contestants):
            start = time.perf_counter()
            contestant()
            seconds[place].append(time.perf_counter() - start)
    return [min(each) for each in seconds]


def median(values: Sequence[float]) -> float:
    """The median of some values."""
    return statistics.median(values)
