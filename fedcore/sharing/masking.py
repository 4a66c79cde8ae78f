"""An owner's side: rows in fixed point, masked once for the whole run.

Who can see what: see `fedcore.sharing`. The masked matrix is for both compute owners, each key for one of them, both
keys for the dealer. The label is one more column, so that it is shared as the features are.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.arrays import invalid, pack_arrays, unpack_arrays
from fedcore.plugin_api.checks import check_finite
from fedcore.plugin_api.ciphers import out_of_range
from fedcore.plugin_api.models import LabelledRows
from fedcore.plugin_api.ring import RingVector
from fedcore.plugin_api.values import Matrix
from fedcore.sharing.streams import Words
from fedcore.wire.sealing import KEY_BYTES, derive

MASKED: Final = "masked"


@dataclass(frozen=True)
class MaskKeys:
    """The two keys that mask one part of an owner's rows: the first compute owner's, and the second's.

    Raises `WireError` (`artefact_invalid`) for keys of another size.
    """

    first: bytes = field(repr=False)
    second: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.first) != KEY_BYTES or len(self.second) != KEY_BYTES:
            raise invalid(f"the keys of masked rows have {KEY_BYTES} bytes each")

    @classmethod
    def of_part(cls, secret: bytes, part: int) -> Self:
        """From an owner's secret for the run: the same whenever the same part is masked again."""
        if len(secret) != KEY_BYTES:
            raise ValueError(f"An owner's secret for a run has {KEY_BYTES} bytes.")
        return cls(derive(secret, f"shared/rows/0/{part}"), derive(secret, f"shared/rows/1/{part}"))

    @classmethod
    def fresh(cls) -> Self:
        return cls(os.urandom(KEY_BYTES), os.urandom(KEY_BYTES))

    def of_side(self, side: int) -> bytes:
        return (self.first, self.second)[side]


def mask_rows(rows: LabelledRows, keys: MaskKeys, fraction_bits: int, largest: float) -> RingVector:
    """The masked rows, uint64 of shape (rows, width): features, label, padding.

    Raises `WireError`: `artefact_invalid` for features that are no matrix and for labels other than 0 and 1,
    `not_finite`, and `out_of_range` for a number larger than `largest`.
    """
    matrix, labels = rows.features, rows.labels
    if not isinstance(matrix, Matrix):
        raise invalid(
            "under `shared` a pipeline ends in a matrix: sequences have no scores that can be shared"
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) <= 1:
        raise invalid("under `shared` rows have one of two classes")
    check_finite({"the rows": matrix.data})
    if len(matrix.data) and float(np.abs(matrix.data).max()) > largest:
        raise out_of_range(f"a number of the rows exceeds {largest:g}, the largest that the run declares")
    width = matrix.columns + 1 + (matrix.columns + 1) % 2
    masked = _negated_masks(keys, len(labels) * width).reshape(len(labels), width)
    places = np.repeat(np.arange(len(labels)), np.diff(matrix.indptr))
    scaled = matrix.data.astype(np.float64) * math.ldexp(1.0, fraction_bits)
    masked[places, matrix.indices] += np.rint(scaled).astype(np.int64).view(np.uint64)
    masked[:, matrix.columns] += labels.astype(np.uint64)
    return masked


def pack_masked(masked: RingVector) -> bytes:
    """Masked rows as bytes."""
    return pack_arrays({MASKED: masked})


def unpack_masked(data: bytes | memoryview, width: int) -> NDArray[np.uint64]:
    """Masked rows from bytes. Raises `WireError` (`artefact_invalid`) unless they have this width."""
    arrays, _ = unpack_arrays(data)
    masked = arrays.get(MASKED)
    if len(arrays) != 1 or masked is None or masked.dtype != np.uint64:
        raise invalid("these are no masked rows")
    if masked.ndim != 2 or masked.shape[1] != width or not len(masked):
        raise invalid(f"masked rows of shape {masked.shape}, expected a width of {width}")
    return masked


@dataclass(frozen=True)
class SharedRows:
    """What one compute owner has of all rows: the masked rows and its own share of the masks, flat, uint64."""

    masked: RingVector
    mask: RingVector = field(repr=False)

    @classmethod
    def of(cls, parts: Iterable[tuple[NDArray[np.uint64], bytes]], size: int) -> Self:
        """From the masked parts of all owners, in order, and this compute owner's key for each: `size` numbers in all.

        Raises `WireError` (`artefact_invalid`) for another size.
        """
        masked, mask = np.empty(size, np.uint64), np.empty(size, np.uint64)
        start = 0
        for part, key in parts:
            end = start + part.size
            if end > size:
                raise invalid("the masked parts have more rows than the plan")
            masked[start:end] = part.reshape(-1)
            Words(key).fill(mask[start:end])
            start = end
        if start != size:
            raise invalid("the masked parts have fewer rows than the plan")
        return cls(masked, mask)

    def labels(self, rows: NDArray[np.int64], width: int, columns: int, side: int) -> RingVector:
        """This compute owner's share of the labels of these rows."""
        places = rows * width + columns
        share: RingVector = self.mask[places]
        return share + self.masked[places] if side == 0 else share


def _negated_masks(keys: MaskKeys, size: int) -> RingVector:
    total = Words(keys.first).take(size)
    total += Words(keys.second).take(size)
    return np.negative(total, out=total)
