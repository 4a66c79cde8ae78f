"""Training under an epsilon: what one row can change is bounded, whatever it holds, and the model learns."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.metrics import f1_score

from fedcore.privacy.accounting import gaussian_variance
from fedcore.privacy.linear import (
    SENSITIVITY,
    PrivateTraining,
    TrainingRows,
    from_parameters,
    margins,
    to_parameters,
    train,
)
from fedcore.privacy.mechanisms import DiscreteGaussian, Rows
from tests.privacy.seeded import seeded

HOSTILE = np.array(
    [0.0, 1.0, -1.0, 1e-45, 5e-4, 2.0**53, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan, 1e-3, 127.9, 4096.0],
    np.float32,
)


def hostile_rows(rows: int, columns: int, seed: int) -> csr_matrix:
    chance = np.random.default_rng(seed)
    dense = chance.choice(HOSTILE, (rows, columns))
    dense[chance.random((rows, columns)) < 0.5] = 0
    dense[::4] = chance.normal(0, 1, (len(dense[::4]), columns))
    return csr_matrix(dense.astype(np.float32))


def noise(variance: Fraction, passes: int) -> DiscreteGaussian:
    return DiscreteGaussian(variance, SENSITIVITY, passes, Rows.TRAINING)


def separable(rows: int, classes: int, seed: int = 0) -> tuple[csr_matrix, NDArray[np.int64]]:
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, classes, rows)
    features = chance.normal(0, 0.1, (rows, 20))
    features[np.arange(rows), labels] += 0.8
    return csr_matrix(features.astype(np.float32)), labels


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weights", [None, (5.0, 0.25, 1000.0)])
def test_one_row_moves_the_sums_by_no_more_than_the_noise_is_made_for(
    classes: int, weights: tuple[float, ...] | None
) -> None:
    chance = np.random.default_rng(1)
    features, labels = hostile_rows(40, 12, 2), chance.integers(0, classes, 40)
    importance = weights and weights[:classes]
    whole = TrainingRows.of(features, labels, classes, importance)
    for size in (0, 2**10, 2**22):
        at = chance.integers(-size, size + 1, (whole.targets.shape[1], 13))
        sums, longest = whole.gradient(at), 0.0
        for row in range(40):
            kept = np.delete(np.arange(40), row)
            without = TrainingRows.of(features[kept], labels[kept], classes, importance).gradient(at)
            squared = sum(int(x) ** 2 for x in (sums - without).ravel())
            assert squared <= SENSITIVITY**2
            longest = max(longest, math.sqrt(squared) / SENSITIVITY)
        assert longest > 0.3, "the bound is not a loose one"


def test_a_rows_share_does_not_depend_on_the_rows_beside_it() -> None:
    """In whole numbers a sum is the same in any order, so that no row shows in the rounding of others."""
    features, labels = hostile_rows(64, 9, 3), np.random.default_rng(4).integers(0, 2, 64)
    at = np.random.default_rng(5).integers(-(2**22), 2**22, (1, 10))
    whole = TrainingRows.of(features, labels, 2, None).gradient(at)
    alone = sum(TrainingRows.of(features[[row]], labels[[row]], 2, None).gradient(at) for row in range(64))
    assert (whole == alone).all()
    single = [margins(features[[row]], at) for row in range(64)]
    assert (np.vstack(single) == margins(features, at)).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_it_learns_under_an_epsilon_and_less_under_a_smaller_one(classes: int) -> None:
    features, labels = separable(6000, classes)
    held, truth = separable(2000, classes, seed=1)
    quality = []
    for epsilon in (1_000_000, 5_000):
        variance = gaussian_variance(epsilon, 1e-6, SENSITIVITY, 30)
        weights = train(features, labels, classes, PrivateTraining(noise(variance, 30), 0.3), seeded(2))
        quality.append(f1_score(truth, margins(held, weights).argmax(axis=1), average="macro"))
    assert quality[0] > 0.95
    assert quality[1] < quality[0]


def test_every_training_draws_noise_of_its_own() -> None:
    features, labels = separable(300, 2)
    training = PrivateTraining(noise(Fraction(SENSITIVITY**2), 3), 0.3)
    assert (train(features, labels, 2, training) != train(features, labels, 2, training)).any()


def test_the_noise_of_every_pass_is_drawn_as_the_mechanism_says(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Fraction] = []

    def note(variance: Fraction, random: object) -> int:
        drawn.append(variance)
        return 0

    monkeypatch.setattr("fedcore.privacy.linear.discrete_gaussian", note)
    features, labels = separable(50, 3)
    train(features, labels, 3, PrivateTraining(noise(Fraction(77), 4), 0.3))
    assert drawn == [Fraction(77)] * (4 * 3 * 21)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_model_survives_the_way_through_ordinary_parameters(classes: int) -> None:
    features, labels = separable(300, classes)
    weights = train(features, labels, classes, PrivateTraining(noise(Fraction(1), 20), 0.5))
    weight, bias = to_parameters(weights)
    assert weight.dtype == bias.dtype == np.float32
    assert (from_parameters(weight, bias) == weights).all()
    # The whole-number features are within 1/2048 of the real ones.
    plain = features @ weight.T + bias
    assert np.abs(plain - margins(features, weights)).max() < 0.5


def test_other_parameters_are_no_model_of_this_training() -> None:
    for value in (0.1, 1e9):
        with pytest.raises(ValueError, match="under an epsilon"):
            from_parameters(np.full((2, 3), value, np.float32), np.zeros(2, np.float32))
