"""What can be done with a public and with a secret key; products and sums differ in their encoding only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

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

from .encodings import Encoding
from .keys import Pair, PublicKey, SecretKey

_FIRST, _SECOND, _COMBINED = "first", "second", "combined"
_FACTS: Final = frozenset({_COMBINED})


@dataclass(frozen=True, eq=False)
class ElGamalCiphertext(Ciphertext):
    """Encrypted numbers, each of which `combined` numbers were multiplied or added into.

    `computed` says that they are a result: such are encrypted anew whenever they are packed, so that nobody sees of
    what they were computed.
    """

    backend: str
    key: PublicKey
    pairs: tuple[Pair, ...] = field(repr=False)
    combined: int = 1
    computed: bool = False

    @property
    def length(self) -> int:
        return len(self.pairs)

    def pack(self) -> bytes:
        pairs = [self.key.rerandomised(pair) for pair in self.pairs] if self.computed else self.pairs
        width = self.key.group.width
        arrays = {
            name: integers_to_array([int(pair[place]) for pair in pairs], width)
            for place, name in enumerate((_FIRST, _SECOND))
        }
        return pack_ciphertext(self.backend, self.key.digest, arrays, combined=self.combined)


class ElGamalPublic(PublicCipher[ElGamalCiphertext]):
    """Encrypts and combines: what combining means is the encoding's."""

    def __init__(self, backend: str, key: PublicKey, encoding: Encoding) -> None:
        self._backend, self._key, self._encoding = backend, key, encoding

    def encrypt(self, numbers: Numbers) -> ElGamalCiphertext:
        fresh = (self._key.fresh(self._encoding.encode(number)) for number in self._checked(numbers))
        return ElGamalCiphertext(self._backend, self._key, tuple(fresh))

    def unpack(self, data: bytes) -> ElGamalCiphertext:
        arrays, facts = unpack_ciphertext(data, self._backend, self._key.digest, _FACTS)
        if arrays.keys() != {_FIRST, _SECOND}:
            raise invalid("a ciphertext has two arrays: first and second")
        width, group = self._key.group.width, self._key.group
        first, second = (
            [gmpy2.mpz(value) for value in array_to_integers(arrays[name], width)]
            for name in (_FIRST, _SECOND)
        )
        if len(first) != len(second):
            raise invalid("the two halves of a ciphertext have different lengths")
        if not group.have(first) or not group.have(second):
            raise invalid(f"a ciphertext is not in the group of {group.name}")
        if 1 in first:
            raise invalid("a ciphertext was made without randomness, and hides nothing")
        if not 1 <= facts[_COMBINED] <= self._encoding.most:
            raise invalid(f"a ciphertext says to be of {facts[_COMBINED]} numbers")
        pairs = tuple(zip(first, second, strict=True))
        return ElGamalCiphertext(self._backend, self._key, pairs, facts[_COMBINED])

    def combine(self, one: ElGamalCiphertext, other: ElGamalCiphertext) -> ElGamalCiphertext:
        """What the encoding makes of two ciphertexts."""
        check_key(one, self._backend, self._key)
        check_key(other, self._backend, self._key)
        return self._combined(one, other.pairs, other.combined)

    def combine_plain(self, one: ElGamalCiphertext, numbers: Numbers) -> ElGamalCiphertext:
        """The same with numbers that are known."""
        check_key(one, self._backend, self._key)
        known = (self._encoding.encode(number) for number in self._checked(numbers))
        return self._combined(one, [(gmpy2.mpz(1), element) for element in known], 1)

    def _combined(self, one: ElGamalCiphertext, pairs: Iterable[Pair], combined: int) -> ElGamalCiphertext:
        others = tuple(pairs)
        if len(others) != one.length:
            raise invalid(f"{len(others)} numbers do not go with {one.length}")
        total = one.combined + combined
        if total > self._encoding.most:
            raise out_of_range(
                f"{total} numbers in one exceed the {self._encoding.most} that there is room for"
            )
        result = tuple(self._key.times(pair, other) for pair, other in zip(one.pairs, others, strict=True))
        return replace(one, pairs=result, combined=total, computed=True)

    def _checked(self, numbers: Numbers) -> list[int]:
        return checked_integers(numbers, self._encoding.smallest, self._encoding.largest)


class ProductsPublic(ElGamalPublic):
    """Multiplies."""

    def multiply(self, one: ElGamalCiphertext, other: ElGamalCiphertext) -> ElGamalCiphertext:
        return self.combine(one, other)

    def multiply_plain(self, one: ElGamalCiphertext, numbers: Numbers) -> ElGamalCiphertext:
        return self.combine_plain(one, numbers)


class SumsPublic(ElGamalPublic):
    """Adds."""

    def add(self, one: ElGamalCiphertext, other: ElGamalCiphertext) -> ElGamalCiphertext:
        return self.combine(one, other)

    def add_plain(self, one: ElGamalCiphertext, numbers: Numbers) -> ElGamalCiphertext:
        return self.combine_plain(one, numbers)


class ElGamalSecret(SecretCipher[ElGamalCiphertext]):
    """Opens ciphertexts of its own key."""

    def __init__(self, backend: str, key: SecretKey, encoding: Encoding) -> None:
        self._backend, self._key, self._encoding = backend, key, encoding

    def decrypt(self, ciphertext: ElGamalCiphertext) -> Numbers:
        check_key(ciphertext, self._backend, self._key.public)
        elements = self._key.open(ciphertext.pairs)
        numbers = [self._encoding.decode(element, ciphertext.combined) for element in elements]
        return np.array(numbers, object)


def check_key(ciphertext: ElGamalCiphertext, backend: str, key: PublicKey) -> None:
    """Raise `WireError` (`artefact_invalid`) for a ciphertext of another key or backend."""
    if ciphertext.backend != backend or ciphertext.key.digest != key.digest:
        raise invalid("the ciphertext belongs to another key")
