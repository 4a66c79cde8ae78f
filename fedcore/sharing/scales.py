"""Fixed point for protocol `shared`: how many bits of fraction rows, weights and errors have, and why nothing
overflows.

With f bits of fraction in rows and scores below 2^s, weights have S = 63 - f - s bits. Then

* a score, row times weights, has f + S = 63 - s bits: it fits exactly while its absolute value is below 2^s, and the
  range check refuses a run as soon as one reaches half of that;
* the error of a row's score, times the learning rate, is an integer at the scale S - f, so that row times error is a
  change of the weights as it stands: weights are never rounded;
* a weight fits while its absolute value is below 2^(63 - S) = 2^(f + s);
* momentum times velocity, and decay times weights, get `FACTOR_BITS` more bits of fraction, and their sum fits a
  truncation while its absolute value is below 2^(f + s - 13). Nothing checks this by itself: beyond it weights jump by
  2^(f + s - 11), which takes scores out of their range only where that is much for a score. So momentum and decay need
  f of 13 and s of 6 at least: velocities then fit up to 64, and a jump of 256 shows in any row with a number of 1/8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Self

from fedcore.plugin_api.backends import ShareBackend
from fedcore.plugin_api.ciphers import out_of_range

RING_BITS: Final = 63
FACTOR_BITS: Final = 12
"""Momentum and weight decay are multiples of 2^-12."""

_VELOCITY_FRACTION_BITS: Final = 13
_VELOCITY_SCORE_BITS: Final = 6
_RATE_BITS: Final = 12
"""A learning rate is exact to 2^-12 of itself, and exact where it is a power of two over the batch size."""
_GRADIENT_FACTOR: Final = 2.0
"""Two outputs are trained by their difference, which moves twice as fast as each."""
_LEAST_RATE_BITS: Final = 14
_MOST_RATE_BITS: Final = 40


@dataclass(frozen=True)
class Scales:
    """`fraction_bits` of rows, and `score_bits`: scores of up to half of 2^`score_bits` are in range.

    Raises `WireError` (`out_of_range`) for bits that leave the weights too few.
    """

    fraction_bits: int
    score_bits: int

    @classmethod
    def of(cls, backend: ShareBackend[Any]) -> Self:
        """What a backend says. Raises `WireError` (`out_of_range`)."""
        return cls(backend.fraction_bits, backend.score_bits)

    def __post_init__(self) -> None:
        if not (1 <= self.fraction_bits <= 20 and 2 <= self.score_bits <= 12):
            raise out_of_range("rows have 1 to 20 bits of fraction, and scores 2 to 12 bits")

    def check_velocity(self) -> None:
        """Raises `WireError` (`out_of_range`) for bits at which a velocity could leave its range and nobody notice."""
        if self.fraction_bits < _VELOCITY_FRACTION_BITS or self.score_bits < _VELOCITY_SCORE_BITS:
            raise out_of_range(
                f"under `shared` momentum and weight_decay need {_VELOCITY_FRACTION_BITS} bits of fraction and scores "
                f"up to {2 ** (_VELOCITY_SCORE_BITS - 1)} at least, not {self.fraction_bits} bits and scores up to "
                f"{2 ** (self.score_bits - 1)}: raise fraction_bits or score_range, or leave both out"
            )

    @property
    def weight_bits(self) -> int:
        return RING_BITS - self.fraction_bits - self.score_bits

    @property
    def product_bits(self) -> int:
        """The bits of fraction of a score, row times weights."""
        return self.weight_bits + self.fraction_bits

    @property
    def error_bits(self) -> int:
        """The bits of fraction of a row's error times the learning rate."""
        return self.weight_bits - self.fraction_bits


@dataclass(frozen=True)
class Rate:
    """Twice the learning rate over the number of a batch's rows, as an integer at the errors' scale.

    `whole` is that integer. For errors that come out of a truncation it is also `factor` times 2^`shift`.
    """

    whole: int
    factor: int
    shift: int

    @classmethod
    def of(cls, scales: Scales, rate: float, rows: int) -> Rate:
        """Raises `WireError` (`out_of_range`) for a rate too small to be exact, or too large to fit."""
        scaled = math.ldexp(_GRADIENT_FACTOR * rate / rows, scales.error_bits)
        if not 2**_LEAST_RATE_BITS <= scaled < 2**_MOST_RATE_BITS:
            least, most = (
                math.ldexp(rows / _GRADIENT_FACTOR, bits - scales.error_bits)
                for bits in (_LEAST_RATE_BITS, _MOST_RATE_BITS)
            )
            raise out_of_range(
                f"under `shared` a learning rate with {rows} rows in a batch lies between {least:.3g} and {most:.3g} "
                f"at these bits of fraction, not at {rate:g}"
            )
        shift = math.frexp(scaled)[1] - _RATE_BITS
        factor = round(math.ldexp(scaled, -shift))
        twos = (factor & -factor).bit_length() - 1
        return cls(round(scaled), factor >> twos, shift + twos)


def factor_of(name: str, value: float) -> int:
    """A momentum or decay as a multiple of 2^-12. Raises `WireError` (`out_of_range`) where that is not it."""
    factor = round(math.ldexp(value, FACTOR_BITS))
    if value and abs(math.ldexp(factor, -FACTOR_BITS) - value) > 0.05 * value:
        raise out_of_range(
            f"under `shared` {name} is a multiple of 2^-{FACTOR_BITS}, and {value:g} is far from one"
        )
    return factor
