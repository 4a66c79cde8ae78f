"""Keys of CKKS: made, checked on arrival, and counted.

A public key is an encryption of zero, and where the options have a depth, keys that bring products of two ciphertexts
back to two polynomials. A secret key is a polynomial of -1, 0 and 1. Both travel as residues, the public one with the
parameters that it was made for (J. H. Cheon, A. Kim, M. Kim, Y. Song: Homomorphic Encryption for Arithmetic of
Approximate Numbers, Asiacrypt 2017; key switching as in Microsoft SEAL 4).

The first eight bytes of a secret key say how many ciphertexts it has opened.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import tenseal.sealapi as sealapi
from numpy.typing import NDArray

from fedcore.plugin_api.arrays import pack_arrays
from fedcore.plugin_api.ciphers import KeyPair, key_digest, key_invalid, key_spent, unpack_key

from .parameters import weakness
from .seal import Residues, Scheme, narrow, widen

COUNT_BYTES: Final = 8
_MODULI: Final = "moduli"
_PUBLIC: Final = "public"
_RELINEARISATION: Final = "relinearisation"
_DEGREE: Final = "degree"


@dataclass(frozen=True)
class PublicKey:
    """What SEAL encrypts with, and brings products back with (`None` without a depth)."""

    public: Any
    relinearisation: Any


def generate(scheme: Scheme) -> KeyPair:
    """A fresh pair from the system's randomness."""
    check_security(scheme.parameters.degree, scheme.moduli)
    generator = sealapi.KeyGenerator(scheme.context)
    # SEAL's objects live in variables here: what is read of one refers into its memory.
    public, secret = sealapi.PublicKey(), generator.secret_key()
    generator.create_public_key(public)
    arrays: dict[str, NDArray[Any]] = {
        _MODULI: np.array(scheme.moduli, np.uint64),
        _PUBLIC: narrow(scheme.residues(public.data(), 2), scheme.moduli),
    }
    if scheme.parameters.declared.depth:
        keys = sealapi.RelinKeys()
        generator.create_relin_keys(keys)
        parts = [scheme.residues(key.data(), 2) for key in keys.data()[0]]
        arrays[_RELINEARISATION] = narrow(np.concatenate(parts), scheme.moduli)
    polynomial = narrow(scheme.residues(secret.data(), 1), scheme.moduli)
    return KeyPair(pack_arrays(arrays, _facts(scheme)), bytes(COUNT_BYTES) + polynomial.tobytes())


def read_public(data: bytes, scheme: Scheme) -> PublicKey:
    """The public key in these bytes. Raises `WireError` (`key_invalid`) unless it is secure and for these options."""
    arrays, facts = unpack_key(data)
    _check_facts(arrays, facts, scheme)
    public, *relinearisation = _polynomials(arrays, scheme)
    return PublicKey(
        scheme.public_key(public), scheme.relinearisation(relinearisation) if relinearisation else None
    )


def read_secret(data: bytes, scheme: Scheme) -> Any:
    """SEAL's secret key. Whether it is the one of a public key shows when it opens something."""
    polynomial = np.frombuffer(data[COUNT_BYTES:], np.uint8).reshape(1, -1)
    return scheme.secret_key(widen(polynomial, 1, scheme.moduli, scheme.parameters.degree, key_invalid))


def check_security(degree: int, moduli: list[int]) -> None:
    """Raises `WireError` (`key_invalid`) for parameters of less than 128 bits by the standard."""
    problem = weakness(degree, moduli)
    if problem:
        raise key_invalid(problem)


class Openings:
    """How many ciphertexts each key of this process has opened: never fewer than any of its copies said."""

    def __init__(self) -> None:
        self._spent: dict[str, int] = {}
        self._lock = threading.Lock()

    def remember(self, key: str, spent: int) -> None:
        with self._lock:
            self._spent[key] = max(spent, self._spent.get(key, 0))

    def spent(self, key: str) -> int:
        return self._spent.get(key, 0)

    def take(self, key: str, wanted: int, limit: int) -> None:
        """Books them. Raises `WireError` (`key_spent`), and books nothing, where not so many are left."""
        with self._lock:
            spent = self._spent.get(key, 0)
            if spent + wanted > limit:
                raise key_spent(
                    f"the key pair opens {limit} ciphertexts, {spent} are opened and this needs {wanted}: "
                    "make a new pair"
                )
            self._spent[key] = spent + wanted


OPENINGS: Final = Openings()


def spent_in(secret: bytes) -> int:
    """How many ciphertexts a secret key says that it has opened."""
    return int.from_bytes(secret[:COUNT_BYTES], "big")


def with_spent(pair: KeyPair) -> KeyPair:
    """The pair with the present count, to be stored instead of the former one."""
    spent = OPENINGS.spent(key_digest(pair.public))
    return KeyPair(pair.public, spent.to_bytes(COUNT_BYTES, "big") + pair.secret[COUNT_BYTES:])


def _facts(scheme: Scheme) -> dict[str, str]:
    parameters = scheme.parameters
    return parameters.declared.facts() | {_DEGREE: str(parameters.degree)}


def _check_facts(arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, str], scheme: Scheme) -> None:
    told = arrays.get(_MODULI, np.zeros(0, np.uint64))
    degree = facts.get(_DEGREE, "")
    if told.dtype != np.uint64 or told.ndim != 1 or not 2 <= len(told) <= 64:
        raise key_invalid("the public key does not say its moduli")
    if not (degree.isascii() and degree.isdigit() and len(degree) <= 6):
        raise key_invalid("the public key does not say its degree")
    moduli = [int(modulus) for modulus in told]
    check_security(int(degree), moduli)
    if facts != _facts(scheme) or moduli != scheme.moduli:
        raise key_invalid("the public key was made with other options")


def _polynomials(arrays: Mapping[str, NDArray[Any]], scheme: Scheme) -> list[Residues]:
    """The public key, then the keys for products if there have to be some, each of two polynomials."""
    expected = {_MODULI: 0, _PUBLIC: 2}
    if scheme.parameters.declared.depth:
        expected[_RELINEARISATION] = 2 * (len(scheme.moduli) - 1)
    if arrays.keys() != expected.keys():
        raise key_invalid("the public key has more or fewer parts than it should have")
    found: list[Residues] = []
    for name, polynomials in expected.items():
        if polynomials:
            residues = widen(arrays[name], polynomials, scheme.moduli, scheme.parameters.degree, key_invalid)
            if (residues.min(axis=2) == residues.max(axis=2)).any():
                raise key_invalid("a polynomial of the public key is constant, so it would hide nothing")
            found += np.split(residues, polynomials // 2)
    return found
