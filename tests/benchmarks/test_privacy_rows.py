"""What the rows of the benchmark `privacy` say of figures that were measured."""

from __future__ import annotations

import pytest

from benchmarks.booking import accounting_seconds, booking_seconds
from benchmarks.privacy import BENCHMARK, EPSILONS, MADE, REAL_ONES, Quality, Split


def split(plain: float, *, lost: float, peer: float | None = None) -> Split:
    """Everything loses the same under an epsilon of 4, and twice that under less."""
    private = {
        epsilon: Quality(plain - lost * (1 if epsilon >= 4 else 2), plain - 2 * lost, plain)
        for epsilon in EPSILONS
    }
    return Split(Quality(plain, plain, plain), private, peer and Quality(peer, 0.5, peer), 100)


def test_a_loss_is_the_median_over_pairs_and_above_0() -> None:
    auc, f1 = BENCHMARK._quality([split(0.99, lost=0.01), split(0.9, lost=0.02), split(0.8, lost=0.2)], MADE)
    assert auc.value == pytest.approx(0.02)
    assert f1.value == pytest.approx(0.04)
    assert auc.figures["epsilon 1"] == "0.860 (-0.040)"
    assert auc.figures["no epsilon"] == "0.900"


def test_a_model_that_gained_meets_the_goal_and_one_that_lost_too_much_does_not() -> None:
    assert [row.ok for row in BENCHMARK._quality([split(0.9, lost=-0.05)], REAL_ONES)] == [True, True]
    assert [row.ok for row in BENCHMARK._quality([split(0.9, lost=0.3)], REAL_ONES)] == [False, False]


def test_without_real_lines_their_rows_say_so_and_are_short() -> None:
    rows = list(BENCHMARK._quality([], REAL_ONES))
    assert [row.ok for row in rows] == [False, False]
    assert all("has no real lines" in row.figures["reason"] for row in rows)


def test_the_peer_is_compared_on_its_own_splits_only() -> None:
    row = BENCHMARK._against_peer([split(0.95, lost=0.01, peer=0.94), split(0.5, lost=0.1)])
    assert row.value == pytest.approx(0.94 - 0.93)
    assert row.figures["splits"] == "1"
    assert BENCHMARK._told([split(0.95, lost=0.01)]).value == pytest.approx(0.02)


def test_booking_and_accounting_are_measured_against_work_that_is_the_same() -> None:
    assert all(seconds > 0 for seconds in (*booking_seconds(3), *accounting_seconds(20)))
