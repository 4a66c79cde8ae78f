"""Words and character n-grams, each against a slow obvious version."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.plugin_api import InvalidOptions, Text, Tokens
from plugins.preprocessing.char_ngrams import CharNgrams
from plugins.preprocessing.words import Words

ROWS = st.lists(
    st.one_of(st.binary(max_size=30), st.text("ab1/._-é ", max_size=30).map(str.encode)), max_size=12
)
fast = settings(max_examples=50, deadline=None)


def spelled(tokens: Tokens) -> list[list[bytes]]:
    """The tokens of each row, written out."""
    spellings = list(tokens.spellings)
    words = [spellings[code] for code in tokens.codes]
    return [words[start:end] for start, end in zip(tokens.offsets, tokens.offsets[1:], strict=False)]


def check_dictionary(tokens: Tokens, rows: Iterable[list[bytes]]) -> None:
    """Codes count up in the order of first appearance, and every spelling stands once."""
    assert list(tokens.spellings) == list(dict.fromkeys(token for row in rows for token in row))
    assert tokens.codes.dtype == np.int32
    assert tokens.offsets.dtype == np.int64


def slow_ngrams(row: bytes, minimum: int, maximum: int) -> list[bytes]:
    return [
        row[end - size : end]
        for end in range(1, len(row) + 1)
        for size in range(minimum, maximum + 1)
        if size <= end
    ]


@fast
@given(ROWS, st.text(alphabet=string.punctuation, max_size=4))
def test_words_are_runs_of_letters_digits_and_high_bytes(rows: list[bytes], keep: str) -> None:
    inside = re.compile(b"[0-9A-Za-z\x80-\xff" + b"".join(re.escape(m.encode()) for m in keep) + b"]+")
    expected = [inside.findall(row) for row in rows]
    tokens = Words({"keep": keep}).apply(Text.from_rows(rows))
    assert spelled(tokens) == expected
    check_dictionary(tokens, expected)


def test_a_word_ends_with_its_row() -> None:
    assert spelled(Words().apply(Text.from_rows([b"one", b"two", b"", b"one"]))) == [
        [b"one"],
        [b"two"],
        [],
        [b"one"],
    ]


def test_more_distinct_words_than_the_table_first_holds_keep_their_codes() -> None:
    rows = [f"w{number} w{number // 2}".encode() for number in range(20_000)]
    expected = [row.split() for row in rows]
    tokens = Words().apply(Text.from_rows(rows))
    assert spelled(tokens) == expected
    check_dictionary(tokens, expected)


@fast
@given(ROWS, st.sampled_from([(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3)]))
def test_ngrams_are_all_pieces_of_a_row(rows: list[bytes], sizes: tuple[int, int]) -> None:
    expected = [slow_ngrams(row, *sizes) for row in rows]
    tokens = CharNgrams({"minimum": sizes[0], "maximum": sizes[1]}).apply(Text.from_rows(rows))
    assert spelled(tokens) == expected
    check_dictionary(tokens, expected)


def test_pieces_of_zero_bytes_are_told_apart_by_size() -> None:
    tokens = CharNgrams().apply(Text.from_rows([b"\0\0\0"]))
    assert list(tokens.spellings) == [b"\0", b"\0\0", b"\0\0\0"]


def test_every_byte_value_can_be_a_piece() -> None:
    row = bytes(range(256)) * 2
    tokens = CharNgrams().apply(Text.from_rows([row]))
    assert spelled(tokens) == [slow_ngrams(row, 1, 3)]


def test_a_block_is_not_affected_by_the_block_before_it() -> None:
    first, second = Text.from_rows([b"abcabc"]), Text.from_rows([b"bcd"])
    alone = CharNgrams().apply(second)
    CharNgrams().apply(first)
    after = CharNgrams().apply(second)
    assert spelled(alone) == spelled(after)
    assert alone.codes.tolist() == after.codes.tolist()


def test_character_ngrams_declare_that_they_show_characters() -> None:
    assert CharNgrams.shows_characters
    assert not Words.shows_characters


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: CharNgrams({"maximum": 4}), "maximum: Input should be less than or equal to 3"),
        (lambda: CharNgrams({"minimum": 0}), "minimum: Input should be greater than or equal to 1"),
        (lambda: CharNgrams({"minimum": 3, "maximum": 2}), "minimum is at most maximum"),
        (lambda: Words({"keep": "x"}), "keep: Value error, only marks among"),
        (lambda: Words({"minimum": 2}), "minimum: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_option_is_named_with_its_rule(make: Callable[[], object], problem: str) -> None:
    with pytest.raises(InvalidOptions) as caught:
        make()
    assert problem in str(caught.value)


@pytest.mark.parametrize("step", [Words(), CharNgrams()])
def test_no_rows_give_no_tokens(step: Words) -> None:
    tokens = step.apply(Text.from_rows([]))
    assert (len(tokens), len(tokens.codes), len(tokens.spellings)) == (0, 0, 0)
