"""The inner loops of protocol `shared`, modulo 2^64, on matrices that are flat arrays, row by row.

Matrix-vector products of 64-bit integers are several times slower in numpy and torch than as a compiled loop that goes
once through both matrices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fedcore.plugin_api.compiled import IDS, IDS_OUT, INT, NOTHING, NUMBERS, compiled


@compiled(NOTHING, IDS, IDS, NUMBERS, INT, IDS, IDS, IDS_OUT)
def scores(first: Any, second: Any, rows: Any, width: int, by_first: Any, by_second: Any, out: Any) -> None:
    """out[i] = first[rows[i]] . by_first + second[rows[i]] . by_second, over as many columns as the vectors have."""
    columns = len(by_first)
    for place in range(len(rows)):
        start = rows[place] * width
        row, other = first[start : start + columns], second[start : start + columns]
        total = np.uint64(0)
        for column in range(columns):
            total += row[column] * by_first[column] + other[column] * by_second[column]
        out[place] = total


@compiled(NOTHING, IDS, IDS, NUMBERS, INT, IDS, IDS, IDS_OUT)
def gradient(first: Any, second: Any, rows: Any, width: int, by_first: Any, by_second: Any, out: Any) -> None:
    """out = sum over i of first[rows[i]] * by_first[i] + second[rows[i]] * by_second[i]."""
    columns = len(out)
    out[:] = np.uint64(0)
    for place in range(len(rows)):
        start = rows[place] * width
        row, other = first[start : start + columns], second[start : start + columns]
        factor, other_factor = by_first[place], by_second[place]
        for column in range(columns):
            out[column] += row[column] * factor + other[column] * other_factor


@compiled(NOTHING, IDS, INT, IDS, IDS_OUT)
def scores_of_one(matrix: Any, width: int, by: Any, out: Any) -> None:
    """out[i] = matrix[i] . by, over as many columns as `by` has."""
    columns = len(by)
    for place in range(len(out)):
        row = matrix[place * width : place * width + columns]
        total = np.uint64(0)
        for column in range(columns):
            total += row[column] * by[column]
        out[place] = total


@compiled(NOTHING, IDS, INT, IDS, IDS_OUT)
def gradient_of_one(matrix: Any, width: int, by: Any, out: Any) -> None:
    """out = sum over i of matrix[i] * by[i]."""
    columns = len(out)
    out[:] = np.uint64(0)
    for place in range(len(by)):
        row = matrix[place * width : place * width + columns]
        factor = by[place]
        for column in range(columns):
            out[column] += row[column] * factor


@compiled(NOTHING, IDS, IDS, IDS_OUT)
def rotated(table: Any, offsets: Any, out: Any) -> None:
    """Row i of `out` becomes the table moved on by offsets[i], less what the row held. The size is a power of two."""
    size = len(table)
    last = np.uint64(size - 1)
    for place in range(len(offsets)):
        start = place * size
        for entry in range(size):
            moved = (np.uint64(entry) - offsets[place]) & last
            out[start + entry] = table[np.int64(moved)] - out[start + entry]
