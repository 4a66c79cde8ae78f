"""What releases cost together: closed forms, another library, and a convolution of our own all agree with it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from fedcore.privacy.accounting import Booked, epsilon_of, gaussian_variance
from fedcore.privacy.mechanisms import (
    DiscreteGaussian,
    DiscreteLaplace,
    Mechanism,
    Rows,
    Stated,
    Unbounded,
    from_json,
    to_json,
)

DELTA = 1e-6


def counts(epsilon: float | Fraction, cells: int = 1, rows: Rows = Rows.ALL) -> DiscreteLaplace:
    return DiscreteLaplace(cells / Fraction(epsilon), cells, rows)


def gaussian(ratio: float, times: int = 1, rows: Rows = Rows.ALL) -> DiscreteGaussian:
    return DiscreteGaussian(Fraction(ratio * 100) ** 2, 100, times, rows)


def cost(*mechanisms: Mechanism, delta: float = DELTA) -> int | None:
    return epsilon_of([Booked(mechanisms)], delta)


def test_nothing_costs_nothing_and_what_has_no_bound_costs_more_than_any_number() -> None:
    assert epsilon_of([], DELTA) == 0
    assert cost(Unbounded()) is None
    assert cost(counts(1), Unbounded()) is None


def test_without_a_delta_epsilons_add_up_exactly_and_are_rounded_up() -> None:
    assert cost(counts(1), counts(Fraction(1, 2), cells=4), Stated(Fraction(1, 4)), delta=0) == 1_750_000
    assert cost(counts(Fraction(1, 3)), delta=0) == 333_334
    assert cost(*[counts(Fraction(1, 10))] * 10, delta=0) == 1_000_000, (
        "no sum of floats: it would be 999,999.99…"
    )


def test_gaussian_noise_has_no_bound_without_a_delta() -> None:
    assert cost(gaussian(100.0), delta=0) is None
    with pytest.raises(ValueError, match="delta"):
        gaussian_variance(1_000_000, 0.0, 1, 1)


def test_what_reads_training_rows_and_what_reads_held_out_rows_never_cost_the_same_row() -> None:
    trained, evaluated = counts(2, rows=Rows.TRAINING), counts(1, rows=Rows.HELD_OUT)
    assert cost(trained, evaluated, delta=0) == 2_000_000
    assert cost(trained, evaluated, counts(1), delta=0) == 3_000_000


def test_under_two_splits_a_row_may_have_been_on_the_dearer_side_of_each() -> None:
    booked = [
        Booked((counts(2, rows=Rows.TRAINING), counts(1, rows=Rows.HELD_OUT)), "one"),
        Booked((counts(1, rows=Rows.TRAINING), counts(3, rows=Rows.HELD_OUT)), "another"),
    ]
    assert epsilon_of(booked, 0.0) == 5_000_000


def exact_epsilon_of_gaussian(ratio: float, delta: float) -> float:
    """The least epsilon of one-dimensional discrete Gaussian noise, by adding up its probabilities."""
    sensitivity = 100
    variance = (ratio * sensitivity) ** 2
    x = np.arange(-int(60 * ratio * sensitivity), int(60 * ratio * sensitivity) + 1, dtype=float)
    weights = np.exp(-(x**2) / (2 * variance))
    weights /= weights.sum()
    loss = (2 * x * sensitivity + sensitivity**2) / (2 * variance)
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        excess = np.clip(1 - np.exp(middle - loss), 0, None) @ weights
        low, high = (middle, high) if excess > delta else (low, middle)
    return high


@pytest.mark.parametrize("ratio", [1.0, 2.5, 10.0, 50.0])
def test_the_bound_of_gaussian_noise_is_above_its_exact_cost_and_near_it(ratio: float) -> None:
    exact, bound = exact_epsilon_of_gaussian(ratio, DELTA), cost(gaussian(ratio))
    assert bound is not None
    assert exact * 1e6 <= bound <= exact * 1.25e6


def test_a_noise_that_is_a_quarter_too_small_would_cost_more_than_it_claims() -> None:
    variance = gaussian_variance(1_000_000, DELTA, 100, 1)
    ratio = math.sqrt(variance) / 100
    assert exact_epsilon_of_gaussian(ratio, DELTA) <= 1.0 < exact_epsilon_of_gaussian(0.75 * ratio, DELTA)


@pytest.mark.parametrize("epsilon", [100_000, 1_000_000, 5_000_000])
@pytest.mark.parametrize("times", [1, 50])
def test_the_variance_is_the_least_that_keeps_the_epsilon(epsilon: int, times: int) -> None:
    variance = gaussian_variance(epsilon, DELTA, 1 << 20, times)
    fits = cost(DiscreteGaussian(variance, 1 << 20, times, Rows.ALL))
    smaller = cost(DiscreteGaussian(variance * Fraction(999, 1000), 1 << 20, times, Rows.ALL))
    assert fits is not None
    assert smaller is not None
    assert fits <= epsilon < smaller


def convolved_epsilon(epsilons: list[float], delta: float) -> float:
    """The cost of independent discrete Laplace counts: their exact losses, convolved on a fine grid, unrounded."""
    grid = 1e-3
    total = np.array([1.0])
    offset = 0
    for epsilon in epsilons:
        ratio = math.exp(-epsilon)
        mass = {epsilon: 1 / (1 + ratio), -epsilon: ratio / (1 + ratio)}  # a count that changes by one
        reach = math.ceil(epsilon / grid)
        one = np.zeros(2 * reach + 1)
        for loss, share in mass.items():
            one[round(loss / grid) + reach] += share
        total, offset = np.convolve(total, one), offset + reach
    losses = (np.arange(len(total)) - offset) * grid
    found = [
        e
        for e in np.arange(0, sum(epsilons) + grid, grid)
        if np.clip(1 - np.exp(e - losses), 0, None) @ total <= delta
    ]
    return float(min(found))


def test_many_noisy_counts_cost_what_a_convolution_says() -> None:
    chance = random.Random(3)
    for _ in range(12):
        epsilons = [round(chance.uniform(0.02, 0.4), 3) for _ in range(chance.randint(2, 25))]
        bound = cost(*(counts(Fraction(str(epsilon))) for epsilon in epsilons))
        exact = convolved_epsilon(epsilons, DELTA)
        assert bound is not None
        assert (exact - 0.03) * 1e6 <= bound <= (exact * 1.01 + 0.03) * 1e6, epsilons
        assert bound <= round(sum(epsilons) * 1e6) + 1


def test_random_mixtures_cost_what_another_accountant_says() -> None:
    from dp_accounting.dp_event import DiscreteLaplaceDpEvent, DpEvent, GaussianDpEvent
    from dp_accounting.pld import PLDAccountant

    chance = random.Random(4)
    for _ in range(30):
        mechanisms: list[Mechanism] = [gaussian(chance.uniform(2, 40), chance.randint(1, 60))]
        events: list[tuple[DpEvent, int]] = [
            (GaussianDpEvent(math.sqrt(m.variance) / m.sensitivity), m.times)
            for m in mechanisms
            if isinstance(m, DiscreteGaussian)
        ]
        for _ in range(chance.randint(0, 5)):
            epsilon = chance.uniform(0.01, 0.5)
            mechanisms.append(counts(Fraction(epsilon)))
            events.append((DiscreteLaplaceDpEvent(epsilon, 1), 1))
        accountant = PLDAccountant(value_discretization_interval=1e-3)
        for event, times in events:
            accountant.compose(event, times)
        other, ours = accountant.get_epsilon(DELTA), cost(*mechanisms)
        assert ours is not None
        assert 0.98 * other - 0.01 <= ours / 1e6 <= 1.25 * other, mechanisms


def test_more_releases_never_cost_less() -> None:
    chance, spent, before = random.Random(5), list[Mechanism](), 0
    for _ in range(15):
        spent.append(chance.choice([counts(Fraction(1, 5)), gaussian(20.0, 3), counts(Fraction(1, 2), 3)]))
        now = cost(*spent)
        assert now is not None
        assert now >= before
        before = now


@pytest.mark.parametrize("epsilon", [10_000, 250_000, 1_000_000, 2_500_000, 8_000_000])
@pytest.mark.parametrize("delta", [1e-9, 1e-6, 1e-3])
@pytest.mark.parametrize("times", [1, 50])
def test_gaussian_noise_that_is_made_for_a_whole_budget_fits_into_it(
    epsilon: int, delta: float, times: int
) -> None:
    noise = DiscreteGaussian(gaussian_variance(epsilon, delta, 1 << 20, times), 1 << 20, times, Rows.ALL)
    at_its_order = epsilon_of([Booked((noise,))], delta, epsilon)
    assert at_its_order is not None
    assert at_its_order <= epsilon


@pytest.mark.parametrize("rows", Rows)
def test_what_a_budget_is_checked_by_is_never_less_than_the_cost_of_what_was_chosen_beforehand(
    rows: Rows,
) -> None:
    chance = random.Random(6)
    for _ in range(200):
        kinds = [gaussian(chance.uniform(2, 40)), counts(Fraction(chance.uniform(0.01, 0.5)), rows=rows)]
        booked = [Booked(tuple(chance.choices(kinds, k=chance.randint(1, 30))))]
        checked = epsilon_of(booked, DELTA, chance.randint(10_000, 9_000_000))
        beforehand = epsilon_of(booked, DELTA)
        assert checked is not None
        assert beforehand is not None
        assert checked >= beforehand


def test_a_row_count_of_the_owners_leaves_the_rest_of_a_budget_to_runs() -> None:
    """At the order that suits the budget alone, hardly any Gaussian noise would fit beside the count."""
    budget, count = 80_000, counts(Fraction(1, 20))
    run = DiscreteGaussian(gaussian_variance(28_000, DELTA, 1 << 20, 50), 1 << 20, 50, Rows.TRAINING)
    checked = epsilon_of([Booked((count, run))], DELTA, budget)
    assert checked is not None
    assert 70_000 < checked <= budget


Taken = tuple[int, ...]
"""How many counts of each epsilon of a menu were released."""


def exact_delta(taken: Taken, menu: tuple[Fraction, ...], epsilon: float) -> float:
    """The least delta at this epsilon of noisy counts that were all chosen beforehand."""
    losses = {0.0: 1.0}
    for cost, times in zip(map(float, menu), taken, strict=True):
        for _ in range(times):
            likely, before, losses = 1 / (1 + math.exp(-cost)), losses, {}
            for loss, share in before.items():
                for more, part in ((cost, likely), (-cost, 1 - likely)):
                    key = round(loss + more, 9)
                    losses[key] = losses.get(key, 0.0) + share * part
    return sum(share * max(0.0, 1 - math.exp(epsilon - loss)) for loss, share in losses.items())


def greatest_delta(menu: tuple[Fraction, ...], allowed: Callable[[Taken], bool], epsilon: float) -> float:
    """What the best observer gets who sees every answer and then chooses the next epsilon, as long as it is allowed."""

    @cache
    def best(taken: Taken, loss: float) -> float:
        found = max(0.0, 1 - math.exp(epsilon - loss))
        for place, cost in enumerate(map(float, menu)):
            more = tuple(times + (place == other) for other, times in enumerate(taken))
            if allowed(more):
                likely = 1 / (1 + math.exp(-cost))
                up, down = best(more, round(loss + cost, 9)), best(more, round(loss - cost, 9))
                found = max(found, likely * up + (1 - likely) * down)
        return found

    return best((0,) * len(menu), 0.0)


@pytest.mark.parametrize(
    ("costs", "epsilon", "delta"),
    [
        (("0.2", "1"), 2.0, 0.05),
        (("0.25", "1.5"), 2.0, 0.05),
        (("0.25", "1.5"), 3.0, 0.1),
        (("0.2", "0.5", "1.2"), 2.0, 0.05),
    ],
)
def test_whoever_chooses_later_epsilons_by_earlier_answers_does_not_beat_a_budget(
    costs: tuple[str, ...], epsilon: float, delta: float
) -> None:
    """Against every possible choice. By the exact cost of what is booked, the budget would be beaten."""
    menu = tuple(map(Fraction, costs))

    @cache
    def within_the_budget(taken: Taken) -> bool:
        one = [counts(cost, rows=Rows.HELD_OUT) for cost in menu]
        used = tuple(found for found, times in zip(one, taken, strict=True) for _ in range(times))
        spent = epsilon_of([Booked(used)], delta, int(epsilon * 1e6))
        return spent is not None and spent <= epsilon * 1e6

    @cache
    def exactly_within_it(taken: Taken) -> bool:
        return exact_delta(taken, menu, epsilon) <= delta

    assert greatest_delta(menu, within_the_budget, epsilon) <= delta
    assert greatest_delta(menu, exactly_within_it, epsilon) > 1.1 * delta, "the observer is a good one"


@pytest.mark.parametrize(
    "mechanism",
    [
        counts(Fraction(2, 7), 3, Rows.HELD_OUT),
        gaussian(3.5, 40, Rows.TRAINING),
        Stated(Fraction(3, 2)),
        Unbounded(),
    ],
)
def test_a_mechanism_survives_the_way_through_a_file(mechanism: Mechanism) -> None:
    assert from_json(to_json(mechanism)) == mechanism
    assert mechanism.title


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "free_of_charge"},
        {"kind": "discrete_laplace", "scale": "0", "cells": 1, "rows": "all"},
        {"kind": "discrete_laplace", "scale": "1", "cells": 0, "rows": "all"},
        {"kind": "discrete_gaussian", "variance": "1", "sensitivity": 0, "times": 1, "rows": "all"},
        {"kind": "stated", "epsilon": "1", "rows": "none of them"},
    ],
)
def test_what_is_no_mechanism_is_refused(values: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError)):
        from_json(values)
