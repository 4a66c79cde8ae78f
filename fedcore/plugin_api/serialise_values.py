"""Any value of a pipeline as named arrays and texts, and back, with every check that its kind allows.

What is unpacked may come from code that nobody trusts: kind, dtypes, shapes, offsets and ranges are checked before
a value exists, so that what reads it later can rely on them. Bad arrays raise `WireError` (`artefact_invalid`), NaN
or infinity `not_finite`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.arrays import invalid
from fedcore.plugin_api.checks import check_features
from fedcore.plugin_api.values import (
    KIND_OF,
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

Arrays = Mapping[str, NDArray[Any]]

_MOST_COLUMNS: Final = 256
_MOST_NUMBERS: Final = 2**24
_SEPARATOR: Final = "\n"
_DTYPES: Final = {
    ValueKind.TEXT: {"data": "u1", "offsets": "i8"},
    ValueKind.TOKENS: {"codes": "i4", "offsets": "i8", "spellings": "u1", "spelt": "i8"},
    ValueKind.PSEUDONYMS: {"codes": "i4", "offsets": "i8", "ids": "u8"},
    ValueKind.INDICES: {"numbers": "i4", "offsets": "i8"},
    ValueKind.SEQUENCE: {"ids": "i4"},
    ValueKind.MATRIX: {"indptr": "i8", "indices": "i4", "data": "f4"},
}


def value_arrays(value: Value) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays and texts that make up a value; `kind` is among the texts."""
    texts = {"kind": str(KIND_OF[type(value)])}
    arrays: dict[str, NDArray[Any]]
    match value:
        case Text():
            return {"data": value.data, "offsets": value.offsets}, texts
        case Records():
            return _record_arrays(value), {**texts, "columns": _SEPARATOR.join(value.columns)}
        case Tokens():
            arrays = {"codes": value.codes, "offsets": value.offsets, "spellings": value.spellings.data}
            return {**arrays, "spelt": value.spellings.offsets}, texts
        case Pseudonyms():
            return {"codes": value.codes, "offsets": value.offsets, "ids": value.ids}, texts
        case Indices():
            return {"numbers": value.numbers, "offsets": value.offsets}, {**texts, "size": str(value.size)}
        case Sequence():
            return {"ids": value.ids}, {**texts, "size": str(value.size)}
        case Matrix():
            arrays = {"indptr": value.indptr, "indices": value.indices, "data": value.data}
            return arrays, {**texts, "size": str(value.columns)}


def value_of(arrays: Arrays, texts: Mapping[str, str]) -> Value:
    """The value of these arrays and texts. Raises `WireError` unless it is valid as its class says."""
    try:
        kind = ValueKind(texts.get("kind", ""))
    except ValueError:
        raise invalid("a value of a kind that does not exist") from None
    if kind is ValueKind.RECORDS:
        return _records(arrays, texts)
    _expect(arrays, _DTYPES[kind])
    match kind:
        case ValueKind.TEXT:
            return _text(arrays["data"], arrays["offsets"])
        case ValueKind.TOKENS:
            spellings = _text(arrays["spellings"], arrays["spelt"])
            _check_codes(arrays["codes"], arrays["offsets"], len(spellings))
            return Tokens(arrays["codes"], arrays["offsets"], spellings)
        case ValueKind.PSEUDONYMS:
            _check_codes(arrays["codes"], arrays["offsets"], len(arrays["ids"]))
            return Pseudonyms(arrays["codes"], arrays["offsets"], _flat(arrays["ids"]))
        case ValueKind.INDICES:
            numbers, size = arrays["numbers"], _size(texts)
            _check_offsets(arrays["offsets"], len(_flat(numbers)))
            _check_range(numbers, 1, size)
            return Indices(numbers, arrays["offsets"], size)
        case ValueKind.SEQUENCE:
            features: Sequence | Matrix = Sequence(arrays["ids"], _size(texts))
        case _:
            features = Matrix(arrays["indptr"], arrays["indices"], arrays["data"], _size(texts))
    check_features(features)
    return features


def _record_arrays(records: Records) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for place, column in enumerate(records.columns.values()):
        arrays |= {f"data.{place}": column.data, f"offsets.{place}": column.offsets}
    return arrays if records.labels is None else {**arrays, "labels": records.labels}


def _records(arrays: Arrays, texts: Mapping[str, str]) -> Records:
    names = texts.get("columns", "").split(_SEPARATOR)
    if not 1 <= len(names) <= _MOST_COLUMNS or len(set(names)) != len(names):
        raise invalid("records whose columns have no names of their own")
    dtypes = {f"data.{place}": "u1" for place in range(len(names))}
    dtypes |= {f"offsets.{place}": "i8" for place in range(len(names))}
    _expect(arrays, dtypes | ({"labels": "i8"} if "labels" in arrays else {}))
    columns = {
        name: _text(arrays[f"data.{place}"], arrays[f"offsets.{place}"]) for place, name in enumerate(names)
    }
    labels = arrays.get("labels")
    lengths = {len(column) for column in columns.values()}
    lengths |= set() if labels is None else {len(_flat(labels))}
    if len(lengths) != 1:
        raise invalid("records whose columns or labels differ in their number of rows")
    return Records(columns, labels)


def _text(data: NDArray[Any], offsets: NDArray[Any]) -> Text:
    _check_offsets(offsets, len(_flat(data)))
    return Text(data, offsets)


def _check_codes(codes: NDArray[Any], offsets: NDArray[Any], distinct: int) -> None:
    """Codes count up in the order of first appearance, and none is left out: nothing hides in a spare entry."""
    _check_offsets(offsets, len(_flat(codes)))
    highest = np.maximum.accumulate(codes, dtype=np.int64) if len(codes) else np.empty(0, np.int64)
    before = np.concatenate([np.array([-1], np.int64), highest[:-1]])[: len(codes)]
    counts_up = not len(codes) or (int(codes.min()) >= 0 and bool((codes <= before + 1).all()))
    if not counts_up or (int(highest[-1]) + 1 if len(codes) else 0) != distinct:
        raise invalid("tokens whose codes do not count up in the order of their first appearance")


def _check_offsets(offsets: NDArray[Any], end: int) -> None:
    flat = _flat(offsets)
    if not len(flat) or int(flat[0]) != 0 or int(flat[-1]) != end or bool((flat[1:] < flat[:-1]).any()):
        raise invalid("rows that do not follow one another")


def _check_range(numbers: NDArray[Any], least: int, most: int) -> None:
    if len(numbers) and not least <= int(numbers.min()) <= int(numbers.max()) <= most:
        raise invalid(f"numbers outside {least}..{most}")


def _flat(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim != 1:
        raise invalid(f"an array of shape {array.shape} where one dimension is due")
    return array


def _size(texts: Mapping[str, str]) -> int:
    text = texts.get("size", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 8 and int(text) <= _MOST_NUMBERS):
        raise invalid("a size that is no usable number")
    return int(text)


def _expect(arrays: Arrays, dtypes: Mapping[str, str]) -> None:
    if set(arrays) != set(dtypes):
        raise invalid(f"arrays {sorted(arrays)[:8]}, expected {sorted(dtypes)[:8]}")
    for name, dtype in dtypes.items():
        if arrays[name].dtype.str[1:] != dtype:
            raise invalid(f"array {name} has dtype {arrays[name].dtype}, not {dtype}")
