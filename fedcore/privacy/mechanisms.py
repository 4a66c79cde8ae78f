"""Mechanisms: ways to release a figure whose cost in privacy is known. Frozen values, as the ledger keeps them.

Neighbouring datasets differ in one row that one of them has and the other has not. An owner's split puts every row
on one of two sides for good, so what reads training rows and what reads held-out rows never cost the same row:
`rows` says which rows a mechanism reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

MICRO = 1_000_000
"""Epsilon is counted in millionths, always rounded up."""


class Rows(StrEnum):
    """The rows that a mechanism reads."""

    TRAINING = "training"
    HELD_OUT = "held_out"
    ALL = "all"


@dataclass(frozen=True)
class DiscreteLaplace:
    """Discrete Laplace noise of this scale on each of many counts, of which one row changes `cells`, each by one."""

    scale: Fraction
    cells: int
    rows: Rows

    def __post_init__(self) -> None:
        if self.scale <= 0 or self.cells < 1:
            raise ValueError(
                "Discrete Laplace noise has a scale above 0, and a row changes one cell or more."
            )

    @property
    def epsilon(self) -> Fraction:
        """Its cost without any delta: each changed cell costs 1 / scale."""
        return self.cells / self.scale

    @property
    def title(self) -> str:
        return f"discrete Laplace noise of scale {float(self.scale):.4g} on counts"


@dataclass(frozen=True)
class DiscreteGaussian:
    """Discrete Gaussian noise of this variance on each number of a vector that one row changes by at most
    `sensitivity` (its Euclidean length), `times` times, each vector chosen by what came out before."""

    variance: Fraction
    sensitivity: int
    times: int
    rows: Rows

    def __post_init__(self) -> None:
        if self.variance <= 0 or self.sensitivity < 1 or self.times < 1:
            raise ValueError("Discrete Gaussian noise has a variance, a sensitivity and a number above 0.")

    @property
    def concentration(self) -> Fraction:
        """Its cost in zero-concentrated privacy (Canonne, Kamath and Steinke, theorem 4, and composition)."""
        return self.times * Fraction(self.sensitivity**2) / (2 * self.variance)

    @property
    def title(self) -> str:
        ratio = float(self.variance) ** 0.5 / self.sensitivity
        return f"discrete Gaussian noise of {ratio:.4g} times the sensitivity, {self.times} times"


@dataclass(frozen=True)
class Stated:
    """Something of which only an upper bound on epsilon is known: as a person has stated it."""

    epsilon: Fraction
    rows: Rows = Rows.ALL

    @property
    def title(self) -> str:
        return f"an epsilon of {float(self.epsilon):.6g}, as stated by a person"


@dataclass(frozen=True)
class Unbounded:
    """A release without a proven bound: no epsilon, however large, covers it."""

    rows: Rows = Rows.ALL

    @property
    def title(self) -> str:
        return "a release without a bound"


Mechanism = DiscreteLaplace | DiscreteGaussian | Stated | Unbounded
_KINDS: dict[str, type[Any]] = {
    "discrete_laplace": DiscreteLaplace,
    "discrete_gaussian": DiscreteGaussian,
    "stated": Stated,
    "unbounded": Unbounded,
}
_EXACT = frozenset({"scale", "variance", "epsilon"})


def to_json(mechanism: Mechanism) -> dict[str, Any]:
    """The mechanism as plain values; fractions as text, such as `2/3`."""
    kind = next(name for name, found in _KINDS.items() if type(mechanism) is found)
    values = {name: getattr(mechanism, name) for name in mechanism.__dataclass_fields__}
    return {"kind": kind} | {name: str(v) if name in (*_EXACT, "rows") else v for name, v in values.items()}


def from_json(values: Mapping[str, Any]) -> Mechanism:
    """The mechanism that `to_json` has described. Raises `ValueError` or `KeyError` for anything else."""
    given = dict(values)
    kind = _KINDS[given.pop("kind")]
    parsed: dict[str, Any] = {
        name: Fraction(value) if name in _EXACT else value for name, value in given.items()
    }
    found: Mechanism = kind(**parsed | {"rows": Rows(parsed["rows"])})
    return found
