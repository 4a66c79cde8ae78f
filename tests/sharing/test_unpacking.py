"""What arrives as bytes is unpacked or refused, never anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedcore.owner.sharing_phases import Keys
from fedcore.plugin_api.arrays import pack_arrays
from fedcore.sharing.joining import WEIGHTS, unpack_weights
from fedcore.sharing.masking import MASKED, unpack_masked
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError

WIDTH = 4
GOOD = {
    "masked rows": pack_arrays({MASKED: np.arange(12, dtype=np.uint64).reshape(3, WIDTH)}),
    "keys": Keys((3, 9), bytes(range(128))).pack(),
    "weights": pack_arrays({WEIGHTS: np.arange(5, dtype=np.uint64)}),
}
UNPACK: dict[str, Callable[[bytes], Any]] = {
    "masked rows": lambda data: unpack_masked(data, WIDTH),
    "keys": Keys.unpack,
    "weights": lambda data: unpack_weights(data, 4),
}
KINDS = pytest.mark.parametrize("kind", list(GOOD))


def outcome(kind: str, data: bytes) -> RefusalCode | None:
    """The code of the refusal, or nothing. Any other error goes through."""
    try:
        UNPACK[kind](data)
    except WireError as error:
        return error.code
    return None


def mutations(data: bytes, seed: int) -> bytes:
    """The bytes with some changed, cut off, put in, or doubled."""
    chance = np.random.default_rng(seed)
    changed = bytearray(data)
    for _ in range(int(chance.integers(1, 4))):
        place = int(chance.integers(0, len(changed))) if changed else 0
        match int(chance.integers(0, 5)):
            case 0:
                changed[place : place + 1] = chance.bytes(1)
            case 1:
                del changed[place:]
            case 2:
                changed[place:place] = chance.bytes(int(chance.integers(1, 20)))
            case 3:
                changed[place:place] = changed[place // 2 : place]
            case _:
                changed[place : place + 1] = b'0123456789[]{},:"-'[place % 18 : place % 18 + 1]
    return bytes(changed)


@KINDS
def test_what_was_packed_is_unpacked(kind: str) -> None:
    assert outcome(kind, GOOD[kind]) is None


def test_keys_come_back_as_they_were() -> None:
    keys = Keys((3, 9), bytes(range(128)))
    assert Keys.unpack(keys.pack()) == keys


@KINDS
def test_bytes_changed_at_random_are_refused_or_taken_and_never_crash(kind: str) -> None:
    found = [outcome(kind, mutations(GOOD[kind], seed)) for seed in range(3000)]
    assert set(found) == {None, RefusalCode.ARTEFACT_INVALID}
    assert found.count(RefusalCode.ARTEFACT_INVALID) > 1000


@KINDS
def test_every_shorter_file_is_refused(kind: str) -> None:
    data = GOOD[kind]
    assert {outcome(kind, data[:size]) for size in range(len(data))} == {RefusalCode.ARTEFACT_INVALID}


@KINDS
def test_random_bytes_are_refused(kind: str) -> None:
    chance = np.random.default_rng(2)
    assert {outcome(kind, chance.bytes(size)) for size in range(300)} == {RefusalCode.ARTEFACT_INVALID}


@KINDS
@pytest.mark.parametrize("other", list(GOOD))
def test_files_of_another_kind_are_refused(kind: str, other: str) -> None:
    assert (outcome(kind, GOOD[other]) is None) == (kind == other)


ROWS, PAIRS = np.array([3, 9]), np.zeros(128, np.uint8)


@pytest.mark.parametrize(
    ("arrays", "detail"),
    [
        ({}, "these are no keys of masked rows"),
        ({"rows": ROWS}, "these are no keys of masked rows"),
        ({"keys": PAIRS}, "these are no keys of masked rows"),
        ({"rows": ROWS, "keys": PAIRS, "more": PAIRS}, "these are no keys of masked rows"),
        ({"rows": ROWS.astype(np.int32), "keys": PAIRS}, "these are no keys of masked rows"),
        ({"rows": ROWS, "keys": PAIRS.view(np.int8)}, "these are no keys of masked rows"),
        ({"rows": ROWS.reshape(1, 2), "keys": PAIRS}, "the keys do not fit the parts"),
        ({"rows": ROWS.reshape(2, 1), "keys": PAIRS}, "the keys do not fit the parts"),
        ({"rows": ROWS[:0], "keys": PAIRS[:0]}, "the keys do not fit the parts"),
        ({"rows": ROWS, "keys": PAIRS[:-1]}, "the keys do not fit the parts"),
        ({"rows": ROWS, "keys": PAIRS.reshape(2, 64)}, "the keys do not fit the parts"),
        ({"rows": ROWS[:1], "keys": PAIRS}, "the keys do not fit the parts"),
        ({"rows": np.array([3, 0]), "keys": PAIRS}, "a part of masked rows has no usable number of rows"),
        ({"rows": np.array([-1, 5]), "keys": PAIRS}, "a part of masked rows has no usable number of rows"),
        (
            {"rows": np.array([3, 2**40 + 1]), "keys": PAIRS},
            "a part of masked rows has no usable number of rows",
        ),
    ],
)
def test_keys_that_do_not_fit_are_refused(arrays: dict[str, Any], detail: str) -> None:
    with pytest.raises(WireError) as caught:
        Keys.unpack(pack_arrays(arrays))
    assert (caught.value.code, caught.value.detail) == (RefusalCode.ARTEFACT_INVALID, detail)


MATRIX = np.zeros((3, WIDTH), np.uint64)


@pytest.mark.parametrize(
    ("arrays", "detail"),
    [
        ({}, "these are no masked rows"),
        ({"other": MATRIX}, "these are no masked rows"),
        ({MASKED: MATRIX, "other": MATRIX}, "these are no masked rows"),
        ({MASKED: MATRIX.view(np.int64)}, "these are no masked rows"),
        ({MASKED: MATRIX.astype(np.float64)}, "these are no masked rows"),
        ({MASKED: MATRIX[:0]}, "masked rows of shape (0, 4), expected a width of 4"),
        ({MASKED: MATRIX.reshape(-1)}, "masked rows of shape (12,), expected a width of 4"),
        ({MASKED: MATRIX.reshape(4, 3)}, "masked rows of shape (4, 3), expected a width of 4"),
        ({MASKED: MATRIX.reshape(3, 2, 2)}, "masked rows of shape (3, 2, 2), expected a width of 4"),
    ],
)
def test_masked_rows_that_do_not_fit_are_refused(arrays: dict[str, Any], detail: str) -> None:
    with pytest.raises(WireError) as caught:
        unpack_masked(pack_arrays(arrays), WIDTH)
    assert (caught.value.code, caught.value.detail) == (RefusalCode.ARTEFACT_INVALID, detail)


SHARE = np.zeros(5, np.uint64)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"other": SHARE},
        {WEIGHTS: SHARE, "other": SHARE},
        {WEIGHTS: SHARE.view(np.int64)},
        {WEIGHTS: SHARE.astype(np.float64)},
        {WEIGHTS: SHARE.reshape(5, 1)},
        {WEIGHTS: SHARE[:4]},
        {WEIGHTS: np.uint64(3) * np.ones((), np.uint64)},
    ],
)
def test_shares_of_weights_that_do_not_fit_are_refused(arrays: dict[str, Any]) -> None:
    with pytest.raises(WireError) as caught:
        unpack_weights(pack_arrays({name: np.asarray(array) for name, array in arrays.items()}), 4)
    assert (caught.value.code, caught.value.detail) == (
        RefusalCode.ARTEFACT_INVALID,
        "this is no share of the weights of 4 columns",
    )
