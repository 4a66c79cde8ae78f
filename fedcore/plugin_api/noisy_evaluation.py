"""Evaluation under an epsilon: fewer and wider bins, exact noise on every count, and counts again that add up.

Who can see what: whoever sees the counts learns of any one held-out row no more than the mechanism's epsilon allows.
The wide bins are fixed; 0 is an edge of them, so with two classes the confusion matrix follows from the histogram
and costs nothing. What comes out has the form of any evaluation, with each wide bin's count in its middle.
"""

from __future__ import annotations

import os
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.evaluation import BINS, EDGES, ScoreCounts
from fedcore.privacy.counts import consistent, noisy
from fedcore.privacy.mechanisms import DiscreteLaplace
from fedcore.privacy.randomness import Bytes

_MARGINS: Final = np.array([0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 10.0])
"""Chosen on generated logs: with more bins noise adds up to more than the finer scale brings."""

_STARTS: Final = np.concatenate(
    [[0], np.searchsorted(EDGES, np.concatenate([-_MARGINS[::-1], [0.0], _MARGINS])) + 1]
)
WIDE_BINS: Final = len(_STARTS)
_MIDDLES: Final = (_STARTS + np.append(_STARTS[1:], BINS)) // 2
_POSITIVE: Final = WIDE_BINS // 2


def with_noise(counts: ScoreCounts, mechanism: DiscreteLaplace, source: Bytes = os.urandom) -> ScoreCounts:
    """`counts` as they may leave under the mechanism. It is fresh noise: call it once for an order, and keep it."""
    classes = len(counts.confusion)
    wide = np.add.reduceat(counts.histograms, _STARTS, axis=2)
    if classes == 2:
        histogram = _consistent_rows(noisy(wide[0], mechanism, source))
        predicted = [histogram[:, :_POSITIVE].sum(axis=1), histogram[:, _POSITIVE:].sum(axis=1)]
        return ScoreCounts(_spread(histogram[None]), np.stack(predicted, axis=1))
    cells = noisy(np.concatenate([wide.ravel(), counts.confusion.ravel()]), mechanism, source)
    confusion = _consistent_rows(cells[wide.size :].reshape(classes, classes))
    histograms = cells[: wide.size].reshape(wide.shape)
    totals = confusion.sum(axis=1)
    made = [
        [consistent(row, int(total)) for row, total in zip(one, totals, strict=True)] for one in histograms
    ]
    return ScoreCounts(_spread(np.array(made, np.int64)), confusion)


def _consistent_rows(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each row without counts below 0, its own sum kept where that is above 0."""
    return np.stack([consistent(row, int(row.sum())) for row in cells])


def _spread(wide: NDArray[np.int64]) -> NDArray[np.int64]:
    histograms = np.zeros((*wide.shape[:2], BINS), np.int64)
    histograms[:, :, _MIDDLES] = wide
    return histograms
