"""RSA without padding, which multiplies encrypted whole numbers: for teaching, and not for anybody's data.

**Who sees what, assuming what.** A number m becomes m^65537 modulo n, always the same (R. Rivest, A. Shamir, L.
Adleman, 1978). If the RSA problem is hard, nobody without the secret key can open the ciphertext of a number *drawn at
random from all below n*. Numbers of real data are not: whoever has the public key, and that is everybody who encrypts,
encrypts each number that it might be and compares. For numbers that are products of two of half their length, even the
square root of that work will do (D. Boneh, A. Joux, P. Nguyen: Why Textbook ElGamal and RSA Encryption Are Insecure,
ASIACRYPT 2000). Without any key, whoever sees ciphertexts sees which numbers are equal and how often each occurs.
`tests/plugins/encryption/test_rsa_attacks.py` carries these attacks out.

An owner's policy therefore refuses this backend unless it names it in `teaching_backends`. Use `elgamal`, which
multiplies too and shows none of this.

**Coalitions.** None is needed: anybody with the public key can confirm a guess alone. A holder of the secret key opens
everything that it receives.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, Self

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
    from .ciphers import Room

SPARE_BITS: Final = 65
"""One so that a product stays below the modulus, 64 so that what is no product is hardly taken for one."""


class RsaOptions(Options):
    """How large keys, numbers and products are."""

    key_bits: Literal[3072, 4096] = Field(default=3072, description="bits of the modulus")
    bits: int = Field(default=64, ge=1, le=1024, description="bits of the largest number that is encrypted")
    factors: int = Field(default=16, ge=2, le=1024, description="how many numbers may be multiplied into one")

    @model_validator(mode="after")
    def _products_fit(self) -> Self:
        room = self.key_bits - SPARE_BITS
        if self.bits * self.factors > room:
            raise ValueError(f"bits times factors may be {room} with this key. Lower one of them.")
        return self


class Rsa(CipherBackend[RsaOptions]):
    """Numbers from 1 that can be multiplied; equal ones look equal, and guesses can be confirmed by anybody."""

    name = "rsa"
    version = "1"
    summary = "For teaching only: RSA without padding, whose numbers can be multiplied, compared and guessed."
    operations = frozenset({Operation.MULTIPLY, Operation.MULTIPLY_PLAIN})
    protects = frozenset({Protects.MATRIX})
    leakage = frozenset({Leak.LENGTHS, Leak.EQUALITY, Leak.FREQUENCY})
    trust = (
        "Whoever sees the ciphertexts and the public key can test guesses about any number, alone.",
        "Whoever sees the ciphertexts sees which numbers are equal and how often each occurs, without any key.",
        "A holder of the secret key can open every ciphertext that it receives, not only results.",
        "Whoever carries a ciphertext can change the numbers in it by computing with them.",
    )
    minimum_owners = 2
    security_bits = 128
    status = BackendStatus.TEACHING
    key_holders = KeyHolders.OWNERS
    domain = Domain.INTEGERS
    Options = RsaOptions

    @property
    def tolerance(self) -> float:
        return 0

    @property
    def largest(self) -> int:
        return self._room.largest

    @property
    def smallest(self) -> int:
        return 1

    def most(self, operation: Operation) -> int:
        return self._room.most - 1 if operation in self.operations else 0

    def generate_keys(self) -> KeyPair:
        from .keys import generate

        return generate(self.options.key_bits)

    def public(self, key: bytes) -> PublicCipher[Any]:
        from .ciphers import RsaPublic
        from .keys import PublicKey

        return RsaPublic(PublicKey.read(self.options.key_bits, key), self._room)

    def secret(self, pair: KeyPair) -> SecretCipher[Any]:
        from .ciphers import RsaSecret
        from .keys import SecretKey

        return RsaSecret(SecretKey.read(self.options.key_bits, pair), self._room)

    @cached_property
    def _room(self) -> Room:
        from .ciphers import Room

        return Room(2**self.options.bits - 1, self.options.factors)

    @classmethod
    def warm(cls) -> None:
        from . import ciphers  # noqa: F401
