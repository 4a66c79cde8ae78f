"""Random `n`-th powers modulo `n^2`, which hide plaintexts.

**Short exponents.** `g^a` for the fixed `g = h^n` comes from a table of `g^(d 256^i)` for every byte `d` at
every place `i` of `a`: one multiplication for each byte, no squarings (Brickell, Gordon, McCurley and Wilson,
"Fast exponentiation with precomputation", Eurocrypt 1992). An entry `t` is kept as `(low, log)` with `t = low
(1 + log n)` modulo `n^2` and both numbers below `n`. The product of the factors `1 + log n` is `1 + (sum of
logs) n`, so that only `low`, half as long as `n^2`, is multiplied. A table for 3,072 bits takes some 45 MB
and the time of some 30 powers without a table; it is made once that many were asked for.

**Full exponents.** `r^n` for a random unit `r`, as in Paillier's paper.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Final

import gmpy2
from gmpy2 import mpz

from .keys import PublicKey

WORTH_A_TABLE: Final = 32
_DIGITS: Final = 256


class RandomPowers(ABC):
    """A source of random `n`-th powers."""

    @abstractmethod
    def take(self, count: int) -> list[mpz]:
        """So many fresh ones."""


class FullExponents(RandomPowers):
    """`r^n` for random units `r`."""

    def __init__(self, key: PublicKey) -> None:
        self._key = key

    def take(self, count: int) -> list[mpz]:
        n = int(self._key.n)
        # A number from 1 to n - 1 that is no unit is a multiple of p or q: whoever met one could factor n.
        units = [mpz(1 + secrets.randbelow(n - 1)) for _ in range(count)]
        return list(gmpy2.powmod_base_list(units, self._key.n, self._key.n_squared))


class ShortExponents(RandomPowers):
    """`(h^n)^a` for random `a` with half as many bits as `n`."""

    def __init__(self, key: PublicKey) -> None:
        assert key.base is not None
        self._key = key
        self._bytes = key.n.bit_length() // 16
        self._root = gmpy2.powmod(key.base, key.n, key.n_squared)
        self._taken = 0

    def take(self, count: int) -> list[mpz]:
        self._taken += count
        exponents = [secrets.token_bytes(self._bytes) for _ in range(count)]
        if self._taken < WORTH_A_TABLE:
            numbers = [mpz(int.from_bytes(exponent, "little")) for exponent in exponents]
            return list(gmpy2.powmod_exp_list(self._root, numbers, self._key.n_squared))
        return [self._table.power(exponent) for exponent in exponents]

    @cached_property
    def _table(self) -> Table:
        return Table(self._root, self._key.n, self._bytes)


class Table:
    """Powers of one unit modulo `n^2`, for exponents of `places` bytes."""

    def __init__(self, root: mpz, n: mpz, places: int) -> None:
        self._n, self._n_squared = n, n * n
        self._lows: list[list[mpz]] = []
        self._logs: list[list[mpz]] = []
        # (low, log, inverse of low modulo n): the inverses are multiplied along, and only the first is computed.
        low = root % n
        inverse = gmpy2.invert(low, n)
        base = (low, (root // n) * inverse % n, inverse)
        for _ in range(places):
            base = self._add_place(base)

    def power(self, exponent: bytes) -> mpz:
        """The root to this exponent, lowest byte first."""
        product, logs, modulus = mpz(1), mpz(0), self._n_squared
        for lows, row, digit in zip(self._lows, self._logs, exponent, strict=True):
            product = product * lows[digit] % modulus
            logs += row[digit]
        return product * (1 + logs % self._n * self._n) % modulus

    def _add_place(self, base: tuple[mpz, mpz, mpz]) -> tuple[mpz, mpz, mpz]:
        """Add the powers of the base with exponents below 256; the next place's base is the one after them."""
        lows, logs = [mpz(1), base[0]], [mpz(0), base[1]]
        entry = base
        for _ in range(_DIGITS - 2):
            entry = self._times(entry, base)
            lows.append(entry[0])
            logs.append(entry[1])
        self._lows.append(lows)
        self._logs.append(logs)
        return self._times(entry, base)

    def _times(self, one: tuple[mpz, mpz, mpz], other: tuple[mpz, mpz, mpz]) -> tuple[mpz, mpz, mpz]:
        n = self._n
        carry, low = gmpy2.f_divmod(one[0] * other[0], n)
        inverse = one[2] * other[2] % n
        # low + carry n is low (1 + carry / low n).
        return low, (one[1] + other[1] + carry * inverse) % n, inverse
