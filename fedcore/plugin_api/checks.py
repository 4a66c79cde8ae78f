"""The gate for numbers: what passes has valid indices, finite values and labels in range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.arrays import invalid
from fedcore.plugin_api.models import LabelledRows
from fedcore.plugin_api.steps import Summary
from fedcore.plugin_api.values import Features, Matrix, Sequence
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError

MAXIMUM_COLUMNS: Final = 2**24
MAXIMUM_COUNT: Final = 2**48


def check_features(features: Features) -> None:
    """Raise `WireError` (`artefact_invalid`, `not_finite`) unless the features are valid as their type says."""
    if isinstance(features, Matrix):
        _check_matrix(features)
    else:
        _check_sequence(features)


def check_rows(rows: LabelledRows, classes: int) -> None:
    """The gate before training: at least one row, finite features, one label in range per row."""
    if not len(rows.features):
        raise WireError(RefusalCode.DATASET_EMPTY, "there are no rows to train on")
    if isinstance(rows.features, Matrix):
        check_finite({"features": rows.features.data})
    check_labels(rows, classes)


def check_labels(rows: LabelledRows, classes: int) -> None:
    """Raise `WireError` (`artefact_invalid`) unless each row has a label from 0 to `classes - 1`."""
    labels = rows.labels
    if labels.shape != (len(rows.features),):
        raise invalid(f"{labels.shape} labels for {len(rows.features)} rows")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise invalid(f"labels lie outside 0..{classes - 1}")


def check_finite(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise `WireError` (`not_finite`) if any number is NaN or infinite."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise WireError(RefusalCode.NOT_FINITE, f"{name} has NaN or infinite values")


def check_summary(summary: Summary) -> None:
    """Raise `WireError` (`artefact_invalid`) unless keys are distinct and counts are from 0 to 2^48."""
    keys, counts = summary.keys, summary.counts
    if keys.ndim != 1 or keys.shape != counts.shape:
        raise invalid(f"a summary with {keys.shape} keys and {counts.shape} counts")
    if len(np.unique(keys)) != len(keys):
        raise invalid("a summary repeats a key")
    if len(counts) and not 0 <= int(counts.min()) <= int(counts.max()) <= MAXIMUM_COUNT:
        raise invalid("a summary has a count outside 0..2^48")


def _check_matrix(matrix: Matrix) -> None:
    indptr, indices, data = matrix.indptr, matrix.indices, matrix.data
    if indptr.ndim != 1 or indices.ndim != 1 or data.shape != indices.shape or not len(indptr):
        raise invalid("a matrix whose arrays do not fit together")
    # Bounded before they are subtracted, so that no difference wraps around.
    bounded = 0 <= int(indptr.min()) <= int(indptr.max()) <= len(indices)
    if not bounded or indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
        raise invalid("a matrix whose rows do not follow one another")
    if not 1 <= matrix.columns <= MAXIMUM_COLUMNS:
        raise invalid(f"a matrix of {matrix.columns} columns")
    if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < matrix.columns:
        raise invalid("a matrix with a column out of range")
    if _repeats_a_column(matrix):
        raise invalid("a matrix with a column twice in a row")
    check_finite({"the matrix": data})


def _repeats_a_column(matrix: Matrix) -> bool:
    indices = matrix.indices
    rises = np.diff(indices) > 0
    starts = matrix.indptr[1:-1]
    inner = starts[(starts > 0) & (starts < len(indices))]
    rises[inner - 1] = True
    if rises.all():
        return False
    rows = np.repeat(np.arange(len(matrix), dtype=np.int64), np.diff(matrix.indptr))
    places = np.sort(rows * matrix.columns + indices)
    return bool((np.diff(places) == 0).any())


def _check_sequence(sequence: Sequence) -> None:
    ids = sequence.ids
    if ids.ndim != 2 or not 1 <= ids.shape[1] <= MAXIMUM_COLUMNS:
        raise invalid(f"a sequence of shape {ids.shape}")
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) <= sequence.size:
        raise invalid("a sequence with a number outside its vocabulary")
