"""Steps from pseudonyms and indices to features, each against a slow obvious version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.plugin_api import Indices, InvalidOptions, Matrix, Pseudonyms, Sequence, Summary
from fedcore.plugin_api.pipeline import state_digest
from plugins.preprocessing.bag_of_words import BagOfWords
from plugins.preprocessing.hash_columns import HashColumns
from plugins.preprocessing.joint_vocabulary import JointVocabulary
from plugins.preprocessing.pad import Pad

IDS = st.integers(0, 2**64 - 1)
ROWS = st.lists(st.lists(st.one_of(st.integers(0, 6), IDS), max_size=12), max_size=10)
DTYPES = ["int64", "int32", "float32"]
fast = settings(max_examples=50, deadline=None)


def pseudonyms(rows: list[list[int]]) -> Pseudonyms:
    codes = {number: code for code, number in enumerate(dict.fromkeys(n for row in rows for n in row))}
    return Pseudonyms(
        np.array([codes[number] for row in rows for number in row], np.int32),
        np.cumsum([0, *map(len, rows)]).astype(np.int64),
        np.array(list(codes), np.uint64),
    )


def indices(rows: list[list[int]], size: int) -> Indices:
    numbers = np.array([number for row in rows for number in row], np.int32)
    return Indices(numbers, np.cumsum([0, *map(len, rows)]).astype(np.int64), size)


def rows_of(matrix: Matrix) -> list[dict[int, float]]:
    """Column to value for each row, after checking that columns rise."""
    pairs = list(zip(matrix.indices.tolist(), matrix.data.tolist(), strict=True))
    rows = [pairs[start:end] for start, end in zip(matrix.indptr, matrix.indptr[1:], strict=False)]
    assert all([column for column, _ in row] == sorted({column for column, _ in row}) for row in rows)
    return [dict(row) for row in rows]


def slow_row(numbers: list[int], columns: int, signed: bool, norm: str) -> dict[int, float]:
    sums: Counter[int] = Counter()
    for number in numbers:
        sums[(number % 2**32) * columns >> 32] += -1 if signed and number >> 63 else 1
    length = sum(value**2 for value in sums.values()) ** 0.5 if norm == "l2" else 1.0
    return {column: value / length for column, value in sums.items() if value}


@fast
@given(
    ROWS, st.sampled_from([2, 3, 64, 65, 4096, 5000, 262_144]), st.booleans(), st.sampled_from(["none", "l2"])
)
def test_hashed_columns_are_as_the_slow_version(
    rows: list[list[int]], columns: int, signed: bool, norm: str
) -> None:
    matrix = HashColumns({"columns": columns, "signed": signed, "norm": norm}).apply(pseudonyms(rows))
    assert matrix.columns == columns
    assert [array.dtype.name for array in (matrix.indptr, matrix.indices, matrix.data)] == DTYPES
    for found, numbers in zip(rows_of(matrix), rows, strict=True):
        assert found == pytest.approx(slow_row(numbers, columns, signed, norm), rel=1e-6)


def test_tokens_that_cancel_leave_no_entry() -> None:
    cancelling = [5, 5 | 1 << 63]
    matrix = HashColumns({"columns": 16}).apply(pseudonyms([cancelling, [*cancelling, 5]]))
    assert rows_of(matrix) == [{}, {0: 1.0}]


def test_the_order_of_tokens_in_a_row_does_not_show() -> None:
    numbers = np.random.default_rng(1).integers(0, 2**63, 200).tolist()
    one, other = (HashColumns().apply(pseudonyms([row])) for row in (numbers, numbers[::-1]))
    assert np.array_equal(one.indices, other.indices)
    assert np.array_equal(one.data, other.data)


def test_the_last_column_can_be_reached() -> None:
    matrix = HashColumns({"columns": 4096, "norm": "none"}).apply(pseudonyms([[2**32 - 1, 0]]))
    assert rows_of(matrix) == [{0: 1.0, 4095: 1.0}]


@fast
@given(st.lists(ROWS, min_size=1, max_size=4), st.integers(1, 3), st.integers(1, 6))
def test_the_joint_vocabulary_ranks_by_count_then_first_appearance(
    owners: list[list[list[int]]], minimum_count: int, maximum_size: int
) -> None:
    step = JointVocabulary({"minimum_count": minimum_count, "maximum_size": maximum_size})
    counts = Counter(number for rows in owners for row in rows for number in row)
    frequent = [number for number, count in counts.items() if count >= minimum_count]
    expected = sorted(frequent, key=lambda number: -counts[number])[:maximum_size]
    summed = Summary.add([step.summarise(pseudonyms(rows), []) for rows in owners])
    if not expected:
        with pytest.raises(InvalidOptions, match="minimum_count: no token occurs"):
            step.finish([summed])
        return
    state = step.finish([summed])
    assert state["ids"].tolist() == sorted(expected)
    assert [expected[rank - 1] for rank in state["ranks"]] == sorted(expected)
    for rows in owners:
        found = step.apply_fitted(pseudonyms(rows), state)
        assert found.size == len(expected)
        ranks = [[expected.index(number) + 1 for number in row if number in expected] for row in rows]
        assert np.array_equal(found.numbers, indices(ranks, 0).numbers)
        assert np.array_equal(found.offsets, indices(ranks, 0).offsets)


def test_the_same_sums_give_the_same_state_bytes() -> None:
    step = JointVocabulary({"minimum_count": 1})
    summary = step.summarise(pseudonyms([[9, 3, 3], [7]]), [])
    digests = {state_digest(step.finish([part])) for part in (summary, Summary.add([summary]))}
    assert len(digests) == 1
    state = step.finish([summary])
    assert {name: array.dtype for name, array in state.items()} == {"ids": np.uint64, "ranks": np.int32}


def test_a_vocabulary_is_the_same_however_an_owners_rows_are_cut() -> None:
    step = JointVocabulary({"minimum_count": 1})
    rows = [[number % 7, number % 5] for number in range(40)]
    cuts = [[rows], [rows[:3], rows[3:20], rows[20:]]]
    states = [step.finish([Summary.add([step.summarise(pseudonyms(p), []) for p in cut])]) for cut in cuts]
    assert state_digest(states[0]) == state_digest(states[1])


@fast
@given(st.lists(st.lists(st.integers(1, 9), max_size=12), max_size=8), st.sampled_from(["none", "l2"]))
def test_bag_of_words_counts_each_entry(rows: list[list[int]], norm: str) -> None:
    matrix = BagOfWords({"norm": norm}).apply(indices(rows, 9))
    assert matrix.columns == 9
    for found, row in zip(rows_of(matrix), rows, strict=True):
        counts = Counter(row)
        length = sum(count**2 for count in counts.values()) ** 0.5 if norm == "l2" else 1.0
        assert found == pytest.approx({n - 1: count / length for n, count in counts.items()}, rel=1e-6)


@fast
@given(
    st.lists(st.lists(st.integers(1, 9), max_size=12), max_size=8),
    st.integers(1, 15),
    st.sampled_from(["left", "right"]),
)
def test_pad_fills_and_cuts_rows(rows: list[list[int]], length: int, side: str) -> None:
    expected = []
    for row in rows:
        kept = row[:length]
        zeros = [0] * (length - len(kept))
        expected.append(zeros + kept if side == "left" else kept + zeros)
    sequence = Pad({"length": length, "side": side}).apply(indices(rows, 9))
    assert isinstance(sequence, Sequence)
    assert sequence.ids.dtype == np.int32
    assert sequence.ids.shape == (len(rows), length)
    assert sequence.ids.tolist() == expected
    assert sequence.size == 9


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: HashColumns({"columns": 1}), "columns: Input should be greater than or equal to 2"),
        (lambda: HashColumns({"norm": "l1"}), "norm: Input should be 'none' or 'l2'"),
        (lambda: HashColumns({"column": 1}), "column: Extra inputs are not permitted"),
        (lambda: JointVocabulary({"minimum_count": 0}), "minimum_count: Input should be greater than or"),
        (lambda: JointVocabulary({"maximum_size": 0}), "maximum_size: Input should be greater than or"),
        (lambda: BagOfWords({"norm": 2}), "norm: Input should be 'none' or 'l2'"),
        (lambda: Pad({"length": 0, "side": "top"}), "length: Input should be greater than or equal to 1"),
        (lambda: Pad({"length": 0, "side": "top"}), "side: Input should be 'left' or 'right'"),
    ],
)
def test_a_wrong_option_is_named_with_its_rule(make: Callable[[], object], problem: str) -> None:
    with pytest.raises(InvalidOptions) as caught:
        make()
    assert problem in str(caught.value)
