"""Keys: what is checked of one that comes from elsewhere, and how elements are encrypted and opened under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import gmpy2

from fedcore.plugin_api import KeyPair
from fedcore.plugin_api.ciphers import key_digest, key_invalid

from .groups import GENERATOR, Element, FixedBase, Group, fixed_base, group

Pair = tuple[Element, Element]


@dataclass(frozen=True)
class PublicKey:
    """A checked public key: `digest` names it."""

    group: Group
    element: int = field(repr=False)
    digest: str

    @classmethod
    def read(cls, group: Group, data: bytes) -> PublicKey:
        """Raises `WireError` (`key_invalid`) unless it is an element of the group that generates it."""
        if len(data) != group.width:
            raise key_invalid(f"a public key for {group.name} has {group.width} bytes, not {len(data)}")
        element = int.from_bytes(data, "big")
        if not 1 < element < group.prime - 1:
            raise key_invalid("the public key is out of range")
        if not group.has(element):
            raise key_invalid(f"the public key is not in the group of {group.name}")
        return cls(group, element, key_digest(data))

    @property
    def _tables(self) -> tuple[FixedBase, FixedBase]:
        return fixed_base(self.group.name, GENERATOR), fixed_base(self.group.name, self.element)

    def encrypt(self, message: Element, exponent: int) -> Pair:
        """The ciphertext of an element with this secret exponent, which is used once."""
        of_generator, of_key = self._tables
        return of_generator.power(exponent), of_key.power(exponent) * message % self.group.prime

    def fresh(self, message: Element) -> Pair:
        """A ciphertext of an element with a fresh exponent."""
        return self.encrypt(message, self.group.secret_exponent())

    def rerandomised(self, pair: Pair) -> Pair:
        """A ciphertext of the same element that nobody without the secret key can tell to be of the same."""
        return self.times(pair, self.fresh(gmpy2.mpz(1)))

    def times(self, one: Pair, other: Pair) -> Pair:
        """The ciphertext of the product."""
        prime = self.group.prime
        return one[0] * other[0] % prime, one[1] * other[1] % prime


@dataclass(frozen=True)
class SecretKey:
    """A secret key with its public one."""

    public: PublicKey
    _exponent: int = field(repr=False)

    @classmethod
    def read(cls, group: Group, pair: KeyPair) -> SecretKey:
        """Raises `WireError` (`key_invalid`) unless the two halves belong together."""
        public = PublicKey.read(group, pair.public)
        exponent = int.from_bytes(pair.secret, "big")
        if len(pair.secret) != group.exponent_bits // 8 or exponent < group.least_exponent:
            raise key_invalid(
                "the secret key has another length, or is too small to have been drawn at random"
            )
        if group.power(gmpy2.mpz(GENERATOR), exponent) != public.element:
            raise key_invalid("the secret key does not belong to the public key")
        return cls(public, exponent)

    def open(self, pairs: Sequence[Pair]) -> list[Element]:
        """The elements that were encrypted."""
        group = self.public.group
        return [
            second * group.inverse(group.power(first, self._exponent)) % group.prime
            for first, second in pairs
        ]


def generate(name: str) -> KeyPair:
    """A fresh key pair."""
    found = group(name)
    exponent = found.secret_exponent()
    element = int(found.power(gmpy2.mpz(GENERATOR), exponent))
    secret = exponent.to_bytes(found.exponent_bits // 8, "big")
    return KeyPair(element.to_bytes(found.width, "big"), secret)
