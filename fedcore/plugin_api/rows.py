"""Any value row by row, as plain Python: slow and obviously right, for tests and for looking at data."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.values import (
    Indices,
    Matrix,
    Pseudonyms,
    Records,
    Sequence,
    Text,
    Tokens,
    Value,
    ValueKind,
)


def rows_of(value: Value) -> list[Any]:
    """The rows: bytes (text), tuples of spellings (tokens) or numbers, dicts (records), column to number (matrix)."""
    if isinstance(value, Text):
        return list(value)
    if isinstance(value, Records):
        names, columns = list(value.columns), [list(column) for column in value.columns.values()]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if isinstance(value, Tokens):
        spellings = list(value.spellings)
        return [tuple(spellings[code] for code in row) for row in _ragged(value.codes, value.offsets)]
    if isinstance(value, Pseudonyms):
        return [tuple(int(value.ids[code]) for code in row) for row in _ragged(value.codes, value.offsets)]
    if isinstance(value, Indices):
        return [tuple(map(int, row)) for row in _ragged(value.numbers, value.offsets)]
    if isinstance(value, Sequence):
        return [tuple(map(int, row)) for row in value.ids]
    columns_of = _ragged(value.indices, value.indptr)
    numbers_of = _ragged(value.data, value.indptr)
    return [
        dict(zip(map(int, columns), map(float, numbers), strict=True))
        for columns, numbers in zip(columns_of, numbers_of, strict=True)
    ]


def values_like(kind: ValueKind, rows: SequenceOf[Any], size: int = 0) -> Value:
    """The value of a kind from rows as `rows_of` gives them (records and text, tokens, pseudonyms, indices).

    `size` is the vocabulary's, for indices.
    """
    if kind is ValueKind.TEXT:
        return Text.from_rows(rows)
    if kind is ValueKind.RECORDS:
        return Records({name: Text.from_rows([row[name] for row in rows]) for name in rows[0]})
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    flat = [entry for row in rows for entry in row]
    if kind is ValueKind.INDICES:
        return Indices(np.array(flat, np.int32), offsets, size)
    distinct = {entry: code for code, entry in enumerate(dict.fromkeys(flat))}
    codes = np.array([distinct[entry] for entry in flat], np.int32)
    if kind is ValueKind.TOKENS:
        return Tokens(codes, offsets, Text.from_rows(distinct))
    if kind is ValueKind.PSEUDONYMS:
        return Pseudonyms(codes, offsets, np.array(list(distinct), np.uint64))
    raise ValueError(f"Rows of kind {kind} are made by their class, not here.")


def take_rows(value: Value, numbers: NDArray[Any]) -> Value:
    """The rows with these numbers, as a value of the same kind."""
    if isinstance(value, Text | Records | Sequence | Matrix):
        return value.take(numbers)
    rows = rows_of(value)
    taken = [rows[number] for number in numbers]
    if isinstance(value, Indices):
        return values_like(ValueKind.INDICES, taken, value.size)
    return values_like(ValueKind.TOKENS if isinstance(value, Tokens) else ValueKind.PSEUDONYMS, taken)


def _ragged(flat: NDArray[Any], offsets: NDArray[np.int64]) -> list[NDArray[Any]]:
    return [flat[start:end] for start, end in pairwise(offsets)]
