"""The groups of RFC 7919: the squares modulo a safe prime p, a group of prime order (p - 1) / 2 that 2 generates.

The prime of b bits is `2^b - 2^(b-64) + (floor(2^(b-130) e) + X) 2^64 - 1` (appendix A), here computed exactly. It is
7 modulo 8, so 2 is a square and -1 is none. A number from 1 to p - 1 is in the group if its Jacobi symbol is 1.

A secret exponent need not be as long as the order: with exponents of twice the group's strength no attack is known that
is better than those on full ones (P. C. van Oorschot, M. J. Wiener: On Diffie-Hellman Key Agreement with Short
Exponents, EUROCRYPT 1996). Lengths are those of RFC 7919, appendix A, rounded up to whole bytes.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import gmpy2

Element = Any
"""An element of a group: gmpy2's `mpz`."""

GENERATOR: Final = 2
_BITS_AND_X: Final = {"ffdhe3072": (3072, 2625351, 280), "ffdhe4096": (4096, 5736041, 328)}
_GUARD: Final = 64
_WINDOW: Final = 6


@dataclass(frozen=True)
class Group:
    """The squares modulo the prime, as the RFC names them, and how long secret exponents are."""

    name: str
    prime: Element
    exponent_bits: int

    @property
    def bits(self) -> int:
        return int(self.prime.bit_length())

    @property
    def width(self) -> int:
        """How many bytes an element takes."""
        return self.bits // 8

    @property
    def order(self) -> Element:
        return self.prime >> 1

    def has(self, number: Element) -> bool:
        """Whether the number is an element."""
        return bool(0 < number < self.prime and gmpy2.jacobi(number, self.prime) == 1)

    def have(self, numbers: Sequence[Element]) -> bool:
        """Whether all of them are elements.

        One Jacobi symbol for each: a product of many would also be 1 where two of them are no elements, and random
        products with an error of 2^-64 cost more.
        """
        return all(self.has(number) for number in numbers)

    def secret_exponent(self) -> int:
        """A fresh secret exponent."""
        least = self.least_exponent
        return least + secrets.randbelow((1 << self.exponent_bits) - least)

    @property
    def least_exponent(self) -> int:
        """No secret exponent is smaller: hardly one in 2^64 drawn at random would be."""
        return 1 << (self.exponent_bits - 64)

    def power(self, base: Element, secret: int) -> Element:
        """A power in an exponent that must not show in how long it takes."""
        return gmpy2.powmod_sec(base, secret, self.prime)

    def inverse(self, element: Element) -> Element:
        return gmpy2.invert(element, self.prime)


@lru_cache(maxsize=2)
def group(name: str) -> Group:
    """The group with this name of RFC 7919."""
    bits, summand, exponent_bits = _BITS_AND_X[name]
    prime = 2**bits - 2 ** (bits - 64) + (_floor_of_e(bits - 130) + summand) * 2**64 - 1
    return Group(name, gmpy2.mpz(prime), exponent_bits)


class FixedBase:
    """Powers of one base, by a table of the base's powers for every six bits of an exponent.

    E. F. Brickell, D. M. Gordon, K. S. McCurley, D. B. Wilson: Fast Exponentiation with Precomputation, EUROCRYPT 1992.
    """

    def __init__(self, group: Group, base: Element) -> None:
        self._prime = group.prime
        self._rows: list[list[Element]] = []
        for _ in range(-(-group.exponent_bits // _WINDOW)):
            row = [gmpy2.mpz(1)]
            for _ in range((1 << _WINDOW) - 1):
                row.append(row[-1] * base % self._prime)
            self._rows.append(row)
            base = row[-1] * base % self._prime

    def power(self, exponent: int) -> Element:
        """The base to an exponent that is not negative and not longer than a secret one."""
        if exponent >> (_WINDOW * len(self._rows)):
            raise ValueError("The exponent is longer than the table of powers.")
        found, mask = gmpy2.mpz(1), (1 << _WINDOW) - 1
        for row in self._rows:
            found = found * row[exponent & mask] % self._prime
            exponent >>= _WINDOW
        return found


@lru_cache(maxsize=16)
def fixed_base(name: str, base: int) -> FixedBase:
    """The table of a public base, which is kept: it takes longer to make than many powers."""
    return FixedBase(group(name), gmpy2.mpz(base))


def _floor_of_e(bits: int) -> int:
    """`floor(2^bits e)`, from the series of 1/n! with guard bits, which the sum of what is cut off does not reach."""
    term = total = 1 << (bits + _GUARD)
    divisor = 1
    while term:
        term //= divisor
        divisor += 1
        total += term
    return total >> _GUARD
