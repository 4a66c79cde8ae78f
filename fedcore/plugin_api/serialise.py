"""What leaves one process for another, as bytes: features with labels, models, summaries, fitted states.

Everything that is unpacked has been checked whole: form, dtypes, ranges, finite numbers. Bad bytes raise
`WireError` with `artefact_invalid`, NaN or infinity with `not_finite`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.arrays import invalid, pack_arrays, unpack_arrays
from fedcore.plugin_api.checks import (
    MAXIMUM_COLUMNS,
    check_features,
    check_finite,
    check_labels,
    check_summary,
)
from fedcore.plugin_api.models import LabelledRows, Parameters
from fedcore.plugin_api.steps import State, Summary
from fedcore.plugin_api.values import Features, Matrix, Sequence, ValueKind
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import PluginChoice

__all__ = [
    "StoredModel",
    "pack_arrays",
    "pack_features",
    "pack_model",
    "pack_state",
    "pack_summary",
    "unpack_arrays",
    "unpack_features",
    "unpack_model",
    "unpack_state",
    "unpack_summary",
]

MAXIMUM_CLASSES: Final = 64
_NARROW: Final = 2**16


@dataclass(frozen=True)
class StoredModel:
    """A trained model: its type and options, what it takes, and its parameters (float32 or float64).

    `columns` is the width of the features; `size` the size of the vocabulary for sequences, 0 for a matrix.
    """

    model: PluginChoice
    classes: int
    kind: ValueKind
    columns: int
    size: int
    parameters: Parameters


def pack_features(features: Features, labels: NDArray[np.int64]) -> bytes:
    """Features and one class number per row as bytes. Small numbers travel in fewer bytes."""
    if len(labels) != len(features):
        raise ValueError(f"{len(features)} rows of features need as many labels, not {len(labels)}.")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < MAXIMUM_CLASSES:
        raise ValueError(f"Labels are class numbers from 0 to {MAXIMUM_CLASSES - 1}.")
    arrays: dict[str, NDArray[Any]] = {"labels": labels.astype(np.uint8)}
    if isinstance(features, Matrix):
        arrays |= {
            "indptr": features.indptr.astype(np.int64),
            "indices": _narrowed(features.indices, features.columns),
            "data": features.data.astype(np.float32),
        }
        return pack_arrays(arrays, {"kind": ValueKind.MATRIX, "columns": str(features.columns)})
    arrays["ids"] = _narrowed(features.ids, features.size + 1)
    return pack_arrays(arrays, {"kind": ValueKind.SEQUENCE, "size": str(features.size)})


def unpack_features(data: bytes, classes: int) -> LabelledRows:
    """Features and labels from bytes: rows valid, no column twice in a row, finite, labels below `classes`."""
    arrays, texts = unpack_arrays(data)
    kind = texts.get("kind")
    if kind == ValueKind.MATRIX:
        _expect(arrays, labels="u1", indptr="i8", indices="u2 i4", data="f4")
        indices = arrays["indices"].astype(np.int32, copy=False)
        features: Features = Matrix(arrays["indptr"], indices, arrays["data"], _number(texts, "columns"))
    elif kind == ValueKind.SEQUENCE:
        _expect(arrays, labels="u1", ids="u2 i4")
        features = Sequence(arrays["ids"].astype(np.int32, copy=False), _number(texts, "size"))
    else:
        raise invalid("features are neither a matrix nor a sequence")
    rows = LabelledRows(features, arrays["labels"].astype(np.int64))
    check_features(rows.features)
    check_labels(rows, classes)
    return rows


def pack_model(stored: StoredModel) -> bytes:
    """A model as bytes: its parameters as arrays, everything else as texts."""
    texts = {
        "model": stored.model.encode(),
        "classes": str(stored.classes),
        "kind": str(stored.kind),
        "columns": str(stored.columns),
        "size": str(stored.size),
    }
    return pack_arrays(stored.parameters, texts)


def unpack_model(data: bytes) -> StoredModel:
    """A model from bytes. Whether the parameters fit the model type is checked by the model type."""
    arrays, texts = unpack_arrays(data)
    if any(array.dtype.kind != "f" for array in arrays.values()):
        raise invalid("a parameter is neither float32 nor float64")
    check_finite(arrays)
    try:
        model = PluginChoice.parse(texts.get("model", ""))
        kind = ValueKind(texts.get("kind", ""))
    except (WireError, ValueError):
        raise invalid("the model's description is unreadable") from None
    classes = _number(texts, "classes")
    if not 2 <= classes <= MAXIMUM_CLASSES:
        raise invalid(f"{classes} classes")
    return StoredModel(model, classes, kind, _number(texts, "columns"), _number(texts, "size"), arrays)


def pack_summary(summary: Summary) -> bytes:
    """A summary as bytes."""
    return pack_arrays({"keys": summary.keys, "counts": summary.counts}, {})


def unpack_summary(data: bytes) -> Summary:
    """A summary from bytes: distinct keys, and as many counts, none negative."""
    arrays, _ = unpack_arrays(data)
    _expect(arrays, keys="u8", counts="i8")
    summary = Summary(arrays["keys"], arrays["counts"])
    check_summary(summary)
    return summary


def pack_state(state: State) -> bytes:
    """A fitted step's state as bytes."""
    return pack_arrays(state, {})


def unpack_state(data: bytes) -> State:
    """A fitted step's state from bytes; what the arrays mean is the step's own to check."""
    arrays, _ = unpack_arrays(data)
    check_finite(arrays)
    return arrays


def _narrowed(numbers: NDArray[np.int32], bound: int) -> NDArray[Any]:
    return numbers.astype(np.uint16 if bound <= _NARROW else np.int32)


def _expect(arrays: Mapping[str, NDArray[Any]], **dtypes: str) -> None:
    if set(arrays) != set(dtypes):
        raise invalid(f"arrays {sorted(arrays)[:8]}, expected {sorted(dtypes)}")
    for name, allowed in dtypes.items():
        if arrays[name].dtype.str[1:] not in allowed.split():
            raise invalid(f"array {name} has dtype {arrays[name].dtype}")


def _number(texts: Mapping[str, str], name: str) -> int:
    text = texts.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 8 and int(text) <= MAXIMUM_COLUMNS):
        raise invalid(f"{name} is no usable number")
    return int(text)
