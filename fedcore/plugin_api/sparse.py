"""Sparse matrices from rows of codes: equal columns of a row merged, columns in rising order.

The rising order matters beyond tidiness: an order of first appearance would show the order of a row's tokens.
Importing this module loads its compiled kernel.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.compiled import (
    CODES,
    CODES_OUT,
    FLAG,
    FLOATS_OUT,
    INT,
    NUMBERS,
    NUMBERS_OUT,
    compiled,
    lowest_bit,
)
from fedcore.plugin_api.values import Matrix

Norm = Literal["none", "l2"]
"""How the values of a row are scaled: not at all, or so that their squares sum to 1."""


def matrix_of_codes(
    codes: NDArray[np.int32],
    offsets: NDArray[np.int64],
    columns_of: NDArray[np.int32],
    columns: int,
    norm: Norm = "none",
) -> Matrix:
    """Row `i` has, in column `c`, the number of its codes `k` with `columns_of[k] >> 1 == c`.

    A code whose `columns_of[k]` is odd counts as -1. Sums that are 0 are left out. `codes` are the rows'
    codes, row `i` being `codes[offsets[i]:offsets[i + 1]]`; `columns_of` is int32 of shape (distinct codes,).
    """
    # Only the columns that occur in the block get a sum, so that the kernel's arrays stay in the cache.
    used = np.zeros(columns, np.bool_)
    used[columns_of >> 1] = True
    names = np.flatnonzero(used).astype(np.int32)
    ranks = (np.cumsum(used, dtype=np.int32) - 1)[columns_of >> 1]
    indptr = np.zeros(len(offsets), np.int64)
    indices = np.empty(len(codes), np.int32)
    data = np.empty(len(codes), np.float32)
    entries = _merge(codes, offsets, ranks << 1 | columns_of & 1, names, norm == "l2", indptr, indices, data)
    # Shrinking in place gives the rest of the memory back without a copy.
    indices.resize(entries, refcheck=False)
    data.resize(entries, refcheck=False)
    return Matrix(indptr, indices, data, columns)


@compiled(INT, CODES, NUMBERS, CODES, CODES, FLAG, NUMBERS_OUT, CODES_OUT, FLOATS_OUT)
def _merge(
    codes: NDArray[np.int32],
    offsets: NDArray[np.int64],
    targets: NDArray[np.int32],
    names: NDArray[np.int32],
    unit_norm: bool,
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
) -> Any:
    # Columns go by their rank among `names` here. A row's columns are marked in a bitmap (`words`), and the words in
    # use in a bitmap of it (`groups`): so they come out in order without sorting, and only what was touched is
    # cleared. Places are unsigned, which spares the test for a negative index that numba makes otherwise.
    sums = np.zeros(len(names), np.int32)
    words = np.zeros((len(names) >> 6) + 1, np.uint64)
    groups = np.zeros((len(names) >> 12) + 1, np.uint64)
    entries = np.uint64(0)
    for row in range(len(offsets) - 1):
        begin = entries
        for place in range(np.uint64(offsets[row]), np.uint64(offsets[row + 1])):
            target = np.uint64(targets[np.uint64(codes[place])])
            column = target >> np.uint64(1)
            sums[column] += np.int32(1) - np.int32(2) * np.int32(target & np.uint64(1))
            words[column >> np.uint64(6)] |= np.uint64(1) << (column & np.uint64(63))
            groups[column >> np.uint64(12)] |= np.uint64(1) << ((column >> np.uint64(6)) & np.uint64(63))
        squares = 0.0
        for group in range(np.uint64(len(groups))):
            used = groups[group]
            groups[group] = 0
            while used:
                word = (group << np.uint64(6)) | lowest_bit(used)
                used &= used - np.uint64(1)
                marked = words[word]
                words[word] = 0
                while marked:
                    column = (word << np.uint64(6)) | lowest_bit(marked)
                    marked &= marked - np.uint64(1)
                    value = sums[column]
                    sums[column] = 0
                    if value != 0:
                        indices[entries] = names[column]
                        data[entries] = value
                        entries += np.uint64(1)
                        squares += np.float64(value) * value
        if unit_norm and squares > 0.0:
            scale = np.float32(1.0 / np.sqrt(squares))
            for place in range(begin, entries):
                data[place] *= scale
        indptr[row + 1] = entries
    return entries
