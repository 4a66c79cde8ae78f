"""Features, models, summaries and states come back whole, or are refused with a code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcore.plugin_api import Features, Matrix, Sequence, Summary, ValueKind
from fedcore.plugin_api.pipeline import state_digest
from fedcore.plugin_api.rows import rows_of
from fedcore.plugin_api.serialise import (
    StoredModel,
    pack_arrays,
    pack_features,
    pack_model,
    pack_state,
    pack_summary,
    unpack_features,
    unpack_model,
    unpack_state,
    unpack_summary,
)
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import PluginChoice

LABELS = np.array([0, 1, 1], np.int64)


def matrix(**changes: Any) -> Matrix:
    parts: dict[str, Any] = {
        "indptr": np.array([0, 2, 2, 5], np.int64),
        "indices": np.array([1, 0, 3, 2, 1], np.int32),
        "data": np.array([1.0, -2.0, 0.5, 3.0, 4.0], np.float32),
        "columns": 4,
    }
    return Matrix(**(parts | changes))


def sequence(ids: Any = ((0, 1, 2), (0, 0, 5), (3, 4, 5)), size: int = 5) -> Sequence:
    return Sequence(np.array(ids, np.int32), size)


def refusal(data: bytes, classes: int = 2) -> RefusalCode:
    with pytest.raises(WireError) as caught:
        unpack_features(data, classes)
    return caught.value.code


@pytest.mark.parametrize(
    "features",
    [matrix(), matrix(columns=100_000), sequence(), sequence(size=100_000)],
    ids=["matrix", "wide matrix", "sequence", "sequence of a large vocabulary"],
)
def test_features_and_labels_come_back(features: Features) -> None:
    rows = unpack_features(pack_features(features, LABELS), 2)
    assert type(rows.features) is type(features)
    assert rows_of(rows.features) == rows_of(features)
    assert rows.features.columns == features.columns
    assert rows.labels.tolist() == LABELS.tolist()
    assert rows.labels.dtype == np.int64


def test_features_without_rows_come_back() -> None:
    empty = matrix().take(np.empty(0, np.int64))
    assert len(unpack_features(pack_features(empty, LABELS[:0]), 2).features) == 0


def test_narrow_features_travel_in_fewer_bytes() -> None:
    entries = 10_000
    wide = Matrix(
        np.array([0, entries], np.int64),
        np.arange(entries, dtype=np.int32),
        np.ones(entries, np.float32),
        entries,
    )
    assert len(pack_features(wide, LABELS[:1])) < entries * (2 + 4) + 1000


@pytest.mark.parametrize(
    "broken",
    [
        matrix(indptr=np.array([0, 3, 2, 5], np.int64)),
        matrix(indptr=np.array([1, 2, 2, 5], np.int64)),
        matrix(indptr=np.array([0, 2, 2, 4], np.int64)),
        matrix(indptr=np.array([0, -(2**63), 2, 5], np.int64)),
        matrix(indices=np.array([1, 0, 3, 2, 4], np.int32)),
        matrix(indices=np.array([1, 0, -1, 2, 1], np.int32), columns=100_000),
        matrix(indices=np.array([1, 1, 3, 2, 1], np.int32)),
        matrix(indices=np.array([1, 0, 3, 2, 3], np.int32)),
        matrix(indices=np.array([1, 0, 3, 2], np.int32)),
        matrix(columns=0),
        matrix(columns=2**24 + 1),
        sequence(size=4),
        sequence(ids=((0, 1), (-1, 2), (0, 0)), size=100_000),
        sequence(ids=((), (), ())),
    ],
)
def test_features_that_are_not_valid_are_refused(broken: Features) -> None:
    assert refusal(pack_features(broken, LABELS)) is RefusalCode.ARTEFACT_INVALID


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(value: float) -> None:
    data = np.array([1.0, value, 0.5, 3.0, 4.0], np.float32)
    assert refusal(pack_features(matrix(data=data), LABELS)) is RefusalCode.NOT_FINITE


def test_a_label_without_a_class_is_refused() -> None:
    assert refusal(pack_features(matrix(), np.array([0, 1, 2]))) is RefusalCode.ARTEFACT_INVALID
    with pytest.raises(ValueError, match="class numbers"):
        pack_features(matrix(), np.array([0, 1, -1]))
    with pytest.raises(ValueError, match="as many labels"):
        pack_features(matrix(), LABELS[:2])


@pytest.mark.parametrize(
    ("arrays", "texts"),
    [
        ({"labels": LABELS.astype(np.uint8)}, {"kind": "matrix", "columns": "4"}),
        ({"labels": LABELS.astype(np.uint8), "ids": np.zeros((3, 2), np.int32)}, {"kind": "sequence"}),
        ({"labels": LABELS, "ids": np.zeros((3, 2), np.int32)}, {"kind": "sequence", "size": "5"}),
        (
            {"labels": LABELS.astype(np.uint8), "ids": np.zeros((3, 2), np.int32)},
            {"kind": "sequence", "size": "-5"},
        ),
        (
            {"labels": LABELS.astype(np.uint8), "ids": np.zeros((3, 2), np.int32)},
            {"kind": "tokens", "size": "5"},
        ),
        (
            {"labels": LABELS[:2].astype(np.uint8), "ids": np.zeros((3, 2), np.int32)},
            {"kind": "sequence", "size": "5"},
        ),
    ],
)
def test_arrays_that_are_no_features_are_refused(arrays: Any, texts: Any) -> None:
    assert refusal(pack_arrays(arrays, texts)) is RefusalCode.ARTEFACT_INVALID


MODEL = StoredModel(
    PluginChoice(name="linear", options={"activation": "relu"}),
    2,
    ValueKind.MATRIX,
    3,
    0,
    {"linear.weight": np.ones((2, 3), np.float32), "linear.bias": np.zeros(2, np.float32)},
)


def model_refusal(data: bytes) -> RefusalCode:
    with pytest.raises(WireError) as caught:
        unpack_model(data)
    return caught.value.code


def test_a_model_comes_back() -> None:
    read = unpack_model(pack_model(MODEL))
    assert (read.model, read.classes, read.kind, read.columns, read.size) == (
        MODEL.model,
        2,
        ValueKind.MATRIX,
        3,
        0,
    )
    assert {name: array.tolist() for name, array in read.parameters.items()} == {
        name: array.tolist() for name, array in MODEL.parameters.items()
    }


@pytest.mark.parametrize(
    "change",
    [
        {"model": '{"name": "LINEAR"}'},
        {"model": '{"name": "linear", "code": "x"}'},
        {"kind": "picture"},
        {"classes": "1"},
        {"classes": "65"},
        {"columns": "many"},
        {"size": ""},
    ],
)
def test_a_model_with_an_unreadable_description_is_refused(change: dict[str, str]) -> None:
    texts = {"model": '{"name": "linear"}', "classes": "2", "kind": "matrix", "columns": "3", "size": "0"}
    assert model_refusal(pack_arrays(MODEL.parameters, texts | change)) is RefusalCode.ARTEFACT_INVALID


def test_parameters_that_are_not_finite_are_refused() -> None:
    broken = StoredModel(MODEL.model, 2, MODEL.kind, 3, 0, {"w": np.array([np.nan])})
    assert model_refusal(pack_model(broken)) is RefusalCode.NOT_FINITE


def test_parameters_of_another_dtype_are_refused() -> None:
    broken = StoredModel(MODEL.model, 2, MODEL.kind, 3, 0, {"w": np.array([1])})
    assert model_refusal(pack_model(broken)) is RefusalCode.ARTEFACT_INVALID


def test_a_summary_comes_back() -> None:
    summary = Summary(np.array([2**64 - 1, 0], np.uint64), np.array([3, 1], np.int64))
    read = unpack_summary(pack_summary(summary))
    assert (read.keys.tolist(), read.counts.tolist()) == ([2**64 - 1, 0], [3, 1])


@pytest.mark.parametrize(
    ("keys", "counts"), [([1, 1], [1, 1]), ([1, 2], [1]), ([1], [-1]), ([1], [2**48 + 1]), ([[1]], [[1]])]
)
def test_a_summary_that_could_distort_a_sum_is_refused(keys: Any, counts: Any) -> None:
    summary = Summary(np.array(keys, np.uint64), np.array(counts, np.int64))
    with pytest.raises(WireError, match="artefact_invalid"):
        unpack_summary(pack_summary(summary))


def test_a_state_comes_back_with_its_digest() -> None:
    state = {"ids": np.array([5, 2**63], np.uint64), "ranks": np.array([2, 1], np.int32)}
    assert state_digest(unpack_state(pack_state(state))) == state_digest(state)


def test_a_state_that_is_not_finite_is_refused() -> None:
    with pytest.raises(WireError, match="not_finite"):
        unpack_state(pack_state({"idf": np.array([np.inf])}))


def test_rows_whose_bounds_wrap_around_are_refused() -> None:
    """Each difference of these bounds is positive in 64 bits, and they point far outside of the matrix."""
    arrays = {
        "labels": np.zeros(3, np.uint8),
        "indptr": np.array([0, 2**63 - 1, -2, 2], np.int64),
        "indices": np.array([0, 1], np.int32),
        "data": np.ones(2, np.float32),
    }
    assert refusal(pack_arrays(arrays, {"kind": "matrix", "columns": "4"})) is RefusalCode.ARTEFACT_INVALID
