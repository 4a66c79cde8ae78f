"""Where the fields of Apache's log lines begin and end, and their text with Apache's escapes undone.

Apache writes `\\"` for a quote, `\\\\` for a backslash, `\\n` and the like for controls, and `\\xhh` for other
bytes (mod_log_config), so a quote without a backslash before it always ends a field.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api import Text
from fedcore.plugin_api.compiled import (
    BYTES,
    BYTES_OUT,
    FLAG,
    INT,
    NUMBERS,
    NUMBERS_OUT,
    compiled,
)

FIELDS: Final = (
    "host",
    "user",
    "time",
    "method",
    "target",
    "protocol",
    "status",
    "size",
    "referrer",
    "agent",
    "label",
)
NO_LABEL, NEEDS_LABEL, MAY_HAVE_LABEL = 0, 1, 2

_FIELD_COUNT: Final = len(FIELDS)
_HOST, _USER, _TIME, _METHOD, _TARGET, _PROTOCOL, _STATUS, _SIZE, _REFERRER, _AGENT, _LABEL = range(
    _FIELD_COUNT
)
_SPACE, _QUOTE, _BACKSLASH, _DASH = 32, 34, 92, 45


class ParsedLines:
    """The fields of some lines; `well_formed` is bool of shape (lines,)."""

    def __init__(self, rows: Text, combined: bool, label: Any) -> None:
        """Parse the lines as common or combined log format; `label` is one of the three constants."""
        self._data = rows.data
        bounds = np.zeros(len(rows) * 2 * _FIELD_COUNT, np.int64)
        _parse_lines(rows.data, rows.offsets, combined, label, bounds)
        self._bounds = bounds.reshape(len(rows), _FIELD_COUNT, 2)
        self.well_formed: NDArray[np.bool_] = self._bounds[:, _HOST, 1] > 0

    def column(self, name: str) -> Text:
        """The field of every well-formed line, with escapes undone."""
        bounds = self._bounds[self.well_formed, FIELDS.index(name)]
        starts, ends = np.ascontiguousarray(bounds[:, 0]), np.ascontiguousarray(bounds[:, 1])
        data = np.empty(int((ends - starts).sum()), np.uint8)
        offsets = np.zeros(len(starts) + 1, np.int64)
        length = _unescape(self._data, starts, ends, data, offsets)
        return Text(data[:length], offsets)


@compiled(INT, BYTES, INT, INT, INT)
def _find(data: NDArray[np.uint8], place: Any, end: Any, byte: Any) -> Any:
    """The place of the next `byte`, or -1."""
    while place < end:
        if data[place] == byte:
            return place
        place += 1
    return -1


@compiled(INT, BYTES, INT, INT, INT, NUMBERS_OUT)
def _quoted(data: NDArray[np.uint8], place: Any, end: Any, field: Any, bounds: NDArray[np.int64]) -> Any:
    """Note a quoted field that begins at `place`; the place after it, or -1."""
    if place < 0 or place >= end or data[place] != _QUOTE:
        return -1
    bounds[2 * field] = place + 1
    place += 1
    while place < end:
        if data[place] == _QUOTE:
            bounds[2 * field + 1] = place
            return place + 1
        place += 2 if data[place] == _BACKSLASH else 1
    return -1


@compiled(INT, BYTES, INT, INT, NUMBERS_OUT)
def _who_and_when(data: NDArray[np.uint8], start: Any, end: Any, bounds: NDArray[np.int64]) -> Any:
    """Note host, user and time; the place of the request's quote, or -1."""
    space = _find(data, start, end, _SPACE)
    if space <= start:
        return -1
    bounds[2 * _HOST], bounds[2 * _HOST + 1] = start, space
    user = _find(data, space + 1, end, _SPACE) + 1
    if user == 0:
        return -1
    # A user's name may have spaces in it: it ends before the bracket of the time.
    bracket = _find(data, user, end, 91)
    while bracket > 0 and data[bracket - 1] != _SPACE:
        bracket = _find(data, bracket + 1, end, 91)
    if bracket <= user:
        return -1
    bounds[2 * _USER], bounds[2 * _USER + 1] = user, bracket - 1
    closing = _find(data, bracket, end, 93)
    if closing < 0 or closing + 2 >= end or data[closing + 1] != _SPACE:
        return -1
    bounds[2 * _TIME], bounds[2 * _TIME + 1] = bracket + 1, closing
    return closing + 2


@compiled(FLAG, BYTES, INT, INT)
def _is_protocol(data: NDArray[np.uint8], start: Any, end: Any) -> Any:
    """Whether the text begins with `HTTP/`."""
    return (
        end - start > 5
        and data[start] == 72
        and data[start + 1] == 84
        and data[start + 2] == 84
        and data[start + 3] == 80
        and data[start + 4] == 47
    )


@compiled(INT, BYTES, NUMBERS_OUT)
def _split_request(data: NDArray[np.uint8], bounds: NDArray[np.int64]) -> Any:
    """Cut the request noted as target into method, target and protocol, as far as it has them."""
    start, end = bounds[2 * _TARGET], bounds[2 * _TARGET + 1]
    bounds[2 * _METHOD], bounds[2 * _METHOD + 1] = start, start
    bounds[2 * _PROTOCOL], bounds[2 * _PROTOCOL + 1] = end, end
    space = start
    while space < end and 65 <= data[space] <= 90:
        space += 1
    if space == start or space >= end or data[space] != _SPACE:
        return start
    bounds[2 * _METHOD + 1] = space
    bounds[2 * _TARGET] = space + 1
    last = end - 1
    while data[last] != _SPACE:
        last -= 1
    if last > space and _is_protocol(data, last + 1, end):
        bounds[2 * _PROTOCOL] = last + 1
        bounds[2 * _TARGET + 1] = last
    return space + 1


@compiled(INT, BYTES, INT, INT, NUMBERS_OUT)
def _status_and_size(data: NDArray[np.uint8], place: Any, end: Any, bounds: NDArray[np.int64]) -> Any:
    """Note the status (three digits) and size (digits or a dash); the place after them, or -1."""
    if place < 0 or place + 5 >= end or data[place] != _SPACE or data[place + 4] != _SPACE:
        return -1
    for digit in range(place + 1, place + 4):
        if not 48 <= data[digit] <= 57:
            return -1
    bounds[2 * _STATUS], bounds[2 * _STATUS + 1] = place + 1, place + 4
    start = place + 5
    stop = start
    while stop < end and 48 <= data[stop] <= 57:
        stop += 1
    if stop == start and data[start] == _DASH:
        stop += 1
    bounds[2 * _SIZE], bounds[2 * _SIZE + 1] = start, stop
    return stop if stop > start else -1


@compiled(INT, BYTES, INT, INT, INT, NUMBERS_OUT)
def _next_quoted(data: NDArray[np.uint8], place: Any, end: Any, field: Any, bounds: NDArray[np.int64]) -> Any:
    """Note a quoted field after one space; the place after it, or -1."""
    if place < 0 or place >= end or data[place] != _SPACE:
        return -1
    return _quoted(data, place + 1, end, field, bounds)


@compiled(INT, BYTES, NUMBERS, FLAG, INT, NUMBERS_OUT)
def _parse_lines(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    combined: bool,
    label: Any,
    all_bounds: NDArray[np.int64],
) -> Any:
    """Note the fields' bounds line by line; a malformed line has 0 as its host's end. Returns how many are well."""
    well = 0
    for row in range(len(offsets) - 1):
        bounds = all_bounds[row * 2 * _FIELD_COUNT : (row + 1) * 2 * _FIELD_COUNT]
        end = offsets[row + 1]
        place = _who_and_when(data, offsets[row], end, bounds)
        place = _quoted(data, place, end, _TARGET, bounds)
        if place >= 0:
            _split_request(data, bounds)
        place = _status_and_size(data, place, end, bounds)
        if combined:
            place = _next_quoted(data, place, end, _REFERRER, bounds)
            place = _next_quoted(data, place, end, _AGENT, bounds)
        if label == NEEDS_LABEL or (label == MAY_HAVE_LABEL and place != end):
            place = _next_quoted(data, place, end, _LABEL, bounds)
        if place == end:
            well += 1
        else:
            bounds[2 * _HOST + 1] = 0
    return well


@compiled(INT, INT)
def _hex_value(byte: Any) -> Any:
    if 48 <= byte <= 57:
        return byte - 48
    if 97 <= byte <= 102:
        return byte - 87
    if 65 <= byte <= 70:
        return byte - 55
    return -1


@compiled(INT, INT)
def _control(letter: Any) -> Any:
    """What a backslash and this letter stand for, or the letter itself."""
    if letter == 110:
        return 10
    if letter == 114:
        return 13
    if letter == 116:
        return 9
    if letter == 98:
        return 8
    if letter == 118:
        return 11
    if letter == 102:
        return 12
    return letter


@compiled(INT, BYTES, NUMBERS, NUMBERS, BYTES_OUT, NUMBERS_OUT)
def _unescape(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    out: NDArray[np.uint8],
    offsets: NDArray[np.int64],
) -> Any:
    length = 0
    for row in range(len(starts)):
        place = starts[row]
        end = ends[row]
        while place < end:
            byte = np.int64(data[place])
            if byte == _BACKSLASH and place + 1 < end:
                place += 1
                byte = np.int64(data[place])
                high = low = -1
                if byte == 120 and place + 2 < end:
                    high = _hex_value(np.int64(data[place + 1]))
                    low = _hex_value(np.int64(data[place + 2]))
                if high >= 0 and low >= 0:
                    byte = np.int64(high * 16 + low)
                    place += 2
                else:
                    byte = _control(byte)
            out[length] = byte
            length += 1
            place += 1
        offsets[row + 1] = length
    return length
