"""How numbers become elements of the group, so that multiplying elements multiplies, or adds, the numbers.

Products: m becomes m where that is a square modulo p, and p - m where it is not; -1 is no square, so one of the two
is. The product of such elements is plus or minus the product of the numbers modulo p, and the smaller of x and p - x is
that product as long as it is at most (p - 1) / 2.

Sums: m becomes g^m. The sum of the numbers is the discrete logarithm of the product, found by search up to a bound (D.
Shanks: Class number, a theory of factorization and genera, 1971).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import isqrt
from typing import Any, Final

import gmpy2

from fedcore.plugin_api.ciphers import out_of_range

from .groups import GENERATOR, Element, Group

_MOST_BABY_STEPS: Final = 1 << 17
_MARK_MODULUS: Final = 2**64 - 59
"""What marks an element in the table: its remainder by a prime. Its low bits would not do: powers of 2 end in zeros."""


class Encoding(ABC):
    """Numbers from `smallest` to `largest`, of which at most `most` are combined into one."""

    def __init__(self, group: Group, smallest: int, largest: int, most: int) -> None:
        self.group, self.smallest, self.largest, self.most = group, smallest, largest, most

    @abstractmethod
    def encode(self, number: int) -> Element:
        """The number as an element."""

    @abstractmethod
    def decode(self, element: Element, combined: int) -> int:
        """The number that so many have been combined into.

        Raises `WireError` (`out_of_range`) where it is larger than they can have made it: never a wrong number.
        """


class Products(Encoding):
    """Numbers from 1 that are multiplied."""

    def encode(self, number: int) -> Element:
        element = gmpy2.mpz(number)
        return element if self.group.has(element) else self.group.prime - element

    def decode(self, element: Element, combined: int) -> int:
        number = int(min(element, self.group.prime - element))
        if number > self.largest**combined:
            raise out_of_range("a product is larger than its factors can have made it")
        return number


class Sums(Encoding):
    """Numbers from 0 that are added."""

    def __init__(self, group: Group, smallest: int, largest: int, most: int) -> None:
        super().__init__(group, smallest, largest, most)
        self._baby_steps: dict[int, int] = {}
        self._giant_step: Any = None

    def encode(self, number: int) -> Element:
        return gmpy2.powmod(GENERATOR, number, self.group.prime)

    def decode(self, element: Element, combined: int) -> int:
        most = self.largest * combined
        stride = self._prepare()
        for start in range(0, most + 1, stride):
            place = self._baby_steps.get(int(element % _MARK_MODULUS))
            # Two elements could have one mark by chance: the number is only what encodes to the element.
            if place is not None and start + place <= most and element == self.encode(place):
                return start + place
            element = element * self._giant_step % self.group.prime
        raise out_of_range("a sum is larger than its terms can have made it")

    def _prepare(self) -> int:
        """Make the table of the first powers, once; returns how many there are."""
        if not self._baby_steps:
            count = min(_MOST_BABY_STEPS, 8 * isqrt(self.largest * self.most) + 1)
            power = gmpy2.mpz(1)
            for place in range(count):
                self._baby_steps.setdefault(int(power % _MARK_MODULUS), place)
                power = power * GENERATOR % self.group.prime
            self._giant_step = self.group.inverse(self.encode(count))
            self._count = count
        return self._count
