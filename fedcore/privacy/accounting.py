"""What several releases cost together: the smallest of the bounds that are proven for them, rounded up.

* Without Gaussian noise the epsilons add up: an exact sum of fractions, and the only bound where delta is 0.
* With a delta, the Rényi divergences add up at every order, and each order gives a valid epsilon (Canonne, Kamath and
  Steinke 2020, theorem 4 and corollary 13). A count that changes by one under discrete Laplace noise tells exactly
  what randomised response of the same epsilon tells, and nothing of that epsilon tells more (Kairouz, Oh and
  Viswanath, "The Composition Theorem for Differential Privacy", ICML 2015).
* With a delta and without Gaussian noise, the distributions of these privacy losses are convolved (dp-accounting,
  with pessimistic rounding).

Which of the two sides of a split a row is on is not known, so the dearer one counts; where releases were made under
several splits, the dearest choice over all of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from fedcore.privacy.mechanisms import (
    MICRO,
    DiscreteGaussian,
    DiscreteLaplace,
    Mechanism,
    Rows,
    Stated,
    Unbounded,
)

_ORDERS = tuple(1 + 10 ** (power / 40) for power in range(-120, 241))
"""Rényi orders from 1.001 to a million. Any of them gives a valid bound, so a grid loses tightness only."""

_INTERVAL = 1e-4
_SLACK = 1e-3
"""In millionths: far more than the rounding of the floating-point arithmetic in a bound, and far less than one."""


@dataclass(frozen=True)
class Booked:
    """Mechanisms that were used under one split of the rows, which `split` identifies."""

    mechanisms: tuple[Mechanism, ...]
    split: str = ""


def epsilon_of(booked: Iterable[Booked], delta: float, enough: int = -1) -> int | None:
    """The epsilon in millionths that all of `booked` costs a row at most, at this delta; None without a bound.

    The convolution takes seconds at its first use and is left out where a quicker bound is `enough` or less.
    """
    by_split: dict[str, list[Mechanism]] = {}
    for part in booked:
        by_split.setdefault(part.split, []).extend(part.mechanisms)
    if any(isinstance(found, Unbounded) for mechanisms in by_split.values() for found in mechanisms):
        return None
    costs = []
    for sides in product((Rows.TRAINING, Rows.HELD_OUT), repeat=len(by_split)):
        chosen = [
            found
            for mechanisms, side in zip(by_split.values(), sides, strict=True)
            for found in mechanisms
            if found.rows in (side, Rows.ALL)
        ]
        costs.append(_epsilon_of_row(chosen, delta, enough))
    known = [cost for cost in costs if cost is not None]
    return max(known) if len(known) == len(costs) else None


def _epsilon_of_row(mechanisms: Sequence[Mechanism], delta: float, enough: int) -> int | None:
    gaussian = [found for found in mechanisms if isinstance(found, DiscreteGaussian)]
    singles = [cost for found in mechanisms for cost in _single_costs(found)]
    bounds: list[int] = []
    if not gaussian:
        bounds.append(math.ceil(sum(singles, Fraction()) * MICRO))
    if delta > 0 and mechanisms:
        rho = sum((found.concentration for found in gaussian), Fraction())
        bounds.append(_rounded_up(_renyi(float(rho), [float(cost) for cost in singles], delta)))
        if not gaussian and len(singles) > 1 and min(bounds) > enough:
            bounds.append(_rounded_up(_convolved(singles, delta)))
    return min(bounds, default=None)


def _single_costs(mechanism: Mechanism) -> list[Fraction]:
    """The epsilons of its independent parts: of every count that a row changes."""
    if isinstance(mechanism, DiscreteLaplace):
        return [1 / mechanism.scale] * mechanism.cells
    return [mechanism.epsilon] if isinstance(mechanism, Stated) else []


def _renyi(rho: float, singles: Sequence[float], delta: float) -> float:
    return min(
        order * rho + sum(_divergence(cost, order) for cost in singles) + _conversion(order, delta)
        for order in _ORDERS
    )


def _divergence(cost: float, order: float) -> float:
    """The Rényi divergence of randomised response of this epsilon."""
    high, low = order * cost, (1 - order) * cost
    both = high + math.log1p(math.exp(low - high))
    return (both - math.log1p(math.exp(-cost)) - cost) / (order - 1)


def _conversion(order: float, delta: float) -> float:
    """What is added to a Rényi divergence of this order for an epsilon at this delta."""
    return max(
        0.0,
        math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1),
    )


def _convolved(singles: Sequence[Fraction], delta: float) -> float:
    from dp_accounting.pld import privacy_loss_distribution as losses

    total = losses.identity(_INTERVAL)
    for cost, times in Counter(singles).items():
        # Rounded up, so that the bound stays one.
        parameter = math.nextafter(float(cost), math.inf)
        one = losses.from_discrete_laplace_mechanism(parameter, value_discretization_interval=_INTERVAL)
        total = total.compose(one.self_compose(times))
    return float(total.get_epsilon_for_delta(delta))


def _rounded_up(epsilon: float) -> int:
    return math.ceil(epsilon * MICRO + _SLACK)


def gaussian_variance(epsilon_micro: int, delta: float, sensitivity: int, times: int) -> Fraction:
    """The least whole variance with which `times` releases of this sensitivity cost at most epsilon at this delta.

    Raises `ValueError` for a delta of 0, at which Gaussian noise has no bound.
    """
    if delta <= 0:
        raise ValueError("Gaussian noise has no bound at a delta of 0.")

    def holds(variance: int) -> bool:
        noise = DiscreteGaussian(Fraction(variance), sensitivity, times, Rows.ALL)
        cost = epsilon_of([Booked((noise,))], delta)
        return cost is not None and cost <= epsilon_micro

    low, high = 0, 1
    while not holds(high):
        low, high = high, 4 * high
    while high - low > max(1, high >> 20):
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return Fraction(high)
