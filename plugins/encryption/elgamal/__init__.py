"""ElGamal encryption of whole numbers: products of encrypted numbers, or sums of small ones.

**Who sees what, assuming what.** A ciphertext shows how many numbers there are, and how many each of them was combined
from; nothing else, assuming the decisional Diffie-Hellman problem in a group of RFC 7919, for short exponents too (T.
Koshiba, K. Kurosawa: Short Exponent Diffie-Hellman Problems, PKC 2004), and that nobody guesses the system's
randomness. Equal numbers look different, and a result is encrypted anew before it travels, so that it cannot be matched
with what it was computed from. The RFC puts the strength of its group of 3072 bits at 125 bits. A large quantum
computer would break it.

**What it does not do.** Whoever has the public key can encrypt, and can change what a ciphertext holds by computing
with it: who made one is known by the signed report that names it, not by the ciphertext. The secret exponent is used in
constant time, the numbers themselves are not: whoever can measure how long a host takes to encrypt, or to find a sum,
learns something of them.

**Coalitions.** A holder of the secret key can open every ciphertext that it receives, of each owner by itself: that it
opens results only is its promise, and mathematics does not enforce it. Without a holder of the secret key, no number of
others can open anything.

There are two backends, as operations belong to a backend: the same ciphertexts either multiply (`elgamal`; T. ElGamal,
1985) or add (`elgamal_counts`; the exponential variant of R. Cramer, R. Gennaro, B. Schoenmakers, EUROCRYPT 1997).
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar

from pydantic import Field, model_validator

from fedcore.plugin_api import (
    BackendStatus,
    CipherBackend,
    Domain,
    KeyHolders,
    KeyPair,
    Leak,
    Operation,
    Options,
    Protects,
    PublicCipher,
    SecretCipher,
)

if TYPE_CHECKING:
    from .encodings import Encoding

DEFAULT_GROUP: Final = "ffdhe3072"
GROUP_BITS: Final = {"ffdhe3072": 3072, "ffdhe4096": 4096}
SPARE_BITS: Final = 66
"""Two so that a product stays below half of the prime, 64 so that what is no product is hardly taken for one."""

TRUST: Final = (
    "A holder of the secret key can open every ciphertext that it receives, not only results.",
    "Whoever works with a holder of the secret key can do the same.",
    "Whoever carries a ciphertext can change the numbers in it by computing with them, without reading them.",
)


class GroupOptions(Options):
    """What both backends let choose."""

    group: Literal["ffdhe3072", "ffdhe4096"] = Field(
        default=DEFAULT_GROUP, description="the group of RFC 7919; the longer one is slower and stronger"
    )


class ProductOptions(GroupOptions):
    """How large numbers and their products may be."""

    bits: int = Field(default=64, ge=1, le=1024, description="bits of the largest number that is encrypted")
    factors: int = Field(default=16, ge=2, le=1024, description="how many numbers may be multiplied into one")

    @model_validator(mode="after")
    def _products_fit(self) -> Self:
        room = GROUP_BITS[self.group] - SPARE_BITS
        if self.bits * self.factors > room:
            raise ValueError(f"bits times factors may be {room} in {self.group}. Lower one of them.")
        return self


class CountOptions(GroupOptions):
    """How large counts and their sums may be."""

    largest: int = Field(default=10_000, ge=1, le=2**31, description="the largest number that is encrypted")
    largest_sum: int = Field(
        default=1_000_000,
        ge=2,
        le=2**32,
        description="the largest sum; opening one takes longer the larger this is",
    )

    @model_validator(mode="after")
    def _two_numbers_fit(self) -> Self:
        if self.largest_sum < 2 * self.largest:
            raise ValueError("largest_sum is less than twice largest: nothing could be added. Raise it.")
        return self


SomeGroupOptions = TypeVar("SomeGroupOptions", bound=GroupOptions)


class ElGamalBackend(CipherBackend[SomeGroupOptions]):
    """What both backends share: keys, ciphertexts, and what they show."""

    version = "1"
    domain = Domain.INTEGERS
    leakage = frozenset({Leak.LENGTHS})
    trust = TRUST
    minimum_owners = 2
    security_bits = 125
    status = BackendStatus.STABLE
    key_holders = KeyHolders.OWNERS

    @cached_property
    @abstractmethod
    def encoding(self) -> Encoding:
        """How numbers become elements of the group."""

    @property
    def tolerance(self) -> float:
        return 0

    @property
    def largest(self) -> int:
        return self.encoding.largest

    @property
    def smallest(self) -> int:
        return self.encoding.smallest

    def most(self, operation: Operation) -> int:
        return self.encoding.most - 1 if operation in self.operations else 0

    def generate_keys(self) -> KeyPair:
        from .keys import generate

        return generate(self.options.group)

    def secret(self, pair: KeyPair) -> SecretCipher[Any]:
        from .ciphers import ElGamalSecret
        from .keys import SecretKey

        return ElGamalSecret(self.name, SecretKey.read(self.encoding.group, pair), self.encoding)

    @classmethod
    def warm(cls) -> None:
        from . import ciphers, groups  # noqa: F401

        groups.fixed_base(DEFAULT_GROUP, groups.GENERATOR)


class ElGamal(ElGamalBackend[ProductOptions]):
    """Numbers from 1 that can be multiplied.

    The product of all numbers must stay below half of the prime. `bits` times `factors` keeps it there: each ciphertext
    says of how many factors it is, and one more than there is room for is refused.
    """

    name = "elgamal"
    summary = "ElGamal encryption of whole numbers from 1, which can be multiplied without opening them."
    operations = frozenset({Operation.MULTIPLY, Operation.MULTIPLY_PLAIN})
    protects = frozenset({Protects.MATRIX})
    Options = ProductOptions

    @cached_property
    def encoding(self) -> Encoding:
        from .encodings import Products
        from .groups import group

        largest = 2**self.options.bits - 1
        return Products(group(self.options.group), 1, largest, self.options.factors)

    def public(self, key: bytes) -> PublicCipher[Any]:
        from .ciphers import ProductsPublic
        from .keys import PublicKey

        return ProductsPublic(self.name, PublicKey.read(self.encoding.group, key), self.encoding)


class ElGamalCounts(ElGamalBackend[CountOptions]):
    """Small numbers from 0 that can be added.

    A sum is found by search, so it must be small. Each ciphertext says of how many terms it is; `largest_sum` over
    `largest` is how many there is room for, and a sum larger than its terms can have made is refused, never guessed.
    """

    name = "elgamal_counts"
    summary = "ElGamal encryption of small counts, which can be added without opening them."
    operations = frozenset({Operation.ADD, Operation.ADD_PLAIN})
    protects = frozenset({Protects.UPDATE, Protects.MATRIX})
    Options = CountOptions

    @cached_property
    def encoding(self) -> Encoding:
        from .encodings import Sums
        from .groups import group

        most = self.options.largest_sum // self.options.largest
        return Sums(group(self.options.group), 0, self.options.largest, most)

    def public(self, key: bytes) -> PublicCipher[Any]:
        from .ciphers import SumsPublic
        from .keys import PublicKey

        return SumsPublic(self.name, PublicKey.read(self.encoding.group, key), self.encoding)
