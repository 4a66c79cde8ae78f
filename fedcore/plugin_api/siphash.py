"""SipHash-2-4, a keyed 64-bit pseudorandom function for short messages, over all rows of a `Text` at once.

Aumasson and Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012. Without the 128-bit key the numbers
of different messages look random; whoever has the key can compute the number of any guess. Equal messages
always have equal numbers. Two different messages have the same number with probability 2**-64.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.compiled import BYTES, IDS_OUT, INT, NOTHING, NUMBERS, WORD, compiled, inlined
from fedcore.plugin_api.values import Text

KEY_BYTES: Final = 16


def siphash(text: Text, key: bytes) -> NDArray[np.uint64]:
    """The SipHash-2-4 of each row, uint64 of shape (rows,). Raises `ValueError` unless `key` has 16 bytes."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"A SipHash key has {KEY_BYTES} bytes, not {len(key)}.")
    first, second = np.frombuffer(key, "<u8")
    numbers = np.empty(len(text), np.uint64)
    _hash_rows(text.data, text.offsets, first, second, numbers)
    return numbers


@inlined
def _rotated(word: Any, bits: int) -> Any:
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))


@inlined
def _round(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v0 += v1
    v2 += v3
    v1 = _rotated(v1, 13) ^ v0
    v3 = _rotated(v3, 16) ^ v2
    v0 = _rotated(v0, 32)
    v2 += v1
    v0 += v3
    v1 = _rotated(v1, 17) ^ v2
    v3 = _rotated(v3, 21) ^ v0
    v2 = _rotated(v2, 32)
    return v0, v1, v2, v3


@compiled(WORD, BYTES, INT, INT)
def _word_at(data: NDArray[np.uint8], start: Any, length: Any) -> Any:
    """`length` bytes (0 to 8) as a little-endian word."""
    word = np.uint64(0)
    for place in range(length):
        word |= np.uint64(data[start + place]) << np.uint64(8 * place)
    return word


@compiled(WORD, BYTES, INT, INT, WORD, WORD)
def hash_bytes(data: NDArray[np.uint8], start: Any, end: Any, first: Any, second: Any) -> Any:
    """The SipHash-2-4 of `data[start:end]` as uint64; `first` and `second` are the key's halves. A kernel."""
    v0 = first ^ np.uint64(0x736F6D6570736575)
    v1 = second ^ np.uint64(0x646F72616E646F6D)
    v2 = first ^ np.uint64(0x6C7967656E657261)
    v3 = second ^ np.uint64(0x7465646279746573)
    length = end - start
    whole = length - (length & 7)
    for place in range(start, start + whole, 8):
        word = _word_at(data, place, 8)
        v0, v1, v2, v3 = _round(v0, v1, v2, v3 ^ word)
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
    word = _word_at(data, start + whole, length & 7) | (np.uint64(length & 255) << np.uint64(56))
    v0, v1, v2, v3 = _round(v0, v1, v2, v3 ^ word)
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 ^= word
    v2 ^= np.uint64(0xFF)
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


@compiled(NOTHING, BYTES, NUMBERS, WORD, WORD, IDS_OUT)
def _hash_rows(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    first: Any,
    second: Any,
    numbers: NDArray[np.uint64],
) -> None:
    for row in range(len(numbers)):
        numbers[row] = hash_bytes(data, offsets[row], offsets[row + 1], first, second)
