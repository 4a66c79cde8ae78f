"""Training a linear model so that any one row shows in it no more than an epsilon allows.

Each of a fixed number of passes adds up every row's share in the gradient of the logistic loss, cuts the share of a
row to a fixed length, adds discrete Gaussian noise to the sums, and lets Adam take a step (Kingma and Ba 2015) by
the noisy sums alone; Adam does not depend on the length of the gradient, so the number of rows is never needed.
Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, with all rows in every batch. More than two
classes are trained as one against the rest, and a row's share is cut over all of them together.

What the bound rests on: a row's share is computed from this row and from earlier noisy sums, in whole numbers.
With floating-point numbers a sum depends on the order of its parts, so that a row could show in the rounding of
others.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.privacy.mechanisms import DiscreteGaussian
from fedcore.privacy.randomness import Bytes, Randomness
from fedcore.privacy.sampling import discrete_gaussian

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Integers = NDArray[np.int64]

_FEATURE: Final = 2**10
"""A feature of 1 as a whole number; the constant feature that stands for the bias has this value too."""

_RESIDUAL: Final = 2**10
_WEIGHT: Final = 2**12
_LARGEST_FEATURE: Final = 2**7
_LARGEST_WEIGHT: Final = 2**22
"""Bounds that keep every product and sum of at most 2^20 features within 63 bits, and weights exact in float32."""

SENSITIVITY: Final = _FEATURE * _RESIDUAL
"""The length that no row's share in a sum exceeds: that of a wholly misjudged row with features of length 1."""

_STEPS: Final = 2**9
_FLAT: Final = 8
_PROBABILITIES: Final = np.rint(
    _RESIDUAL / (1 + np.exp(-np.arange(-_FLAT * _STEPS, _FLAT * _STEPS + 1) / _STEPS))
).astype(np.int64)
"""The logistic function in steps of 1/512 between -8 and 8, as whole numbers."""


@dataclass(frozen=True)
class PrivateTraining:
    """What a training is allowed: the noise of each pass and their number, and how Adam steps."""

    noise: DiscreteGaussian
    learning_rate: float
    class_weights: tuple[float, ...] | None = None


def train(
    features: csr_matrix,
    labels: Integers,
    classes: int,
    training: PrivateTraining,
    source: Bytes = os.urandom,
) -> Integers:
    """Whole-number weights, int64 of shape (outputs, columns + 1), the bias last; for `margins`.

    `features` are finite float32 in compressed rows. There is one output for two classes, else one for each class.
    """
    rows = TrainingRows.of(features, labels, classes, training.class_weights)
    random, variance = Randomness(source), Fraction(training.noise.variance)
    weights = np.zeros((rows.targets.shape[1], rows.features.shape[1]))
    adam = _Adam(weights.shape, training.learning_rate)
    for _ in range(training.noise.times):
        sums = rows.gradient(_fixed(weights))
        noise = [discrete_gaussian(variance, random) for _ in range(sums.size)]
        noisy = sums + np.array(noise, np.int64).reshape(sums.shape)
        weights = weights - adam.step(noisy.astype(np.float64))
    return _fixed(weights)


@dataclass(frozen=True)
class TrainingRows:
    """Rows made ready for training: whole-number features, by rows and by columns, with targets and limits."""

    features: csr_matrix
    columns: csr_matrix
    targets: Integers
    importance: Integers
    limits: Integers

    @classmethod
    def of(
        cls, features: csr_matrix, labels: Integers, classes: int, class_weights: tuple[float, ...] | None
    ) -> TrainingRows:
        rows = whole(features)
        return cls(
            features=rows,
            columns=rows.T.tocsr(),
            targets=(labels[:, None] == _outputs(classes)).astype(np.int64) * _RESIDUAL,
            importance=_importance(labels, classes, class_weights),
            limits=SENSITIVITY // _lengths(rows),
        )

    def gradient(self, weights: Integers) -> Integers:
        """The sums of all rows' shares at these weights, of their shape. Without one row they differ by no more
        than `SENSITIVITY` in length."""
        residuals = (_probabilities(self.features, weights) - self.targets) * self.importance // _RESIDUAL
        sums: Integers = (self.columns @ cut(residuals, self.limits)).T
        return sums


def margins(features: csr_matrix, weights: Integers) -> NDArray[np.float64]:
    """Scores of each class, float64 of shape (rows, classes): exact, each from its own row alone."""
    products = whole(features) @ weights.T
    scores: NDArray[np.float64] = products / (_FEATURE * _WEIGHT)
    return np.hstack([np.zeros_like(scores), scores]) if scores.shape[1] == 1 else scores


def to_parameters(weights: Integers) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights of shape (classes, columns) and biases (classes), as a model of ordinary numbers has them: exact."""
    whole_model = np.vstack([np.zeros_like(weights), weights]) if len(weights) == 1 else weights
    values = (whole_model / _WEIGHT).astype(np.float32)
    return values[:, :-1], values[:, -1]


def from_parameters(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Integers:
    """The whole-number weights that `to_parameters` was given. Raises `ValueError` for any other parameters."""
    values = np.hstack([weight, bias[:, None]]).astype(np.float64) * _WEIGHT
    found = values.astype(np.int64)
    if (found != values).any() or np.abs(found).max(initial=0) > _LARGEST_WEIGHT:
        raise ValueError("These are not the parameters of a model that was trained under an epsilon.")
    return found[1:] if len(found) == 2 and not found[0].any() else found


def whole(features: csr_matrix) -> csr_matrix:
    """The features as whole numbers (int64), with the constant last; each from its own value alone.

    What is too large is cut, and what is not a number counts as 0: neither can lift a row's limit.
    """
    from scipy.sparse import csr_matrix, hstack

    values = np.nan_to_num(features.data.astype(np.float64), nan=0.0)
    scaled = np.rint(np.clip(values, -_LARGEST_FEATURE, _LARGEST_FEATURE) * _FEATURE)
    found = csr_matrix((scaled.astype(np.int64), features.indices, features.indptr), features.shape)
    constant = csr_matrix(np.full((features.shape[0], 1), _FEATURE, np.int64))
    return hstack([found, constant], format="csr", dtype=np.int64)


def cut(residuals: Integers, limits: Integers) -> Integers:
    """`residuals` (rows, outputs), shortened towards 0 where a row's are longer than its limit."""
    lengths = _rounded_up_root((residuals * residuals).sum(axis=1))
    long = lengths > limits
    found = residuals.copy()
    scaled = np.abs(residuals[long]) * limits[long, None] // lengths[long, None]
    found[long] = np.sign(residuals[long]) * scaled
    return found


def _lengths(rows: csr_matrix) -> Integers:
    """The Euclidean length of each row, rounded up to a whole number; never 0, for the constant feature."""
    squares = rows.multiply(rows).sum(axis=1)
    return _rounded_up_root(np.asarray(squares, np.int64).reshape(-1))


def _rounded_up_root(squares: Integers) -> Integers:
    roots = np.ceil(np.sqrt(squares.astype(np.float64))).astype(np.int64)
    # Above 2^53 a square is rounded on its way to the root, which may then be one too small.
    rounded: Integers = roots + (roots * roots < squares)
    return rounded


def _outputs(classes: int) -> Integers:
    return np.array([1]) if classes == 2 else np.arange(classes)


def _importance(labels: Integers, classes: int, weights: tuple[float, ...] | None) -> Integers:
    """How much each row counts, in units of `_RESIDUAL`."""
    by_class = np.rint(np.array(weights or (1.0,) * classes) * _RESIDUAL).astype(np.int64)
    found: Integers = np.minimum(by_class, 2**20)[labels][:, None]
    return found


def _probabilities(rows: csr_matrix, weights: Integers) -> Integers:
    products: Integers = rows @ weights.T
    steps = products // (_FEATURE * _WEIGHT // _STEPS)
    found: Integers = _PROBABILITIES[np.clip(steps, -_FLAT * _STEPS, _FLAT * _STEPS) + _FLAT * _STEPS]
    return found


def _fixed(weights: NDArray[np.float64]) -> Integers:
    return np.clip(np.rint(weights * _WEIGHT), -_LARGEST_WEIGHT, _LARGEST_WEIGHT).astype(np.int64)


class _Adam:
    """Adam's steps with its usual constants, in float64."""

    def __init__(self, shape: tuple[int, ...], learning_rate: float) -> None:
        self._rate, self._count = learning_rate, 0
        self._mean, self._square = np.zeros(shape), np.zeros(shape)

    def step(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        self._count += 1
        self._mean = 0.9 * self._mean + 0.1 * gradient
        self._square = 0.999 * self._square + 0.001 * gradient**2
        mean = self._mean / (1 - 0.9**self._count)
        square = self._square / (1 - 0.999**self._count)
        step: NDArray[np.float64] = self._rate * mean / (np.sqrt(square) + 1e-8)
        return step
