"""Every kind of value survives the way to another process, and nothing malformed becomes a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcore.plugin_api import Indices, Matrix, Pseudonyms, Records, Sequence, Text, Tokens
from fedcore.plugin_api.rows import rows_of
from fedcore.plugin_api.serialise_values import value_arrays, value_of
from fedcore.plugin_api.values import Value
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError

TEXT = Text.from_rows([b"GET /", b"", b"POST /x"])
OFFSETS = np.array([0, 2, 2, 4], np.int64)
CODES = np.array([0, 1, 0, 2], np.int32)
VALUES: list[Value] = [
    TEXT,
    Records({"request": TEXT, "agent": TEXT}, np.array([0, 1, 0], np.int64)),
    Records({"request": TEXT}),
    Tokens(CODES, OFFSETS, Text.from_rows([b"a", b"bc", b"d"])),
    Pseudonyms(CODES, OFFSETS, np.array([7, 2**64 - 1, 3], np.uint64)),
    Indices(np.array([1, 5, 2, 2], np.int32), OFFSETS, 5),
    Sequence(np.array([[0, 1], [2, 3], [0, 0]], np.int32), 3),
    Matrix(OFFSETS, np.array([0, 2, 1, 3], np.int32), np.array([1, -2, 0.5, 4], np.float32), 4),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_survives(value: Value) -> None:
    found = value_of(*value_arrays(value))
    assert type(found) is type(value)
    assert rows_of(found) == rows_of(value)
    assert getattr(found, "size", None) == getattr(value, "size", None)
    assert getattr(found, "columns", None).__class__ is getattr(value, "columns", None).__class__


def test_labels_survive_or_stay_away() -> None:
    labelled, unlabelled = (value_of(*value_arrays(value)) for value in VALUES[1:3])
    assert isinstance(labelled, Records)
    assert labelled.labels is not None
    assert labelled.labels.tolist() == [0, 1, 0]
    assert isinstance(unlabelled, Records)
    assert unlabelled.labels is None


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_without_one_of_its_arrays_or_with_another_dtype_is_refused(value: Value) -> None:
    arrays, texts = value_arrays(value)
    for name in set(arrays) - {"labels"}:
        for wrong in (
            {key: array for key, array in arrays.items() if key != name},
            arrays | {name: arrays[name].astype(np.int16)},
            arrays | {name: arrays[name][None]},
        ):
            with pytest.raises(WireError):
                value_of(wrong, texts)


def broken(value: Value, **changes: Any) -> None:
    arrays, texts = value_arrays(value)
    texts = texts | {name: text for name, text in changes.items() if isinstance(text, str)}
    arrays = arrays | {name: array for name, array in changes.items() if not isinstance(array, str)}
    with pytest.raises(WireError) as caught:
        value_of(arrays, texts)
    assert caught.value.code in (RefusalCode.ARTEFACT_INVALID, RefusalCode.NOT_FINITE)


@pytest.mark.parametrize(
    "offsets",
    [[1, 2, 2, 4], [0, 2, 2, 3], [0, 2, 2, 5], [0, 3, 2, 4], [0, -1, 2, 4], [], [0, 2**62, -(2**62), 4]],
)
def test_rows_that_do_not_follow_one_another_are_refused(offsets: list[int]) -> None:
    for value in VALUES[3:6]:
        broken(value, offsets=np.array(offsets, np.int64))


@pytest.mark.parametrize("codes", [[0, 2, 0, 1], [1, 0, 0, 2], [0, 1, 0, 1], [0, 1, 0, 3], [0, -1, 0, 2]])
def test_codes_that_do_not_count_up_or_leave_an_entry_unused_are_refused(codes: list[int]) -> None:
    """A spare entry would be a place to hide something in."""
    for value in VALUES[3:5]:
        broken(value, codes=np.array(codes, np.int32))


def test_no_tokens_at_all_are_a_value_but_spare_spellings_are_not() -> None:
    nothing = np.zeros(3, np.int64)
    empty = Tokens(np.empty(0, np.int32), nothing, Text.from_rows([]))
    assert len(value_of(*value_arrays(empty))) == 2
    broken(Tokens(np.empty(0, np.int32), nothing, Text.from_rows([b"hidden"])))


def test_numbers_out_of_range_are_refused() -> None:
    broken(VALUES[5], numbers=np.array([0, 5, 2, 2], np.int32))
    broken(VALUES[5], numbers=np.array([1, 6, 2, 2], np.int32))
    broken(VALUES[6], ids=np.array([[0, 4]], np.int32))
    broken(VALUES[7], indices=np.array([0, 4, 1, 3], np.int32))
    broken(VALUES[7], data=np.array([1, np.nan, 1, 1], np.float32))


@pytest.mark.parametrize(
    "texts", [{"kind": "pickle"}, {"kind": ""}, {"size": "-1"}, {"size": "9" * 9}, {"size": ""}]
)
def test_an_unknown_kind_or_size_is_refused(texts: dict[str, str]) -> None:
    broken(VALUES[5], **texts)


def test_records_with_columns_of_two_lengths_or_one_name_twice_are_refused() -> None:
    shorter = Text.from_rows([b"a", b"b"])
    broken(VALUES[1], **{"data.1": shorter.data, "offsets.1": shorter.offsets})
    broken(VALUES[1], columns="request\nrequest")
    broken(VALUES[1], columns="request")
    broken(VALUES[1], labels=np.array([0, 1], np.int64))
