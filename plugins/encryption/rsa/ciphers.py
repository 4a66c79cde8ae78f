"""What can be done with a public and with a secret key of RSA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import gmpy2
import numpy as np

from fedcore.plugin_api import Ciphertext, Numbers, PublicCipher, SecretCipher
from fedcore.plugin_api.arrays import invalid
from fedcore.plugin_api.ciphers import (
    array_to_integers,
    checked_integers,
    integers_to_array,
    out_of_range,
    pack_ciphertext,
    unpack_ciphertext,
)

from .keys import PublicKey, SecretKey

NAME: Final = "rsa"
_NUMBERS, _COMBINED = "numbers", "combined"
_FACTS: Final = frozenset({_COMBINED})


@dataclass(frozen=True)
class Room:
    """Numbers from 1 to `largest`, of which at most `most` are multiplied into one."""

    largest: int
    most: int


@dataclass(frozen=True, eq=False)
class RsaCiphertext(Ciphertext):
    """Encrypted numbers, each of which `combined` numbers were multiplied into."""

    key: PublicKey
    values: tuple[Any, ...] = field(repr=False)
    combined: int = 1

    @property
    def length(self) -> int:
        return len(self.values)

    def pack(self) -> bytes:
        rows = integers_to_array([int(value) for value in self.values], self.key.width)
        return pack_ciphertext(NAME, self.key.digest, {_NUMBERS: rows}, combined=self.combined)


class RsaPublic(PublicCipher[RsaCiphertext]):
    """Encrypts and multiplies."""

    def __init__(self, key: PublicKey, room: Room) -> None:
        self._key, self._room = key, room

    def encrypt(self, numbers: Numbers) -> RsaCiphertext:
        """The numbers, encrypted. There is no randomness: equal numbers look equal."""
        return RsaCiphertext(self._key, tuple(self._encrypted(numbers)))

    def unpack(self, data: bytes) -> RsaCiphertext:
        arrays, facts = unpack_ciphertext(data, NAME, self._key.digest, _FACTS)
        if arrays.keys() != {_NUMBERS}:
            raise invalid("a ciphertext has one array: numbers")
        values = [gmpy2.mpz(value) for value in array_to_integers(arrays[_NUMBERS], self._key.width)]
        if not all(value < self._key.modulus for value in values):
            raise invalid("a ciphertext is out of range")
        if not self._key.have_no_common_factor(values):
            raise invalid("a ciphertext has a factor in common with the modulus")
        if not 1 <= facts[_COMBINED] <= self._room.most:
            raise invalid(f"a ciphertext says to be of {facts[_COMBINED]} numbers")
        return RsaCiphertext(self._key, tuple(values), facts[_COMBINED])

    def multiply(self, one: RsaCiphertext, other: RsaCiphertext) -> RsaCiphertext:
        check_key(one, self._key)
        check_key(other, self._key)
        return self._combined(one, other.values, other.combined)

    def multiply_plain(self, one: RsaCiphertext, numbers: Numbers) -> RsaCiphertext:
        check_key(one, self._key)
        return self._combined(one, self._encrypted(numbers), 1)

    def _encrypted(self, numbers: Numbers) -> list[Any]:
        return [self._key.encrypt(number) for number in checked_integers(numbers, 1, self._room.largest)]

    def _combined(self, one: RsaCiphertext, others: Sequence[Any], combined: int) -> RsaCiphertext:
        if len(others) != one.length:
            raise invalid(f"{len(others)} numbers do not go with {one.length}")
        total = one.combined + combined
        if total > self._room.most:
            raise out_of_range(f"{total} numbers in one exceed the {self._room.most} that there is room for")
        pairs = zip(one.values, others, strict=True)
        values = tuple(value * other % self._key.modulus for value, other in pairs)
        return replace(one, values=values, combined=total)


class RsaSecret(SecretCipher[RsaCiphertext]):
    """Opens ciphertexts of its own key."""

    def __init__(self, key: SecretKey, room: Room) -> None:
        self._key, self._room = key, room

    def decrypt(self, ciphertext: RsaCiphertext) -> Numbers:
        check_key(ciphertext, self._key.public)
        numbers = [self._key.open(value) for value in ciphertext.values]
        if max(numbers) > self._room.largest**ciphertext.combined:
            raise out_of_range("a product is larger than its factors can have made it")
        return np.array(numbers, object)


def check_key(ciphertext: RsaCiphertext, key: PublicKey) -> None:
    """Raise `WireError` (`artefact_invalid`) for a ciphertext of another key."""
    if ciphertext.key.digest != key.digest:
        raise invalid("the ciphertext belongs to another key")
