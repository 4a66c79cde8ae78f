"""Noisy counts that add up again, the evaluation made of them, and the noise that a run's epsilon asks for."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from fedcore.plugin_api.evaluation import ScoreCounts, count_scores, from_evaluated, metrics_of, to_evaluated
from fedcore.plugin_api.noisy_evaluation import WIDE_BINS, with_noise
from fedcore.privacy.accounting import Booked, epsilon_of
from fedcore.privacy.counts import consistent, noisy
from fedcore.privacy.mechanisms import DiscreteLaplace, Rows
from fedcore.privacy.planning import changed_cells, count_noise, local_plan
from tests.privacy.seeded import seeded


def scored(rows: int, classes: int, seed: int = 0) -> ScoreCounts:
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, classes, rows)
    scores = chance.normal(0, 2, (rows, classes))
    scores[np.arange(rows), labels] += 3
    return count_scores(scores, labels, classes)


def test_counts_become_whole_numbers_of_0_or_more_that_add_up() -> None:
    chance = np.random.default_rng(1)
    for _ in range(2000):
        counts = chance.integers(-6, 9, chance.integers(1, 12))
        total = int(chance.integers(0, 30))
        found = consistent(counts, total)
        assert (found >= 0).all()
        assert found.sum() == total


def test_no_other_counts_are_nearer() -> None:
    """Against every possibility, for short lists."""
    chance = np.random.default_rng(2)
    for _ in range(60):
        counts, total = chance.integers(-4, 5, 3), int(chance.integers(1, 6))
        possible = [p for p in itertools.product(range(total + 1), repeat=3) if sum(p) == total]
        best = min(((np.array(p) - counts) ** 2).sum() for p in possible)
        assert ((consistent(counts, total) - counts) ** 2).sum() == best


def test_noise_is_on_every_cell_and_fresh_each_time() -> None:
    counts, mechanism = np.zeros(2000, np.int64), count_noise(200_000, 1, Rows.ALL)
    first, second = noisy(counts, mechanism), noisy(counts, mechanism)
    assert (first != second).mean() > 0.8
    assert abs(first).mean() == pytest.approx(5, rel=0.2)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_an_evaluation_with_noise_has_the_form_of_any_and_nearly_its_metrics(classes: int) -> None:
    exact = scored(6000, classes)
    made = with_noise(exact, count_noise(1_000_000, changed_cells(classes), Rows.HELD_OUT), seeded(3))
    before, after = metrics_of(exact), metrics_of(from_evaluated(to_evaluated(made)))
    assert after.rows != before.rows
    assert after.f1 == pytest.approx(before.f1, abs=0.02)
    assert after.roc_auc == pytest.approx(before.roc_auc, abs=0.02)
    assert (made.histograms > 0).any(axis=(0, 1)).sum() <= WIDE_BINS


def test_an_evaluation_of_no_row_has_the_form_of_any() -> None:
    empty = ScoreCounts(np.zeros((1, 2, 2048), np.int64), np.zeros((2, 2), np.int64))
    from_evaluated(to_evaluated(with_noise(empty, count_noise(100_000, 1, Rows.HELD_OUT))))
    assert empty.rows == 0


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_one_row_changes_as_many_counts_as_the_noise_is_made_for(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counts that get noise, caught before it: without any one row they differ by one in so many places."""
    seen: list[np.ndarray] = []

    def catch(counts: np.ndarray, *_: object) -> np.ndarray:
        seen.append(counts)
        return counts

    monkeypatch.setattr("fedcore.plugin_api.noisy_evaluation.noisy", catch)
    chance = np.random.default_rng(5)
    labels, scores = chance.integers(0, classes, 60), chance.normal(0, 20, (60, classes))
    scores[:5] = 0.0
    noise = count_noise(1_000_000, changed_cells(classes), Rows.HELD_OUT)
    with_noise(count_scores(scores, labels, classes), noise)
    for row in range(60):
        without = count_scores(np.delete(scores, row, 0), np.delete(labels, row), classes)
        with_noise(without, noise)
        difference = seen[0] - seen[-1]
        assert set(np.unique(difference)) <= {0, 1}
        assert difference.sum() == changed_cells(classes)


@pytest.mark.parametrize("epsilon", [100_000, 1_000_000, 3_000_000])
@pytest.mark.parametrize("classes", [2, 4])
def test_a_plan_costs_the_epsilon_of_its_run_and_no_more(epsilon: int, classes: int) -> None:
    plan = local_plan(epsilon, 1e-6, 50, classes)
    booked = epsilon_of([Booked(plan.mechanisms)], 1e-6)
    assert booked is not None
    assert 0.98 * epsilon <= booked <= epsilon
    assert plan.counts.epsilon == Fraction(epsilon, 1_000_000)


def test_a_plan_needs_a_delta() -> None:
    with pytest.raises(ValueError, match="delta"):
        local_plan(1_000_000, 0.0, 50, 2)


def test_counts_that_change_in_several_places_get_more_noise() -> None:
    assert count_noise(500_000, 4, Rows.ALL) == DiscreteLaplace(Fraction(8), 4, Rows.ALL)
