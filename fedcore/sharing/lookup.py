"""A function of a shared number by a dealt table, and the check that scores are in range.

The index is the number's upper bits: each compute owner shifts its own share to the right, and the sum of the shifted
shares, modulo the size of the table, is the shifted number or one less (shares that wrap around differ by a multiple of
the size, so nothing else can happen). One is added, so that the index j of a number between entries j and j + 1 comes
out as either, with the probabilities of linear interpolation: the expected value of what is read is the interpolated
function (the shares' lower bits are uniform). The index is opened under a dealt, uniform mask; table i is dealt in
shares, moved on by that mask, and used once.

The check that scores are in range is a second, small table over the whole ring that holds 1 where a score is too large.
What is read adds up over an epoch, and only the sum is opened. Both indices come from the same shares, so a score that
passes the check is never read beyond the end of the sigmoid's table: where the small table's index is not rounded up
just below the end of the range, the large one's is not either.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.ring import RingVector

FINE_BITS: Final = 8
FINE: Final = 1 << FINE_BITS
"""Entries of the sigmoid's table: from the negative to the positive score range."""

COARSE_BITS: Final = 4
COARSE: Final = 1 << COARSE_BITS
"""Entries of the range check's table: over the whole ring, twice the score range."""

_PASSING: Final = 3
"""Coarse indices from -3 to 3 pass: scores up to 3/4 of the range always, beyond the range never."""


def index(share: RingVector, shift: int, mask: NDArray[np.uint8], bits: int, side: int) -> NDArray[np.uint8]:
    """What this compute owner opens of the index: its shifted share with its share of the mask, modulo 2^bits."""
    shifted: NDArray[np.uint8] = (share >> np.uint64(shift)).astype(np.uint8) + mask
    if side == 0:
        shifted += np.uint8(1)
    shifted &= np.uint8((1 << bits) - 1)
    return shifted


def sigmoid_table(rate: float, score_bits: int) -> RingVector:
    """`rate` times the sigmoid of the scores that the `FINE` indices stand for, rounded, in the ring."""
    step = math.ldexp(1.0, score_bits - FINE_BITS)
    scores = np.arange(FINE, dtype=np.int64)
    scores[FINE // 2 :] -= FINE
    decaying = np.exp(-np.abs(scores) * step)  # Never above 1: far from 0 the other sign would overflow.
    values = rate * np.where(scores < 0, decaying, 1.0) / (1.0 + decaying)
    table: RingVector = np.rint(values).astype(np.int64).view(np.uint64)
    return table


def range_table() -> RingVector:
    """1 at the `COARSE` indices of scores that are too large, else 0."""
    distance = np.arange(COARSE)
    distance = np.minimum(distance, COARSE - distance)
    return (distance > _PASSING).astype(np.uint64)
