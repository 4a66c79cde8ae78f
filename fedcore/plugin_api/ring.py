"""Numbers as integers modulo 2^64, for sums over owners that are exact or refused, never wrong.

What holds: where each owner's number becomes an integer of at most `most` (its absolute value) and
`owners * most < 2^63`, the sum of the integers lies between -2^63 and 2^63. Read as a signed number, their sum modulo
2^64 is therefore their sum. Both sides make the same `FixedPoint` or `WholeNumbers`, which checks this once, before
any number is looked at.

In fixed point a number v becomes the integer nearest to v * 2^f (to the even one where two are as near). Scaling by a
power of two is exact and rounding keeps the order, so |v| <= largest gives an integer of at most `most`, which is
largest * 2^f rounded in the same way. What is added is exact; each owner's own number is at most 2^-(f+1) away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.arrays import invalid
from fedcore.plugin_api.ciphers import checked_reals, out_of_range

RingVector = NDArray[np.uint64]
"""Integers modulo 2^64, in one dimension."""

HALF: Final = 2**63
MOST_FRACTION_BITS: Final = 62
_FLOATS: Final = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class FixedPoint:
    """Real numbers of at most `largest`, as multiples of 2^-`fraction_bits`, to be added over `owners`.

    Raises `WireError` (`out_of_range`) where a sum might not fit.
    """

    fraction_bits: int
    largest: float
    owners: int

    def __post_init__(self) -> None:
        if not 0 <= self.fraction_bits <= MOST_FRACTION_BITS:
            raise out_of_range(f"fixed point has between 0 and {MOST_FRACTION_BITS} bits of fraction")
        if not math.isfinite(self.largest):
            raise out_of_range("the largest number in fixed point is finite")
        _prove_room(self.owners, self.most)

    @property
    def most(self) -> int:
        """The largest absolute value of one owner's integer."""
        try:
            return round(math.ldexp(self.largest, self.fraction_bits))
        except OverflowError:
            raise out_of_range("the largest number does not fit at this many bits of fraction") from None

    def to_ring(self, values: NDArray[Any]) -> RingVector:
        """The values (float32 or float64) as integers. Raises `WireError`: `not_finite`, `out_of_range`."""
        given = np.asarray(values)
        if given.dtype not in _FLOATS:
            raise invalid(f"numbers in fixed point are float32 or float64, not {given.dtype}")
        scaled = checked_reals(given, self.largest) * math.ldexp(1.0, self.fraction_bits)
        return np.rint(scaled, out=scaled).astype(np.int64).view(np.uint64)

    def from_ring(self, total: RingVector) -> NDArray[np.float64]:
        """The sum of all owners' integers as the nearest float64. Raises `WireError` (`out_of_range`) for one that no
        owners can have who keep to `largest`."""
        sums = _signed(total, self.owners * self.most)
        return sums.astype(np.float64) * math.ldexp(1.0, -self.fraction_bits)


@dataclass(frozen=True)
class WholeNumbers:
    """Integers of at most `largest` (the absolute value), to be added over `owners`.

    Raises `WireError` (`out_of_range`) where a sum might not fit.
    """

    largest: int
    owners: int

    def __post_init__(self) -> None:
        _prove_room(self.owners, self.largest)

    def to_ring(self, values: NDArray[Any]) -> RingVector:
        """The integers (of any dtype) in the ring. Raises `WireError` (`out_of_range`)."""
        given = np.asarray(values)
        if given.dtype.kind not in "iu" or given.ndim != 1 or not len(given):
            raise invalid(f"{given.shape} numbers of {given.dtype} are no whole numbers in one dimension")
        if int(given.max()) > self.largest or int(given.min()) < -self.largest:
            raise out_of_range(f"a whole number exceeds {self.largest}")
        return given.astype(np.int64).view(np.uint64)

    def from_ring(self, total: RingVector) -> NDArray[np.int64]:
        """The exact sum. Raises `WireError` (`out_of_range`) for one that no owners can have who keep to `largest`."""
        return _signed(total, self.owners * self.largest).copy()


def checked_ring(numbers: NDArray[Any], length: int) -> RingVector:
    """The numbers, if they are so many integers modulo 2^64. Raises `WireError` (`artefact_invalid`)."""
    if not isinstance(numbers, np.ndarray) or numbers.dtype != np.uint64 or numbers.shape != (length,):
        found = f"{np.shape(numbers)} of {getattr(numbers, 'dtype', type(numbers).__name__)}"
        raise invalid(f"what is added is {length} integers of uint64 in one dimension, not {found}")
    return numbers


def _prove_room(owners: int, most: int) -> None:
    if owners < 1 or most < 1:
        raise out_of_range("a sum has at least one owner, and room for numbers other than 0")
    if owners * most >= HALF:
        raise out_of_range(f"the sum of {owners} numbers of up to {most} does not fit into 63 bits")


def _signed(total: RingVector, most: int) -> NDArray[np.int64]:
    sums = checked_ring(total, np.size(total)).view(np.int64)
    if len(sums) and (int(sums.max()) > most or int(sums.min()) < -most):
        raise out_of_range("a sum is larger than all owners together can make it")
    return sums
