"""What several releases cost together: the smaller of the bounds that are proven for them, rounded up.

* Without Gaussian noise the epsilons add up: an exact sum of fractions, and the only bound where delta is 0.
* With a delta, the Rényi divergences add up at every order, and each order gives a valid epsilon (Canonne, Kamath and
  Steinke 2020, theorem 4 and corollary 13). A count that changes by one under discrete Laplace noise tells exactly
  what randomised response of the same epsilon tells, and nothing of that epsilon tells more (Kairouz, Oh and
  Viswanath, "The Composition Theorem for Differential Privacy", ICML 2015).

Whoever has seen some answers chooses how much noise the next one gets, as long as a budget is left. Then only a bound
at one order, fixed beforehand, is proven (Feldman and Zrnic, "Individual Privacy Accounting via a Rényi Filter",
NeurIPS 2021): not the best of many orders, and not a convolution of the privacy losses. So a budget is checked at one
order, the one that suits it and what its owner releases of all rows whatever the answers were. A plain sum is proven
as well (Rogers et al., "Privacy Odometers and Filters", NeurIPS 2016), and needs nothing of the delta.

Which of the two sides of a split a row is on is not known, so the dearer one counts; where releases were made under
several splits, the dearest choice over all of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
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

_SLACK = 1e-3
"""In millionths: far more than the rounding of the floating-point arithmetic in a bound, and far less than one."""


@dataclass(frozen=True)
class Booked:
    """Mechanisms that were used under one split of the rows, which `split` identifies."""

    mechanisms: tuple[Mechanism, ...]
    split: str = ""


def epsilon_of(booked: Iterable[Booked], delta: float, budget_micro: int | None = None) -> int | None:
    """The epsilon in millionths that all of `booked` costs a row at most, at this delta; None without a bound.

    With a budget it is what that budget is checked by. Without one it is what the same releases cost if they were all
    chosen beforehand, which is never more.
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
        costs.append(_epsilon_of_row(chosen, delta, _orders(chosen, delta, budget_micro)))
    known = [cost for cost in costs if cost is not None]
    return max(known) if len(known) == len(costs) else None


def _orders(mechanisms: Sequence[Mechanism], delta: float, budget_micro: int | None) -> Sequence[float]:
    if budget_micro is None or delta <= 0:
        return _ORDERS
    of_the_owner = (found for found in mechanisms if found.rows is Rows.ALL)
    return (
        _order_for(budget_micro, delta, tuple(c for found in of_the_owner for c in _single_costs(found))),
    )


@lru_cache(maxsize=256)
def _order_for(budget_micro: int, delta: float, beside: tuple[Fraction, ...]) -> float:
    """The order at which the least Gaussian noise keeps this budget, beside releases of these epsilons."""
    epsilon, costs = (budget_micro - _SLACK) / MICRO, Counter(map(float, beside))
    return max(_ORDERS, key=lambda order: (epsilon - _renyi(0.0, costs, delta, order)) / order)


def _epsilon_of_row(mechanisms: Sequence[Mechanism], delta: float, orders: Sequence[float]) -> int | None:
    gaussian = [found for found in mechanisms if isinstance(found, DiscreteGaussian)]
    singles = [cost for found in mechanisms for cost in _single_costs(found)]
    bounds: list[int] = []
    if not gaussian:
        bounds.append(math.ceil(sum(singles, Fraction()) * MICRO))
    if delta > 0 and mechanisms:
        rho = math.fsum(float(found.concentration) for found in gaussian)
        costs = Counter(map(float, singles))
        bounds.append(_rounded_up(min(_renyi(rho, costs, delta, order) for order in orders)))
    return min(bounds, default=None)


def _single_costs(mechanism: Mechanism) -> list[Fraction]:
    """The epsilons of its independent parts: of every count that a row changes."""
    if isinstance(mechanism, DiscreteLaplace):
        return [1 / mechanism.scale] * mechanism.cells
    return [mechanism.epsilon] if isinstance(mechanism, Stated) else []


def _renyi(rho: float, singles: Mapping[float, int], delta: float, order: float) -> float:
    """The epsilon at this delta of Gaussian noise and of so many parts of each cost, by one order."""
    parts = sum(times * _divergence(cost, order) for cost, times in singles.items())
    return order * rho + parts + _conversion(order, delta)


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
