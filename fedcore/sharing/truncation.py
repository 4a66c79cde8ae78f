"""Dividing a shared number by a power of two: with an expected value that is the exact quotient, and without failure.

The dealer draws r, uniform modulo 2^64, and deals shares of r, of the quotient of its lower 63 bits by 2^t, and of its
top bit. The compute owners open c = x + 2^62 + r, which is uniform whatever x is. For |x| < 2^62 the number x + 2^62
lies below 2^63, so c and the top bit of r say whether the lower 63 bits of the sum went over, and x / 2^t is a sum of
public and of dealt numbers (Escudero et al., "Improved primitives for MPC over mixed arithmetic-binary circuits",
CRYPTO 2020, section 5.1, in the ring with a bound on x).

The result is the quotient rounded down, or that plus one: the latter with probability (x mod 2^t) / 2^t, since the
lower t bits of r are uniform. So its expected value is x / 2^t. There is no other error: the probability of failure
is 0 for |x| < 2^62, against about |x| / 2^63 for each number where shares are shifted without a dealer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from fedcore.plugin_api.ring import RingVector

OFFSET: Final = np.uint64(1 << 62)
_LOWER: Final = np.uint64((1 << 63) - 1)
_TOP: Final = np.uint64(63)
_ONE: Final = np.uint64(1)


@dataclass(frozen=True)
class Cut:
    """One compute owner's shares for truncating some numbers: of the mask, its quotient, and its top bit."""

    mask: RingVector
    quotient: RingVector
    top: RingVector


def quotient_and_top(mask: RingVector, bits: int) -> tuple[RingVector, RingVector]:
    """For the dealer: the quotient of the mask's lower 63 bits by 2^bits, and its top bit."""
    return (mask & _LOWER) >> np.uint64(bits), mask >> _TOP


def masked(share: RingVector, cut: Cut, side: int) -> RingVector:
    """What this compute owner opens."""
    opened = share + cut.mask
    return opened + OFFSET if side == 0 else opened


def truncated(opened: RingVector, cut: Cut, bits: int, side: int) -> RingVector:
    """This compute owner's share of the quotients by 2^bits, from what both have opened, added up."""
    top = opened >> _TOP
    weight = _ONE << np.uint64(63 - bits)
    share = cut.top * (weight * (_ONE - (top << _ONE))) - cut.quotient
    if side == 0:
        share += ((opened & _LOWER) >> np.uint64(bits)) + top * weight - (OFFSET >> np.uint64(bits))
    return share
