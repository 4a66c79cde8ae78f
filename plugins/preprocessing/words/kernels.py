"""One pass over the text that finds words and gives each distinct one a code.

The table is open addressing over SipHash under a random key of the process: whoever writes to a log cannot
choose words that collide. Codes follow the order of first appearance, so they do not depend on that key.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api import Text, Tokens
from fedcore.plugin_api.compiled import (
    BYTES,
    BYTES_OUT,
    CODES_OUT,
    FLAG,
    FLAGS,
    IDS,
    INT,
    NOTHING,
    NUMBERS,
    NUMBERS_OUT,
    WORD,
    compiled,
)
from fedcore.plugin_api.siphash import hash_bytes

_KEY: Final = np.frombuffer(secrets.token_bytes(16), np.uint64)
_FIRST_SIZE: Final = 1 << 12


def words_of(text: Text, in_words: NDArray[np.bool_]) -> Tokens:
    """The runs of bytes `b` with `in_words[b]` (bool of shape (256,)) in each row."""
    most = len(text.data) // 2 + len(text) + 1
    codes = np.empty(most, np.int32)
    offsets = np.zeros_like(text.offsets)
    starts, ends = np.empty(most, np.int64), np.empty(most, np.int64)
    distinct = _find(text.data, text.offsets, in_words, _KEY[0], _KEY[1], codes, offsets, starts, ends)
    codes.resize(int(offsets[-1]), refcheck=False)
    return Tokens(codes, offsets, _spellings(text, starts[:distinct], ends[:distinct]))


def _spellings(text: Text, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Text:
    offsets = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(ends - starts, out=offsets[1:])
    data = np.empty(int(offsets[-1]), np.uint8)
    _copy(text.data, starts, offsets, data)
    return Text(data, offsets)


@compiled(NOTHING, BYTES, NUMBERS, NUMBERS, BYTES_OUT)
def _copy(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    offsets: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    for word in range(len(starts)):
        shift = starts[word] - offsets[word]
        for place in range(offsets[word], offsets[word + 1]):
            out[place] = data[place + shift]


@compiled(FLAG, BYTES, INT, INT, INT, INT)
def _same(data: NDArray[np.uint8], start: Any, end: Any, other: Any, other_end: Any) -> Any:
    if end - start != other_end - other:
        return False
    for place in range(end - start):  # noqa: SIM110 (numba has no all())
        if data[np.uint64(start + place)] != data[np.uint64(other + place)]:
            return False
    return True


@compiled(NOTHING, IDS, INT, CODES_OUT)
def _fill(hashes: NDArray[np.uint64], distinct: Any, table: NDArray[np.int32]) -> None:
    """Put the codes of all known words into an empty table (0 is free, code + 1 is taken)."""
    mask = np.uint64(len(table) - 1)
    for code in range(distinct):
        slot = hashes[code] & mask
        while table[slot]:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = code + 1


@compiled(INT, BYTES, NUMBERS, FLAGS, WORD, WORD, CODES_OUT, NUMBERS_OUT, NUMBERS_OUT, NUMBERS_OUT)
def _find(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    in_words: NDArray[np.bool_],
    first: Any,
    second: Any,
    codes: NDArray[np.int32],
    code_offsets: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> Any:
    # Unsigned places spare the test for a negative index that numba makes otherwise.
    table = np.zeros(_FIRST_SIZE, np.int32)
    hashes = np.empty(_FIRST_SIZE, np.uint64)
    mask = np.uint64(len(table) - 1)
    found = np.uint64(0)
    distinct = np.int32(0)
    for row in range(len(offsets) - 1):
        place = np.uint64(offsets[row])
        stop = np.uint64(offsets[row + 1])
        while place < stop:
            if not in_words[data[place]]:
                place += np.uint64(1)
                continue
            start = place
            while place < stop and in_words[data[place]]:
                place += np.uint64(1)
            number = hash_bytes(data, np.int64(start), np.int64(place), first, second)
            slot = number & mask
            while table[slot] and not (
                hashes[np.uint64(table[slot] - 1)] == number
                and _same(data, starts[table[slot] - 1], ends[table[slot] - 1], start, place)
            ):
                slot = (slot + np.uint64(1)) & mask
            if not table[slot]:
                hashes[distinct], starts[distinct], ends[distinct] = number, start, place
                distinct += 1
                table[slot] = distinct
            codes[found] = table[slot] - 1
            found += np.uint64(1)
            if 2 * distinct > len(table):
                hashes = np.concatenate((hashes, hashes))
                table = np.zeros(len(hashes), np.int32)
                mask = np.uint64(len(table) - 1)
                _fill(hashes, distinct, table)
        code_offsets[row + 1] = found
    return distinct
