"""What can be done with the public key of a Paillier pair, and with the secret one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from gmpy2 import gcd, mpz

from fedcore.plugin_api.arrays import invalid
from fedcore.plugin_api.ciphers import (
    Ciphertext,
    Numbers,
    PublicCipher,
    SecretCipher,
    array_to_integers,
    checked_reals,
    integers_to_array,
    key_digest,
    out_of_range,
    pack_ciphertext,
    unpack_ciphertext,
)

from .keys import PublicKey, SecretKey
from .packing import Layout
from .powers import FullExponents, RandomPowers, ShortExponents

NAME: Final = "paillier"
_ARRAY: Final = "ciphertexts"
_LENGTH: Final = "length"
_SUMMANDS: Final = "summands"


@dataclass(frozen=True, eq=False)
class PaillierCiphertext(Ciphertext):
    """Packed numbers, each the sum of `summands`.

    All but what comes from `encrypt` (`fresh`) gets new randomness each time that it is packed.
    """

    cipher: PaillierPublic = field(repr=False)
    values: tuple[mpz, ...] = field(repr=False)
    count: int
    summands: int = 1
    fresh: bool = False

    @property
    def length(self) -> int:
        return self.count

    def pack(self) -> bytes:
        return self.cipher.pack(self)


class PaillierPublic(PublicCipher[PaillierCiphertext]):
    """Encrypts and adds. With short exponents it keeps a table, some 45 MB at 3,072 bits, once it encrypts much."""

    def __init__(self, data: bytes, key: PublicKey, layout: Layout) -> None:
        self.digest = key_digest(data)
        self.layout = layout
        self._key = key
        self._powers: RandomPowers = FullExponents(key) if key.base is None else ShortExponents(key)

    def encrypt(self, numbers: Numbers) -> PaillierCiphertext:
        values = checked_reals(numbers, self.layout.largest)
        return PaillierCiphertext(
            self, self._encrypted(self.layout.plaintexts(values)), len(values), fresh=True
        )

    def add(self, one: PaillierCiphertext, other: PaillierCiphertext) -> PaillierCiphertext:
        self.check_own(one, other)
        if one.length != other.length:
            raise invalid(f"{one.length} numbers cannot be added to {other.length}")
        modulus = self._key.n_squared
        values = tuple(a * b % modulus for a, b in zip(one.values, other.values, strict=True))
        return self._sum(one, values, other.summands)

    def add_plain(self, one: PaillierCiphertext, numbers: Numbers) -> PaillierCiphertext:
        """The sums with numbers that are known: they count as one more summand."""
        self.check_own(one)
        known = checked_reals(numbers, self.layout.largest)
        if len(known) != one.length:
            raise invalid(f"{len(known)} numbers cannot be added to {one.length}")
        return self._sum(one, self._raised(one.values, self.layout.plaintexts(known)), 1)

    def append(self, one: PaillierCiphertext, numbers: Numbers) -> PaillierCiphertext:
        """The numbers of the ciphertext followed by more: first in what is free of its last plaintext.

        Where the ciphertext is a sum, the more count as sums of as many, so one number of summands holds for all.
        """
        self.check_own(one)
        more = checked_reals(numbers, self.layout.largest)
        used = one.length % self.layout.slots
        plaintexts = self.layout.plaintexts(more, one.summands, used)
        values = one.values
        if used:
            values = (*values[:-1], *self._raised(values[-1:], plaintexts[:1]))
            plaintexts = plaintexts[1:]
        values = (*values, *self._encrypted(plaintexts))
        return replace(one, cipher=self, values=values, count=one.length + len(more), fresh=False)

    def pack(self, ciphertext: PaillierCiphertext) -> bytes:
        """The bytes that travel: new ones each time, unless they are those of a fresh encryption."""
        self.check_own(ciphertext)
        values = ciphertext.values
        if not ciphertext.fresh:
            modulus = self._key.n_squared
            powers = self._powers.take(len(values))
            values = tuple(value * power % modulus for value, power in zip(values, powers, strict=True))
        array = integers_to_array([int(value) for value in values], self._width)
        facts = self.layout.facts() | {_LENGTH: ciphertext.length, _SUMMANDS: ciphertext.summands}
        return pack_ciphertext(NAME, self.digest, {_ARRAY: array}, **facts)

    def unpack(self, data: bytes) -> PaillierCiphertext:
        """A ciphertext from `pack`, checked. Raises `WireError`: `artefact_invalid`, or `out_of_range` for more
        summands than there is room for."""
        agreed = self.layout.facts()
        arrays, facts = unpack_ciphertext(data, NAME, self.digest, frozenset(agreed) | {_LENGTH, _SUMMANDS})
        if not agreed.items() <= facts.items():
            raise invalid("the ciphertext was made with other options")
        length, summands = facts[_LENGTH], self._checked_summands(facts[_SUMMANDS])
        if arrays.keys() != {_ARRAY} or not length:
            raise invalid("the ciphertext has no numbers")
        values = tuple(map(mpz, array_to_integers(arrays[_ARRAY], self._width)))
        if len(values) != self.layout.plaintexts_for(length):
            raise invalid("the ciphertext has more or fewer plaintexts than its numbers need")
        self._check_units(values)
        return PaillierCiphertext(self, values, length, summands)

    def check_own(self, *ciphertexts: PaillierCiphertext) -> None:
        """Raises `WireError` unless all are of this key and these options."""
        for ciphertext in ciphertexts:
            if ciphertext.cipher.digest != self.digest:
                raise invalid("the ciphertext belongs to another key")
            if ciphertext.cipher.layout != self.layout:
                raise invalid("the ciphertext was made with other options")

    @property
    def _width(self) -> int:
        return int(self._key.n.bit_length()) // 4

    def _encrypted(self, plaintexts: Sequence[mpz]) -> tuple[mpz, ...]:
        powers = self._powers.take(len(plaintexts))
        return tuple(map(self._key.encrypt, plaintexts, powers))

    def _raised(self, values: Sequence[mpz], plaintexts: Sequence[mpz]) -> tuple[mpz, ...]:
        """The ciphertexts with plaintexts added."""
        return tuple(self._key.encrypt(m, value) for value, m in zip(values, plaintexts, strict=True))

    def _sum(self, one: PaillierCiphertext, values: tuple[mpz, ...], more: int) -> PaillierCiphertext:
        summands = self._checked_summands(one.summands + more)
        return replace(one, cipher=self, values=values, summands=summands, fresh=False)

    def _checked_summands(self, summands: int) -> int:
        if summands < 1:
            raise invalid("the ciphertext is the sum of nothing")
        if summands > self.layout.room:
            raise out_of_range(
                f"a sum of {summands} exceeds the room for {self.layout.room}: raise the option summands"
            )
        return summands

    def _check_units(self, values: Sequence[mpz]) -> None:
        """All from 1 to `n^2 - 1` and without a common factor with `n`: one greatest common divisor for all."""
        if not all(0 < value < self._key.n_squared for value in values):
            raise invalid("a ciphertext is out of range")
        product = mpz(1)
        for value in values:
            product = product * (value % self._key.n) % self._key.n
        if gcd(product, self._key.n) != 1:
            raise invalid("a ciphertext is no unit")


class PaillierSecret(SecretCipher[PaillierCiphertext]):
    """Decrypts, modulo the squares of the two primes, on all cores of the machine."""

    def __init__(self, public: PaillierPublic, key: SecretKey) -> None:
        self._public = public
        self._key = key

    def decrypt(self, ciphertext: PaillierCiphertext) -> Numbers:
        """The numbers as float64. Raises `WireError` (`artefact_invalid`) for a ciphertext of another key, and for
        one that holds no sums of as many numbers as it says."""
        self._public.check_own(ciphertext)
        plaintexts = self._key.decrypt(list(ciphertext.values))
        return self._public.layout.numbers(plaintexts, ciphertext.length, ciphertext.summands)
