"""The held-out split: stable, secret, and blind to small differences between rows."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.plugin_api import Records, Text
from fedcore.plugin_api.split import held_out, normalised

SECRET = bytes(range(32))


def records(*rows: bytes) -> Records:
    return Records({"request": Text.from_rows(rows)})


def slow_normalised(row: bytes) -> bytes:
    for _ in range(3):
        row = unquote_to_bytes(row)
    return re.sub(rb"[0-9]+", b"0", re.sub(rb"[A-Z]", lambda letter: letter[0].lower(), row))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.sampled_from([b"%", b"2", b"5", b"4", b"1", b"A", b"z", b"\xff"])), min_size=1))
def test_rows_are_normalised_like_the_slow_version(parts: list[list[bytes]]) -> None:
    rows = [b"".join(row) for row in parts]
    assert list(normalised(records(*rows), ["request"])) == [slow_normalised(row) for row in rows]


def test_near_duplicates_are_on_one_side() -> None:
    rows = [b"/item?id=1", b"/ITEM?id=22", b"/item%3fid=333", b"/item%253Fid%3d4"]
    for number in range(30):
        held = held_out(records(*rows), ["request"], number.to_bytes(32, "big"))
        assert len(set(held.tolist())) == 1


def test_about_the_asked_share_is_held_out() -> None:
    distinct = records(
        *(bytes([97 + a, 97 + b, 97 + c]) for a in range(26) for b in range(26) for c in range(10))
    )
    for share in (0.1, 0.3, 0.5):
        assert abs(held_out(distinct, ["request"], SECRET, share).mean() - share) < 0.02


def test_another_secret_gives_another_split() -> None:
    rows = records(*(bytes([97 + a, 97 + b]) for a in range(26) for b in range(26)))
    one, other = (held_out(rows, ["request"], secret) for secret in (SECRET, bytes(32)))
    assert 0.3 < np.mean(one != other) < 0.54


def test_the_split_does_not_depend_on_the_block_that_a_row_is_in() -> None:
    rows = [bytes([97 + a, 97 + b]) for a in range(26) for b in range(26)]
    whole = held_out(records(*rows), ["request"], SECRET)
    halves = [held_out(records(*part), ["request"], SECRET) for part in (rows[:100], rows[100:])]
    assert np.array_equal(whole, np.concatenate(halves))


def test_only_the_named_columns_count() -> None:
    columns = {
        "target": Text.from_rows([b"/a"] * 50),
        "time": Text.from_rows([bytes([n]) for n in range(65, 115)]),
    }
    assert len(set(held_out(Records(columns), ["target"], SECRET).tolist())) == 1
    assert len(set(held_out(Records(columns), ["target", "time"], SECRET).tolist())) == 2


def test_the_border_between_columns_counts() -> None:
    columns = {"a": Text.from_rows([b"x", b"xy"]), "b": Text.from_rows([b"yz", b"z"])}
    first, second = normalised(Records(columns), ["a", "b"])
    assert first != second


@pytest.mark.parametrize(
    ("columns", "secret", "share", "message"),
    [
        (["request"], bytes(31), 0.3, "The secret of the split has 32 bytes, not 31"),
        (["request"], SECRET, 0.0, "The share held out is between 0 and 1, not 0.0"),
        (["request"], SECRET, 1.0, "The share held out is between 0 and 1, not 1.0"),
        (["target"], SECRET, 0.3, r"The split needs columns of the records \(request\), not target"),
        ([], SECRET, 0.3, r"The split needs columns of the records \(request\), not none"),
    ],
)
def test_a_split_that_cannot_be_made_says_why(
    columns: list[str], secret: bytes, share: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        held_out(records(b"/a"), columns, secret, share)
