"""Keys of RSA: what is checked of one that comes from elsewhere, and raising to powers with it.

Public keys travel as SubjectPublicKeyInfo, secret ones as PKCS#8, both in DER (RFC 5280, RFC 5208).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import gmpy2
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from fedcore.plugin_api import KeyPair
from fedcore.plugin_api.ciphers import key_digest, key_invalid

EXPONENT: Final = 65537
_SMALL: Final = 1 << 16
_ROUNDS: Final = 25


@dataclass(frozen=True)
class PublicKey:
    """A checked public key: `digest` names it."""

    modulus: Any = field(repr=False)
    digest: str

    @classmethod
    def read(cls, bits: int, data: bytes) -> PublicKey:
        """Raises `WireError` (`key_invalid`) for a key of another size or exponent, or one that is easily factored.

        Whether two large primes made the modulus, its maker alone knows.
        """
        try:
            key = load_der_public_key(data)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise key_invalid("the bytes are no public key") from None
        if not isinstance(key, rsa.RSAPublicKey) or public_bytes(key) != data:
            raise key_invalid("the bytes are no public key of RSA in DER, and nothing else")
        numbers = key.public_numbers()
        if numbers.e != EXPONENT:
            raise key_invalid(f"the public exponent is not {EXPONENT}")
        modulus = gmpy2.mpz(numbers.n)
        if modulus.bit_length() != bits:
            raise key_invalid(f"the modulus has {modulus.bit_length()} bits, not {bits}")
        if gmpy2.gcd(modulus, _small_primes()) != 1:
            raise key_invalid("the modulus has a small factor")
        if gmpy2.is_prime(modulus, _ROUNDS) or gmpy2.is_power(modulus):
            raise key_invalid("the modulus is a prime or a power")
        return cls(modulus, key_digest(data))

    @property
    def width(self) -> int:
        """How many bytes a ciphertext takes."""
        return int(self.modulus.bit_length()) // 8

    def encrypt(self, number: int) -> Any:
        return gmpy2.powmod(number, EXPONENT, self.modulus)

    def have_no_common_factor(self, numbers: Iterable[Any]) -> bool:
        """Whether no number has a factor with the modulus, as 0 has, by one look at the product of all."""
        product = gmpy2.mpz(1)
        for number in numbers:
            product = product * number % self.modulus
        return bool(gmpy2.gcd(product, self.modulus) == 1)


@dataclass(frozen=True)
class SecretKey:
    """A secret key with its public one."""

    public: PublicKey
    _numbers: rsa.RSAPrivateNumbers = field(repr=False)

    @classmethod
    def read(cls, bits: int, pair: KeyPair) -> SecretKey:
        """Raises `WireError` (`key_invalid`) unless the two halves belong together."""
        public = PublicKey.read(bits, pair.public)
        try:
            key = load_der_private_key(pair.secret, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise key_invalid("the bytes are no secret key") from None
        if not isinstance(key, rsa.RSAPrivateKey) or public_bytes(key.public_key()) != pair.public:
            raise key_invalid("the secret key does not belong to the public key")
        return cls(public, key.private_numbers())

    def open(self, ciphertext: Any) -> int:
        """The number that was encrypted, by the Chinese remainder theorem.

        What is raised to the secret power is blinded (P. Kocher, CRYPTO 1996), in constant time, and the result is
        checked: a fault in one half of the computation would give the factors away (D. Boneh, R. DeMillo, R. Lipton,
        EUROCRYPT 1997). Raises `ArithmeticError` for such a fault.
        """
        key, modulus = self._numbers, self.public.modulus
        blind = gmpy2.mpz(2 + secrets.randbelow(int(modulus) - 2))
        blinded = ciphertext * self.public.encrypt(blind) % modulus
        of_p = gmpy2.powmod_sec(blinded, key.dmp1, key.p)
        of_q = gmpy2.powmod_sec(blinded, key.dmq1, key.q)
        found = of_q + (of_p - of_q) * key.iqmp % key.p * key.q
        number = found * gmpy2.invert(blind, modulus) % modulus
        if self.public.encrypt(number) != ciphertext:
            raise ArithmeticError("A computation with the secret key went wrong: nothing is given out.")
        return int(number)


def generate(bits: int) -> KeyPair:
    """A fresh key pair, from the system's randomness through OpenSSL."""
    key = rsa.generate_private_key(EXPONENT, bits)
    secret = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return KeyPair(public_bytes(key.public_key()), secret)


def public_bytes(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@cache
def _small_primes() -> Any:
    """The product of all primes below 2^16."""
    return gmpy2.primorial(_SMALL)
