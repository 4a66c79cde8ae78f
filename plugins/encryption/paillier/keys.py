"""Keys of Paillier's cryptosystem: made, checked on arrival, and the arithmetic of one plaintext.

The modulus `n = p q` has two primes of one length, both 3 modulo 4, far apart, with `gcd(p - 1, q - 1) = 2`.
As they have one length, `gcd(n, (p - 1)(q - 1)) = 1` holds by itself. A ciphertext of `m` is `(1 + m n) r`
modulo `n^2`, with a random `n`-th power `r`. With short exponents, `r = (h^n)^a`, where `h = -x^2` modulo `n`
for a random `x` is part of the public key, and `a` is random with half as many bits as `n`.

Paillier, "Public-key cryptosystems based on composite degree residuosity classes", Eurocrypt 1999 (decryption
modulo `p^2` and `q^2`: section 7). Damgård, Jurik and Nielsen, "A generalization of Paillier's public-key
system with applications to electronic voting", International Journal of Information Security 9 (2010) (short
exponents). NIST FIPS 186-5, appendix A.1 (primes that are far apart).
"""

from __future__ import annotations

import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Final

import gmpy2
from gmpy2 import mpz

from fedcore.plugin_api.ciphers import KeyPair, key_invalid

SMALL_FACTORS: Final = 1 << 16
"""Moduli with a prime factor below are refused."""

CLOSE_STEPS: Final = 100
"""So many steps of Fermat's method must not factor a modulus."""

_ROUNDS: Final = 40
_SMOOTH: Final = 1024
_APART: Final = 100


@dataclass(frozen=True)
class PublicKey:
    """The modulus, and with short exponents the base of the random powers."""

    n: mpz
    base: mpz | None = None

    @cached_property
    def n_squared(self) -> mpz:
        return self.n * self.n

    def encrypt(self, plaintext: mpz, power: mpz) -> mpz:
        """The plaintext, from 0 to `n - 1`, under a random `n`-th power."""
        return (1 + plaintext * self.n) * power % self.n_squared


@dataclass(frozen=True)
class SecretKey:
    """The two primes."""

    p: mpz = field(repr=False)
    q: mpz = field(repr=False)

    def decrypt(self, ciphertexts: list[mpz]) -> list[mpz]:
        """The plaintexts, from 0 to `n - 1`."""
        p, q = self.p, self.q
        # Of 1 + n, the power p - 1 modulo p^2 is 1 - q p, so what is found modulo p is -q times the plaintext.
        of_p = _found(ciphertexts, p, gmpy2.invert(-q, p))
        of_q = _found(ciphertexts, q, gmpy2.invert(-p, q))
        inverse = gmpy2.invert(p, q)
        return [low + p * ((high - low) * inverse % q) for low, high in zip(of_p, of_q, strict=True)]


def generate(bits: int, short: bool) -> KeyPair:
    """A fresh pair from the system's randomness."""
    while True:
        p, q = _prime(bits // 2), _prime(bits // 2)
        if not weakness(p, q, bits):
            break
    public = int(p * q).to_bytes(bits // 8, "big")
    if short:
        public += int(_base(p * q)).to_bytes(bits // 8, "big")
    return KeyPair(public, b"".join(int(prime).to_bytes(bits // 16, "big") for prime in (p, q)))


def weakness(p: mpz, q: mpz, bits: int) -> str | None:
    """Why two numbers of half as many bits, whose product has all, are no secret key; `None` where they are one."""
    if not p % 4 == q % 4 == 3:
        return "a prime is not 3 modulo 4"
    if abs(p - q) >> (bits // 2 - _APART) == 0:
        return "the primes are too close"
    if not (gmpy2.is_prime(p, _ROUNDS) and gmpy2.is_prime(q, _ROUNDS)):
        return "a factor is not prime"
    if gmpy2.gcd(p - 1, q - 1) != 2:
        return "the primes have a common factor in their orders"
    return None


def read_public(data: bytes, bits: int, short: bool) -> PublicKey:
    """The public key in these bytes, checked as far as one can without the factors. Raises `WireError`."""
    size = bits // 8
    if len(data) != (2 * size if short else size):
        raise key_invalid("the public key has a wrong length")
    n = mpz(int.from_bytes(data[:size], "big"))
    _check_modulus(n, bits)
    if not short:
        return PublicKey(n)
    base = mpz(int.from_bytes(data[size:], "big"))
    _check_base(base, n)
    return PublicKey(n, base)


def read_secret(data: bytes, public: PublicKey, bits: int) -> SecretKey:
    """The secret key in these bytes, if it is the one of the public key. Raises `WireError`."""
    size = bits // 16
    if len(data) != 2 * size:
        raise key_invalid("the secret key has a wrong length")
    p, q = (mpz(int.from_bytes(part, "big")) for part in (data[:size], data[size:]))
    if p * q != public.n:
        raise key_invalid("the secret key belongs to another public key")
    problem = weakness(p, q, bits)
    if problem:
        raise key_invalid(problem)
    if public.base is not None and not gmpy2.jacobi(-public.base, p) == gmpy2.jacobi(-public.base, q) == 1:
        raise key_invalid("the base of the public key is not the negative of a square")
    return SecretKey(p, q)


def _check_modulus(n: mpz, bits: int) -> None:
    if n.bit_length() != bits:
        raise key_invalid("the modulus has a wrong length")
    if n % 4 != 1:
        raise key_invalid("the modulus is no product of two primes that are 3 modulo 4")
    if gmpy2.gcd(n, _small_primes()) != 1:
        raise key_invalid("the modulus has a small factor")
    if gmpy2.is_power(n):
        raise key_invalid("the modulus is a power")
    if gmpy2.is_prime(n):
        raise key_invalid("the modulus is prime")
    root = gmpy2.isqrt(n) + 1
    if any(gmpy2.is_square((root + step) ** 2 - n) for step in range(CLOSE_STEPS)):
        raise key_invalid("the factors of the modulus are too close")


def _check_base(base: mpz, n: mpz) -> None:
    if not 1 < base < n - 1 or gmpy2.gcd(base, n) != 1:
        raise key_invalid("the base is out of range")
    if gmpy2.jacobi(base, n) != 1:
        raise key_invalid("the base is not the negative of a square")
    # A base of small order would make few random powers, or show a factor of n.
    if gmpy2.gcd(gmpy2.powmod(base, _smooth_order(), n) - 1, n) != 1:
        raise key_invalid("the base has a small order")


def _prime(bits: int) -> mpz:
    """A random prime that is 3 modulo 4; the two highest bits are set, so that a product of two has all its bits."""
    while True:
        candidate = mpz(secrets.randbits(bits)) | 3 << (bits - 2) | 3
        if gmpy2.is_prime(candidate, _ROUNDS):
            return candidate


def _base(n: mpz) -> mpz:
    while True:
        x = mpz(secrets.randbelow(int(n)))
        if gmpy2.gcd(x, n) == 1:
            return -x * x % n


def _found(ciphertexts: list[mpz], prime: mpz, factor: mpz) -> list[mpz]:
    """The plaintexts modulo one of the primes, on all cores: these powers do not hold the interpreter's lock."""
    cores = len(os.sched_getaffinity(0))
    square = prime * prime

    def powers(part: list[mpz]) -> list[mpz]:
        return list(gmpy2.powmod_base_list(part, prime - 1, square))

    numbers = [mpz(0)] * len(ciphertexts)
    with ThreadPoolExecutor(cores) as pool:
        parts = pool.map(powers, (ciphertexts[core::cores] for core in range(cores)))
        for core, part in enumerate(parts):
            numbers[core::cores] = [(power - 1) // prime * factor % prime for power in part]
    return numbers


@cache
def _small_primes() -> mpz:
    return gmpy2.primorial(SMALL_FACTORS)


@cache
def _smooth_order() -> mpz:
    order = mpz(1)
    for number in range(2, _SMOOTH + 1):
        order = gmpy2.lcm(order, number)
    return order
