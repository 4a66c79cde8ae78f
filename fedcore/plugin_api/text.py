"""Passes over rows of bytes that several steps share. Bytes from 0x80 on are kept as they are everywhere.

Importing this module loads its compiled kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.compiled import (
    BYTES,
    BYTES_OUT,
    FLAG,
    FLAGS,
    INT,
    NUMBERS,
    NUMBERS_OUT,
    compiled,
    inlined,
)
from fedcore.plugin_api.values import Text

_UPPER = np.uint8(ord("A"))
_TO_LOWER = np.uint8(32)


def lowered(text: Text) -> Text:
    """The ASCII letters A to Z as a to z."""
    upper = (text.data - _UPPER) < 26
    return Text(text.data + upper * _TO_LOWER, text.offsets)


def mapped(text: Text, table: NDArray[np.uint8]) -> Text:
    """Each byte `b` as `table[b]`; `table` is uint8 of shape (256,)."""
    return Text(np.take(table, text.data), text.offsets)


def without(text: Text, dropped: NDArray[np.bool_]) -> Text:
    """The rows without the bytes `b` where `dropped[b]`; `dropped` is bool of shape (256,)."""
    data = np.empty_like(text.data)
    offsets = np.zeros_like(text.offsets)
    length = _without(text.data, text.offsets, dropped, data, offsets)
    return Text(data[:length], offsets)


def url_decoded(text: Text, times: int = 1, plus: bool = False) -> Text:
    """Percent escapes (RFC 3986) as the bytes that they stand for, `times` times over.

    What is no escape, such as `%zz`, stays as it is. With `plus`, `+` is a space (as forms write it), in the
    first pass only.
    """
    for place in range(times):
        decoded = _decode_once(text, plus and place == 0)
        if len(decoded.data) == len(text.data) and place > 0:
            break
        text = decoded
    return text


def digits_as_one(text: Text) -> Text:
    """Each run of the digits 0 to 9 as the one digit 0."""
    data = np.empty_like(text.data)
    offsets = np.zeros_like(text.offsets)
    length = _digits_as_one(text.data, text.offsets, data, offsets)
    return Text(data[:length], offsets)


def joined(columns: list[Text], separator: bytes) -> Text:
    """The rows of several columns of one length side by side, with `separator` between them."""
    if len(columns) == 1:
        return columns[0]
    gap = np.frombuffer(separator, np.uint8)
    offsets = sum(column.offsets for column in columns[1:]) + columns[0].offsets
    offsets = offsets + np.arange(len(offsets), dtype=np.int64) * (len(gap) * (len(columns) - 1))
    data = np.empty(int(offsets[-1]), np.uint8)
    starts = offsets[:-1].copy()
    for place, column in enumerate(columns):
        if place:
            _place_gap(gap, data, starts)
        _place_rows(column.data, column.offsets, data, starts)
    return Text(data, offsets)


def _decode_once(text: Text, plus: bool) -> Text:
    data = np.empty_like(text.data)
    offsets = np.zeros_like(text.offsets)
    length = _url_decode(text.data, text.offsets, plus, data, offsets)
    return Text(data[:length], offsets)


@compiled(INT, BYTES, NUMBERS, FLAGS, BYTES_OUT, NUMBERS_OUT)
def _without(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    dropped: NDArray[np.bool_],
    out: NDArray[np.uint8],
    out_offsets: NDArray[np.int64],
) -> Any:
    length = 0
    for row in range(len(offsets) - 1):
        for place in range(offsets[row], offsets[row + 1]):
            if not dropped[data[place]]:
                out[length] = data[place]
                length += 1
        out_offsets[row + 1] = length
    return length


@inlined
def _hex_value(byte: Any) -> Any:
    value = -1
    if 48 <= byte <= 57:
        value = byte - 48
    elif 65 <= byte <= 70:
        value = byte - 55
    elif 97 <= byte <= 102:
        value = byte - 87
    return value


@compiled(INT, BYTES, NUMBERS, FLAG, BYTES_OUT, NUMBERS_OUT)
def _url_decode(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    plus: bool,
    out: NDArray[np.uint8],
    out_offsets: NDArray[np.int64],
) -> Any:
    length = 0
    for row in range(len(offsets) - 1):
        place = offsets[row]
        end = offsets[row + 1]
        while place < end:
            byte = data[place]
            if byte == 37 and place + 2 < end:
                high = _hex_value(np.int64(data[place + 1]))
                low = _hex_value(np.int64(data[place + 2]))
                if high >= 0 and low >= 0:
                    byte = np.uint8(high * 16 + low)
                    place += 2
            elif byte == 43 and plus:
                byte = np.uint8(32)
            out[length] = byte
            length += 1
            place += 1
        out_offsets[row + 1] = length
    return length


@compiled(INT, BYTES, NUMBERS, BYTES_OUT, NUMBERS_OUT)
def _digits_as_one(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    out: NDArray[np.uint8],
    out_offsets: NDArray[np.int64],
) -> Any:
    length = 0
    for row in range(len(offsets) - 1):
        in_run = False
        for place in range(offsets[row], offsets[row + 1]):
            digit = 48 <= data[place] <= 57
            if not (digit and in_run):
                out[length] = np.uint8(48) if digit else data[place]
                length += 1
            in_run = digit
        out_offsets[row + 1] = length
    return length


@compiled(INT, BYTES, NUMBERS, BYTES_OUT, NUMBERS_OUT)
def _place_rows(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    out: NDArray[np.uint8],
    starts: NDArray[np.int64],
) -> Any:
    for row in range(len(starts)):
        length = offsets[row + 1] - offsets[row]
        out[starts[row] : starts[row] + length] = data[offsets[row] : offsets[row + 1]]
        starts[row] += length
    return len(starts)


@compiled(INT, BYTES, BYTES_OUT, NUMBERS_OUT)
def _place_gap(gap: NDArray[np.uint8], out: NDArray[np.uint8], starts: NDArray[np.int64]) -> Any:
    for row in range(len(starts)):
        out[starts[row] : starts[row] + len(gap)] = gap
        starts[row] += len(gap)
    return len(starts)
