"""From what is declared to the parameters of the scheme: degree, moduli, scale, and the noise that opening needs.

**Units.** `noise` is counted in fresh encryptions: one has `degree / 6` divided by the scale as the standard deviation
of a number's error, from rounding when SEAL divides by its last prime. `magnitude` bounds the numbers themselves. Both
are whole, travel with each ciphertext, and grow by `product` and by addition; errors that depend on one another
are covered, as standard deviations never add up to more than their sum.

**Security.** `STANDARD` is the table of the Homomorphic Encryption Standard (HomomorphicEncryption.org, version 1.1,
2018, table 1: secrets from -1, 0 and 1, 128 bits against classical computers): the most bits that all moduli together
may have, the special one for key switching among them.

**Opening.** Normally distributed noise of the standard deviation `flood` is added to the real and the imaginary part of
each slot while it is encrypted. For all that one key opens, the distribution then has a total variation distance of at
most `ADVANTAGE` from one that depends on results without noise only: by Pinsker's inequality that is
`sqrt(ciphertexts * degree) * noise / (2 * flood)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

STANDARD: Final = {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438, 32768: 881}
DEGREES: Final = (4096, 8192, 16384)
"""Those that are chosen from. Keys of the next one would have a hundred megabytes."""

ADVANTAGE: Final = 2.0**-20
LIMB_BITS: Final = 60
"""The longest prime that SEAL takes."""

DEVIATIONS: Final = 6.5
"""Rounded numbers are right up to so many standard deviations: one number in some ten thousand millions is not."""

FLOAT_BITS: Final = 50


class Unfitting(ValueError):
    """No parameters are secure and large enough for what is declared."""


def weakness(degree: int, moduli: Sequence[int]) -> str | None:
    """Why these have less than 128 bits of security by the standard, or `None`."""
    if degree not in STANDARD:
        return f"the degree {degree} is not in the standard's table"
    bits = math.prod(moduli).bit_length()
    if bits > STANDARD[degree]:
        return (
            f"moduli of {bits} bits exceed the {STANDARD[degree]} bits of 128-bit security at degree {degree}"
        )
    return None


def product(magnitude: int, noise: int, other_magnitude: int, other_noise: int) -> tuple[int, int]:
    """Magnitude and noise of a product; a known number has the noise 1, of being encoded. Rescaling adds 2."""
    return magnitude * other_magnitude, magnitude * other_noise + other_magnitude * noise + 2


@dataclass(frozen=True)
class Declared:
    """What the options say."""

    depth: int
    precision: int
    largest: int
    summands: int
    decryptions: int

    def facts(self) -> dict[str, str]:
        """As texts, for the key: who reads it with other options refuses it."""
        return {name: str(value) for name, value in vars(self).items()}

    @cached_property
    def room(self) -> tuple[int, int]:
        """The largest magnitude and noise: of sums of products of `depth + 1` fresh ciphertexts."""
        magnitude, noise = self.largest, 1
        for _ in range(self.depth):
            magnitude, noise = product(magnitude, noise, self.largest, 1)
        return magnitude * self.summands, noise * self.summands


@dataclass(frozen=True)
class Parameters:
    """One degree, and the lengths of its primes in bits: of the base, of each level, and the special one."""

    declared: Declared
    degree: int

    @property
    def slots(self) -> int:
        """How many complex numbers a ciphertext holds."""
        return self.degree // 2

    @property
    def numbers(self) -> int:
        """How many real numbers it holds: where there are only sums, imaginary parts are as good as real ones."""
        return self.slots if self.declared.depth else self.degree

    @cached_property
    def flood(self) -> float:
        """The standard deviation that is added when numbers are opened, times the scale."""
        opened = math.sqrt(self.declared.decryptions * self.degree)
        return self.declared.room[1] * self.degree / 6 * opened / (2 * ADVANTAGE)

    @cached_property
    def limbs(self) -> int:
        """How many primes a level has."""
        return -(-self._least_scale_bits // LIMB_BITS)

    @cached_property
    def scale_bits(self) -> int:
        return -(-self._least_scale_bits // self.limbs) * self.limbs

    @cached_property
    def base_limbs(self) -> int:
        return -(-self._base_bits // LIMB_BITS)

    @cached_property
    def bits(self) -> list[int]:
        """The lengths of all primes, in SEAL's order."""
        base = [-(-self._base_bits // self.base_limbs)] * self.base_limbs
        levels = [self.scale_bits // self.limbs] * (self.limbs * self.declared.depth)
        return [*base, *levels, max([*base, *levels])]

    def limbs_at(self, level: int) -> int:
        """How many primes a ciphertext has that can still be multiplied `level` times."""
        return self.base_limbs + self.limbs * level

    @property
    def _least_scale_bits(self) -> int:
        return self.declared.precision + math.ceil(math.log2(2 * DEVIATIONS * self.flood))

    @property
    def _base_bits(self) -> int:
        # One bit for the sign, one for flooded numbers beyond the largest.
        return self.scale_bits + self.declared.room[0].bit_length() + 2


def choose(declared: Declared) -> Parameters:
    """The smallest degree that is secure. Raises `Unfitting`, with the remedy."""
    if declared.precision + declared.room[0].bit_length() > FLOAT_BITS:
        raise Unfitting(
            f"results up to {declared.room[0]} with {declared.precision} bits behind the point exceed float64: lower "
            "precision, largest, summands or depth"
        )
    for degree in DEGREES:
        parameters = Parameters(declared, degree)
        if sum(parameters.bits) <= STANDARD[degree]:
            return parameters
    raise Unfitting(
        f"the moduli would need {sum(parameters.bits)} bits, and degree {degree} has {STANDARD[degree]} at 128-bit "
        "security: lower depth, precision, largest, summands or decryptions"
    )


def scales(top: float, moduli: Sequence[int], parameters: Parameters) -> list[float]:
    """The exact scale of each level, from level 0 up: after a product at one level, rescaling gives the next lower."""
    found = [top]
    ends = [parameters.limbs_at(level) for level in range(parameters.declared.depth, -1, -1)]
    for end, start in pairwise(ends):
        found.insert(0, found[0] ** 2 / math.prod(moduli[start:end]))
    return found
