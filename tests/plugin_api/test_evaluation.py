"""Counts of scores give the metrics that the scores themselves would give."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from fedcore.plugin_api.evaluation import (
    BINS,
    CURVE_POINTS,
    EDGES,
    ScoreCounts,
    count_scores,
    from_evaluated,
    metrics_of,
    to_evaluated,
)
from fedcore.wire.encoding import WireError
from fedcore.wire.reports import Evaluated

ROWS = 20_000


def example(
    scale: float, share: float = 0.04, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores of two classes that overlap, of any magnitude, and labels of which few are attacks."""
    numbers = np.random.default_rng(seed)
    labels = (numbers.random(ROWS) < share).astype(np.int64)
    margins = scale * (numbers.standard_normal(ROWS) * 2 + 5 * labels - 3)
    offset = numbers.standard_normal(ROWS)
    return np.stack([offset, offset + margins], axis=1), labels


@pytest.mark.parametrize("scale", [1e-3, 0.05, 1.0, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_areas_are_within_half_a_thousandth_of_the_exact_ones(scale: float, seed: int) -> None:
    scores, labels = example(scale, seed=seed)
    found = metrics_of(count_scores(scores, labels, 2))
    margins = scores[:, 1] - scores[:, 0]
    assert found.roc_auc == pytest.approx(metrics.roc_auc_score(labels, margins), abs=5e-4)
    assert found.average_precision == pytest.approx(
        metrics.average_precision_score(labels, margins), abs=5e-3
    )


def test_everything_else_is_exact() -> None:
    scores, labels = example(1.0)
    predicted = scores.argmax(axis=1)
    found = metrics_of(count_scores(scores, labels, 2))
    assert found.rows == ROWS
    assert found.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert found.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    assert found.precision == pytest.approx(metrics.precision_score(labels, predicted))
    assert found.recall == pytest.approx(metrics.recall_score(labels, predicted))
    assert found.f1 == pytest.approx(metrics.f1_score(labels, predicted))
    assert found.confusion == tuple(map(tuple, metrics.confusion_matrix(labels, predicted).tolist()))


def test_beside_them_stands_the_model_that_always_names_the_most_frequent_class() -> None:
    scores, labels = example(1.0)
    found = metrics_of(count_scores(scores, labels, 2))
    assert found.majority_accuracy == pytest.approx(1 - labels.mean())
    assert found.majority_f1 == 0.0


def test_several_classes_are_averaged() -> None:
    numbers = np.random.default_rng(1)
    labels = numbers.integers(0, 3, 5000)
    scores = numbers.standard_normal((5000, 3)) + 1.5 * np.eye(3)[labels]
    found = metrics_of(count_scores(scores, labels, 3))
    assert found.f1 == pytest.approx(metrics.f1_score(labels, scores.argmax(axis=1), average="macro"))
    leads = [scores[:, c] - np.delete(scores, c, axis=1).max(axis=1) for c in range(3)]
    exact = np.mean([metrics.roc_auc_score(labels == c, leads[c]) for c in range(3)])
    assert found.roc_auc == pytest.approx(exact, abs=5e-4)
    assert found.roc == ()


def test_counts_of_parts_add_up_to_the_counts_of_all() -> None:
    scores, labels = example(1.0)
    whole = count_scores(scores, labels, 2)
    parts = [count_scores(scores[a:b], labels[a:b], 2) for a, b in ((0, 7), (7, 7), (7, ROWS))]
    added = ScoreCounts.add(parts)
    np.testing.assert_array_equal(added.histograms, whole.histograms)
    np.testing.assert_array_equal(added.confusion, whole.confusion)
    with pytest.raises(ValueError, match="same classes"):
        ScoreCounts.add([whole, count_scores(np.zeros((1, 3)), np.zeros(1, np.int64), 3)])


def test_zero_is_an_edge_and_a_tie_counts_as_the_prediction_says() -> None:
    assert len(EDGES) == BINS - 1
    assert EDGES[BINS // 2 - 1] == 0.0
    assert (np.diff(EDGES) > 0).all()
    margins = np.array([-1e-12, 0.0, 1e-12, -1e9, 1e9])
    scores = np.stack([np.zeros(5), margins], axis=1)
    counts = count_scores(scores, np.ones(5, np.int64), 2)
    above = counts.histograms[0, 1, BINS // 2 :].sum()
    assert above == counts.confusion[1, 1] == 2
    assert counts.histograms[0, 1, 0] == counts.histograms[0, 1, -1] == 1


def test_curves_are_short_and_have_both_ends() -> None:
    scores, labels = example(1.0)
    found = metrics_of(count_scores(scores, labels, 2))
    assert 50 < len(found.roc) <= CURVE_POINTS
    assert 50 < len(found.precision_recall) <= CURVE_POINTS
    assert found.roc[0] == (0.0, 0.0)
    assert found.roc[-1] == (1.0, 1.0)
    assert {found.precision_recall[0][0], found.precision_recall[-1][0]} == {0.0, 1.0}
    x, y = np.array(found.roc).T
    assert np.trapezoid(y, x) == pytest.approx(found.roc_auc, abs=5e-3)


def test_one_class_alone_has_no_area() -> None:
    found = metrics_of(count_scores(np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros(2, np.int64), 2))
    assert found.roc_auc is None
    assert found.average_precision is None
    assert found.roc == ()
    assert found.accuracy == 0.5


def test_no_rows_have_no_metrics() -> None:
    with pytest.raises(ValueError, match="no scored rows"):
        metrics_of(count_scores(np.empty((0, 2)), np.empty(0, np.int64), 2))


def test_scores_that_are_not_finite_or_do_not_fit_are_refused() -> None:
    labels = np.zeros(2, np.int64)
    with pytest.raises(WireError, match="not_finite"):
        count_scores(np.array([[0.0, np.nan], [0.0, 1.0]]), labels, 2)
    with pytest.raises(ValueError, match="have shape"):
        count_scores(np.zeros((2, 3)), labels, 2)


def test_counts_survive_the_way_in_a_report() -> None:
    scores, labels = example(1.0)
    counts = count_scores(scores, labels, 2)
    read = from_evaluated(to_evaluated(counts))
    np.testing.assert_array_equal(read.histograms, counts.histograms)
    np.testing.assert_array_equal(read.confusion, counts.confusion)


def test_counts_that_contradict_each_other_are_refused() -> None:
    scores, labels = example(1.0)
    evaluated = to_evaluated(count_scores(scores, labels, 2))
    ragged = (evaluated.histograms[0][0], evaluated.histograms[0][1][:-1])
    changes = [
        {"rows": ROWS + 1},
        {"confusion": ((1, 2), (3, 4))},
        {"confusion": ((1, 2), (3,))},
        {"confusion": ((1, 2, 3), (3, 4, 5))},
        {"histograms": evaluated.histograms * 2},
        {"histograms": (ragged,)},
    ]
    for change in changes:
        with pytest.raises(WireError, match="artefact_invalid"):
            from_evaluated(evaluated.model_copy(update=change))


def test_counts_that_would_wrap_around_when_added_are_refused() -> None:
    huge = ((2**53 - 1,) * BINS, (0,) * BINS)
    wrapped = int(np.array(huge[0]).sum())
    evaluated = Evaluated(rows=0, histograms=(huge,), confusion=((0, 0), (0, 0)))
    assert wrapped < 0
    with pytest.raises(WireError, match="contradict"):
        from_evaluated(evaluated)
