"""One pass over the text that looks every piece up in a table with a place for each possible piece.

The tables (2**8, 2**16 and 2**24 places of int32) are kept for the thread's next block; a pass clears the places
that it used. A page of the large table takes memory only once a piece that lies in it has occurred.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api import Text, Tokens
from fedcore.plugin_api.compiled import (
    BYTES,
    BYTES_OUT,
    CODES,
    CODES_OUT,
    INT,
    NOTHING,
    NUMBERS,
    NUMBERS_OUT,
    compiled,
)

_ALL_PIECES: Final = (1 << 8) + (1 << 16) + (1 << 24)
_ONE: Final = np.uint64(0xFF)
_TWO: Final = np.uint64(0xFFFF)
_THREE: Final = np.uint64(0xFFFFFF)


class _Tables(threading.local):
    """Code + 1 of each piece of one, two and three bytes; 0 for those that have not occurred in this pass."""

    def __init__(self) -> None:
        self.ones = np.zeros(1 << 8, np.int32)
        self.twos = np.zeros(1 << 16, np.int32)
        self.threes = np.zeros(1 << 24, np.int32)


_TABLES: Final = _Tables()


def ngrams_of(text: Text, minimum: int, maximum: int) -> Tokens:
    """The pieces of `minimum` to `maximum` (1 to 3) bytes of each row."""
    lengths = np.diff(text.offsets)
    most = int(sum(np.maximum(lengths - size + 1, 0).sum() for size in range(minimum, maximum + 1)))
    codes, offsets = np.empty(most, np.int32), np.zeros_like(text.offsets)
    pieces = np.empty(min(most, _ALL_PIECES), np.int32)
    tables = (_TABLES.ones, _TABLES.twos, _TABLES.threes)
    distinct = _find(text.data, text.offsets, minimum, maximum, *tables, codes, offsets, pieces)
    return Tokens(codes, offsets, _spellings(pieces[:distinct]))


def _spellings(pieces: NDArray[np.int32]) -> Text:
    offsets = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum(pieces >> 24, out=offsets[1:])
    data = np.empty(int(offsets[-1]), np.uint8)
    _spell(pieces, offsets, data)
    return Text(data, offsets)


@compiled(NOTHING, CODES, NUMBERS, BYTES_OUT)
def _spell(pieces: NDArray[np.int32], offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> None:
    for number in range(len(pieces)):
        last = offsets[number + 1] - 1
        for place in range(offsets[number], last + 1):
            data[place] = np.uint8((pieces[number] >> (8 * (last - place))) & 255)


@compiled(NOTHING, CODES, INT, CODES_OUT, CODES_OUT, CODES_OUT)
def _clear(
    pieces: NDArray[np.int32],
    distinct: Any,
    ones: NDArray[np.int32],
    twos: NDArray[np.int32],
    threes: NDArray[np.int32],
) -> None:
    for number in range(distinct):
        size = pieces[number] >> 24
        piece = pieces[number] & 0xFFFFFF
        if size == 1:
            ones[piece] = 0
        elif size == 2:
            twos[piece] = 0
        else:
            threes[piece] = 0


@compiled(INT, BYTES, NUMBERS, INT, INT, CODES_OUT, CODES_OUT, CODES_OUT, CODES_OUT, NUMBERS_OUT, CODES_OUT)
def _find(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    minimum: int,
    maximum: int,
    ones: NDArray[np.int32],
    twos: NDArray[np.int32],
    threes: NDArray[np.int32],
    codes: NDArray[np.int32],
    code_offsets: NDArray[np.int64],
    pieces: NDArray[np.int32],
) -> Any:
    """Codes of all pieces; `pieces` has size * 2**24 + bytes of each distinct one. Returns how many there are."""
    # Unsigned places spare the test for a negative index that numba makes otherwise.
    found = np.uint64(0)
    distinct = np.int32(0)
    for row in range(len(offsets) - 1):
        recent = np.uint64(0)
        for size_here in range(offsets[row + 1] - offsets[row]):
            recent = (
                (recent << np.uint64(8)) | np.uint64(data[np.uint64(offsets[row] + size_here)])
            ) & _THREE
            if minimum == 1:
                piece = recent & _ONE
                if ones[piece] == 0:
                    pieces[distinct] = piece | np.uint64(1 << 24)
                    distinct += 1
                    ones[piece] = distinct
                codes[found] = ones[piece] - 1
                found += np.uint64(1)
            if minimum <= 2 <= maximum and size_here > 0:
                piece = recent & _TWO
                if twos[piece] == 0:
                    pieces[distinct] = piece | np.uint64(2 << 24)
                    distinct += 1
                    twos[piece] = distinct
                codes[found] = twos[piece] - 1
                found += np.uint64(1)
            if maximum == 3 and size_here > 1:
                if threes[recent] == 0:
                    pieces[distinct] = recent | np.uint64(3 << 24)
                    distinct += 1
                    threes[recent] = distinct
                codes[found] = threes[recent] - 1
                found += np.uint64(1)
        code_offsets[row + 1] = found
    _clear(pieces, distinct, ones, twos, threes)
    return distinct
