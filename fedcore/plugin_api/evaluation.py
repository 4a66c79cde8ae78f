"""Evaluation by counts: what leaves an owner about its held-out rows are whole numbers, added over owners.

A score's margin (its lead over the best other class) falls into one of `BINS` bins, counted by class. The
bins are fine near 0 and wider far from it, so that models with small and with large scores are measured
alike: the area under the curve from the counts is within 5e-4 of the exact one. 0 is a bin's edge, and a
bin includes its upper edge, so that the bins agree with the prediction (the first of the best classes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import Message, WireError
from fedcore.wire.reports import Count, Evaluated

BINS: Final = 2048
LARGEST_MARGIN: Final = 64.0
SMALLEST_MARGIN: Final = 1e-4
CURVE_POINTS: Final = 200
MAXIMUM_ROWS: Final = 2**40

_POSITIVE: Final = SMALLEST_MARGIN * np.expm1(
    np.linspace(0.0, np.log1p(LARGEST_MARGIN / SMALLEST_MARGIN), BINS // 2 + 1)[1:-1]
)
EDGES: Final = np.concatenate([-_POSITIVE[::-1], [0.0], _POSITIVE])
"""The `BINS - 1` inner edges, rising. Bin `b` holds margins above `EDGES[b - 1]` up to `EDGES[b]`."""

Share = Annotated[float, Field(ge=0, le=1)]
Curve = Annotated[tuple[tuple[Share, Share], ...], Field(max_length=CURVE_POINTS)]


@dataclass(frozen=True)
class ScoreCounts:
    """Counts over scored rows. `histograms` is int64 of shape (c, classes, BINS): rows of class `k` whose
    margin for class `c` fell into bin `b`; for two classes c is 1 and stands for class 1. `confusion` is
    int64 of shape (classes, classes): rows of class `k` predicted as `p`.
    """

    histograms: NDArray[np.int64]
    confusion: NDArray[np.int64]

    @property
    def rows(self) -> int:
        return int(self.confusion.sum())

    @staticmethod
    def add(parts: Sequence[ScoreCounts]) -> ScoreCounts:
        """The counts of all parts together. Raises `ValueError` if they differ in their classes."""
        if len({part.confusion.shape for part in parts}) != 1:
            raise ValueError("Counts can be added only if they have the same classes.")
        histograms = np.stack([part.histograms for part in parts]).sum(axis=0)
        return ScoreCounts(histograms, np.stack([part.confusion for part in parts]).sum(axis=0))


class Metrics(Message):
    """Quality of a model. With two classes class 1 is the positive one; with more, precision, recall, F1 and
    the areas are means over the classes. An area is `None` where only one class occurs.

    `majority_accuracy` and `majority_f1` belong to the model that always names the most frequent class.
    `roc` has points (false positive rate, true positive rate), `precision_recall` (recall, precision); both
    are empty for more than two classes.
    """

    rows: Count
    accuracy: Share
    balanced_accuracy: Share
    precision: Share
    recall: Share
    f1: Share
    roc_auc: Share | None
    average_precision: Share | None
    majority_accuracy: Share
    majority_f1: Share
    confusion: tuple[tuple[Count, ...], ...]
    roc: Curve
    precision_recall: Curve


def count_scores(scores: NDArray[np.float64], labels: NDArray[np.int64], classes: int) -> ScoreCounts:
    """Count scores, float64 of shape (rows, classes), by class.

    Raises `WireError` (`not_finite`), and `ValueError` for shapes that do not fit.
    """
    if scores.shape != (len(labels), classes):
        raise ValueError(
            f"Scores of {len(labels)} rows have shape {(len(labels), classes)}, not {scores.shape}."
        )
    if not np.isfinite(scores).all():
        raise WireError(RefusalCode.NOT_FINITE, "a score is NaN or infinite")
    places = labels * classes + (scores.argmax(axis=1) if len(labels) else labels)
    confusion = np.bincount(places, minlength=classes * classes).reshape(classes, classes)
    margins = [margins_of(scores, positive) for positive in ([1] if classes == 2 else range(classes))]
    histograms = np.stack([_histogram(margin, labels, classes) for margin in margins])
    return ScoreCounts(histograms, confusion.astype(np.int64))


def margins_of(scores: NDArray[np.float64], positive: int) -> NDArray[np.float64]:
    """The lead of class `positive` over the best other class, for each row."""
    margins: NDArray[np.float64] = scores[:, positive] - np.delete(scores, positive, axis=1).max(axis=1)
    return margins


def metrics_of(counts: ScoreCounts) -> Metrics:
    """The metrics of counted rows, by scikit-learn. Raises `ValueError` if nothing was counted."""
    if not counts.rows:
        raise ValueError("There are no scored rows: give the owner's dataset more rows.")
    confusion = counts.confusion
    majority = np.zeros_like(confusion)
    majority[:, confusion.sum(axis=1).argmax()] = confusion.sum(axis=1)
    labelled, baseline = _from_confusion(confusion), _from_confusion(majority)
    binary = len(confusion) == 2
    areas = [_areas(histogram, positive + binary) for positive, histogram in enumerate(counts.histograms)]
    return Metrics(
        rows=counts.rows,
        **labelled,
        roc_auc=_mean([roc for roc, _ in areas]),
        average_precision=_mean([precision for _, precision in areas]),
        majority_accuracy=baseline["accuracy"],
        majority_f1=baseline["f1"],
        confusion=_nested(confusion),
        roc=_roc(counts.histograms[0]) if binary else (),
        precision_recall=_precision_recall(counts.histograms[0]) if binary else (),
    )


def to_evaluated(counts: ScoreCounts) -> Evaluated:
    """The counts as an owner reports them."""
    return Evaluated(
        rows=counts.rows, histograms=_nested(counts.histograms), confusion=_nested(counts.confusion)
    )


def from_evaluated(evaluated: Evaluated) -> ScoreCounts:
    """The counts of an owner's report. Raises `WireError` (`artefact_invalid`) if they contradict each other."""
    try:
        histograms = np.array(evaluated.histograms, np.int64)
        confusion = np.array(evaluated.confusion, np.int64)
    except ValueError:
        raise WireError(RefusalCode.ARTEFACT_INVALID, "the counts are ragged") from None
    classes = len(confusion)
    shape = (1 if classes == 2 else classes, classes, BINS)
    if confusion.shape != (classes, classes) or histograms.shape != shape:
        raise WireError(RefusalCode.ARTEFACT_INVALID, "the counts do not have the shape for their classes")
    # Bounded before they are added, so that no sum wraps around.
    bounded = max(evaluated.rows, int(confusion.max()), int(histograms.max())) <= MAXIMUM_ROWS
    of_class = confusion.sum(axis=1)
    if not bounded or (histograms.sum(axis=2) != of_class).any() or int(of_class.sum()) != evaluated.rows:
        raise WireError(RefusalCode.ARTEFACT_INVALID, "histograms and confusion matrix contradict each other")
    return ScoreCounts(histograms, confusion)


def _histogram(margins: NDArray[np.float64], labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    bins = np.searchsorted(EDGES, margins, side="left")
    counts = np.bincount(labels * BINS + bins, minlength=classes * BINS)
    return counts.reshape(classes, BINS).astype(np.int64)


def _from_confusion(confusion: NDArray[np.int64]) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support, recall_score

    classes = len(confusion)
    true, predicted = np.divmod(np.arange(classes * classes), classes)
    weights = confusion.ravel()
    average: Any = {"average": "binary"} if classes == 2 else {"average": "macro", "labels": range(classes)}
    precision, recall, f1, _ = precision_recall_fscore_support(
        true, predicted, sample_weight=weights, zero_division=0, **average
    )
    occurring = np.flatnonzero(confusion.sum(axis=1))
    balanced = recall_score(true, predicted, sample_weight=weights, average="macro", labels=occurring)
    return {
        "accuracy": float(accuracy_score(true, predicted, sample_weight=weights)),
        "balanced_accuracy": float(balanced),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def _binned(histogram: NDArray[np.int64], positive: int) -> tuple[NDArray[np.int64], ...]:
    positives = histogram[positive]
    others = histogram.sum(axis=0) - positives
    truth = np.repeat([1, 0], BINS)
    return truth, np.tile(np.arange(BINS), 2), np.concatenate([positives, others])


def _areas(histogram: NDArray[np.int64], positive: int) -> tuple[float | None, float | None]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth, score, weight = _binned(histogram, positive)
    if not weight[:BINS].any() or not weight[BINS:].any():
        return None, None
    roc = roc_auc_score(truth, score, sample_weight=weight)
    precision = average_precision_score(truth, score, sample_weight=weight)
    return min(float(roc), 1.0), min(float(precision), 1.0)


def _roc(histogram: NDArray[np.int64]) -> tuple[tuple[float, float], ...]:
    from sklearn.metrics import roc_curve

    truth, score, weight = _binned(histogram, 1)
    if not weight[:BINS].any() or not weight[BINS:].any():
        return ()
    false, true, _ = roc_curve(truth, score, sample_weight=weight)
    return _thinned(false, true)


def _precision_recall(histogram: NDArray[np.int64]) -> tuple[tuple[float, float], ...]:
    from sklearn.metrics import precision_recall_curve

    truth, score, weight = _binned(histogram, 1)
    if not weight[:BINS].any():
        return ()
    occurring = weight > 0
    precision, recall, _ = precision_recall_curve(
        truth[occurring], score[occurring], sample_weight=weight[occurring]
    )
    return _thinned(recall, precision)


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    """At most `CURVE_POINTS` of the points, evenly along the curve, with both ends."""
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    wanted = np.linspace(0.0, length[-1], CURVE_POINTS)
    kept = np.unique(np.append(np.searchsorted(length, wanted[:-1]), len(x) - 1))
    points = np.clip(np.stack([x, y], axis=1)[kept], 0.0, 1.0)
    return tuple((float(first), float(second)) for first, second in points)


def _mean(areas: Sequence[float | None]) -> float | None:
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known else None


def _nested(array: NDArray[np.int64]) -> Any:
    if array.ndim == 1:
        return tuple(int(number) for number in array)
    return tuple(_nested(part) for part in array)
