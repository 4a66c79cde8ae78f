"""Backends that compute on encrypted numbers: one interface for additive, multiplicative and approximate cryptosystems.

Whoever has the public key encrypts and computes; whoever has the secret key decrypts. What a backend cannot compute it
does not declare in `operations`, and it refuses it by name. Numbers are arrays of one dimension: float64 for
`Domain.REALS`, Python integers (dtype object) for `Domain.INTEGERS`.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.arrays import invalid, pack_arrays, unpack_arrays
from fedcore.plugin_api.backends import EncryptionBackend, Operation
from fedcore.plugin_api.plugins import SomeOptions
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError

Numbers = NDArray[Any]

_DIGEST: Final = "digest"
_KEY: Final = "key"


class Domain(StrEnum):
    """Which numbers a backend encrypts."""

    REALS = "reals"
    INTEGERS = "integers"


@dataclass(frozen=True)
class KeyPair:
    """A public key, and the secret one, as bytes that travel: the second one sealed, to a holder of the key only."""

    public: bytes
    secret: bytes = field(repr=False)


class Ciphertext(ABC):
    """Encrypted numbers under one public key."""

    @property
    @abstractmethod
    def length(self) -> int:
        """How many numbers there are."""

    @abstractmethod
    def pack(self) -> bytes:
        """The bytes that travel. What they show is in the backend's `leakage`."""


SomeCiphertext = TypeVar("SomeCiphertext", bound=Ciphertext)


class OperationMissing(TypeError):
    """An operation that the backend does not declare."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(f"The backend does not declare the operation {operation.value!r}.")
        self.operation = operation


class PublicCipher(ABC, Generic[SomeCiphertext]):
    """What anybody can do who has the public key.

    Every method raises `WireError`: `out_of_range` for numbers, or a result, that the backend cannot hold,
    `not_finite` for NaN and infinity. An operation that is not declared raises `OperationMissing`.
    """

    @abstractmethod
    def encrypt(self, numbers: Numbers) -> SomeCiphertext:
        """The numbers, encrypted with fresh randomness."""

    @abstractmethod
    def unpack(self, data: bytes) -> SomeCiphertext:
        """A ciphertext from `pack`, checked. Raises `WireError` (`artefact_invalid`)."""

    def add(self, one: SomeCiphertext, other: SomeCiphertext) -> SomeCiphertext:
        """The sums, number by number, of two ciphertexts of one length."""
        raise OperationMissing(Operation.ADD)

    def add_plain(self, one: SomeCiphertext, numbers: Numbers) -> SomeCiphertext:
        """The sums with numbers that are known."""
        raise OperationMissing(Operation.ADD_PLAIN)

    def multiply(self, one: SomeCiphertext, other: SomeCiphertext) -> SomeCiphertext:
        """The products, number by number, of two ciphertexts of one length."""
        raise OperationMissing(Operation.MULTIPLY)

    def multiply_plain(self, one: SomeCiphertext, numbers: Numbers) -> SomeCiphertext:
        """The products with numbers that are known."""
        raise OperationMissing(Operation.MULTIPLY_PLAIN)

    def append(self, one: SomeCiphertext, numbers: Numbers) -> SomeCiphertext:
        """The numbers of the ciphertext followed by more, without opening it."""
        raise OperationMissing(Operation.APPEND)

    def matmul_plain(self, columns: Sequence[SomeCiphertext], matrix: Numbers) -> tuple[SomeCiphertext, ...]:
        """The columns of the product of a matrix, whose columns are ciphertexts of one length, with a known matrix of
        one row for each of them."""
        raise OperationMissing(Operation.MATMUL_PLAIN)


class SecretCipher(ABC, Generic[SomeCiphertext]):
    """What only a holder of the secret key can do."""

    @abstractmethod
    def decrypt(self, ciphertext: SomeCiphertext) -> Numbers:
        """The numbers. Raises `WireError` (`artefact_invalid`) for a ciphertext of another key, before opening it."""


class CipherBackend(EncryptionBackend[SomeOptions]):
    """A backend that protects numbers under a key pair.

    `domain` says which numbers, `largest` and `smallest` between which bounds they lie where they are encrypted, `most`
    how often an operation may be done on what came of one encryption, and `tolerance` how far a number may come back
    from what it should be: 0 for exact ones.
    """

    domain: ClassVar[Domain]

    @property
    @abstractmethod
    def largest(self) -> float | int:
        """The largest number that is encrypted."""

    @property
    def smallest(self) -> float | int:
        """The smallest number that is encrypted: as far below zero as `largest` is above it, or what a backend says."""
        return -self.largest

    @property
    @abstractmethod
    def tolerance(self) -> float:
        """How far each number may be from the exact one after one operation, relative to `max(1, |number|)`."""

    @abstractmethod
    def most(self, operation: Operation) -> int:
        """How often the operation may be done on one ciphertext, one after the other: at least 1 where declared."""

    @property
    def decryptions(self) -> int | None:
        """How many ciphertexts a key pair opens before it refuses (`key_spent`), where opened numbers tell something of
        the key, as approximate ones do; `None` where they tell nothing. A long ciphertext may count as several."""
        return None

    @abstractmethod
    def generate_keys(self) -> KeyPair:
        """A fresh key pair from the system's randomness."""

    @abstractmethod
    def public(self, key: bytes) -> PublicCipher[Any]:
        """The public half of a key that came from elsewhere. Raises `WireError` (`key_invalid`) for a weak or
        malformed key."""

    @abstractmethod
    def secret(self, pair: KeyPair) -> SecretCipher[Any]:
        """The secret half. Raises `WireError` (`key_invalid`) where the two do not belong together."""


def key_invalid(detail: str) -> WireError:
    """The error for a key that is weak, malformed or not the right one."""
    return WireError(RefusalCode.KEY_INVALID, detail)


def key_spent(detail: str) -> WireError:
    """The error for a key pair that has opened as much as it may."""
    return WireError(RefusalCode.KEY_SPENT, detail)


def out_of_range(detail: str) -> WireError:
    """The error for a number, or a number of operations, that a backend cannot hold."""
    return WireError(RefusalCode.OUT_OF_RANGE, detail)


def key_digest(public: bytes) -> str:
    """Which public key it is: SHA-256 in hexadecimal."""
    return hashlib.sha256(public).hexdigest()


def checked_reals(numbers: Numbers, largest: float) -> NDArray[np.float64]:
    """The numbers as float64. Raises `WireError` unless they are finite and at most `largest`, in one dimension."""
    values = np.asarray(numbers, np.float64)
    if values.ndim != 1 or not len(values):
        raise invalid(f"numbers to encrypt have one dimension and at least one element, not {values.shape}")
    _check_bounded(values, largest, "a number to encrypt")
    return values


def checked_matrix(matrix: Numbers, rows: int, largest: float) -> NDArray[np.float64]:
    """The known matrix as float64. Raises `WireError` unless it has as many rows, at least one row and one column, and
    finite numbers of at most `largest`."""
    values = np.asarray(matrix, np.float64)
    if values.ndim != 2 or values.shape[0] != rows or not values.size:
        raise invalid(f"a matrix of shape {values.shape} for {rows} encrypted columns")
    _check_bounded(values, largest, "a number of the matrix")
    return values


def _check_bounded(values: NDArray[np.float64], largest: float, what: str) -> None:
    top, bottom = float(values.max()), float(values.min())
    if not (math.isfinite(top) and math.isfinite(bottom)):
        raise WireError(RefusalCode.NOT_FINITE, f"{what} is NaN or infinite")
    if max(top, -bottom) > largest:
        raise out_of_range(f"{what} exceeds {largest:g}")


def checked_integers(numbers: Numbers, smallest: int, largest: int) -> list[int]:
    """The numbers as Python integers. Raises `WireError` unless all are whole and from `smallest` to `largest`."""
    values = np.asarray(numbers)
    if values.ndim != 1 or not len(values):
        raise invalid(f"numbers to encrypt have one dimension and at least one element, not {values.shape}")
    if values.dtype.kind not in "iu" and not all(type(value) is int for value in values):
        raise invalid("numbers to encrypt are whole numbers")
    whole = [int(value) for value in values]
    if not all(smallest <= value <= largest for value in whole):
        raise out_of_range("a number to encrypt is out of range")
    return whole


def pack_ciphertext(backend: str, key: str, arrays: Mapping[str, NDArray[Any]], **facts: int) -> bytes:
    """Arrays and whole numbers as the bytes of a ciphertext: with the digest of its key, and one of all content.

    The second one finds bytes that were damaged. Who made them is known by the signed report that names them.
    """
    texts = {"backend": backend, _KEY: key} | {name: str(value) for name, value in facts.items()}
    return pack_arrays(arrays, texts | {_DIGEST: _digest(arrays, texts)})


def unpack_ciphertext(
    data: bytes, backend: str, key: str, facts: frozenset[str]
) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """What `pack_ciphertext` has packed for this backend and key. Raises `WireError` (`artefact_invalid`)."""
    arrays, texts = unpack_arrays(data)
    told = texts.pop(_DIGEST, "")
    if texts.keys() != facts | {"backend", _KEY} or texts["backend"] != backend:
        raise invalid(f"the bytes are no ciphertext of {backend}")
    if told != _digest(arrays, texts):
        raise invalid("the ciphertext is damaged")
    if texts[_KEY] != key:
        raise invalid("the ciphertext belongs to another key")
    numbers = {name: texts[name] for name in facts}
    if not all(text.isascii() and text.isdigit() and len(text) <= 15 for text in numbers.values()):
        raise invalid("a fact of the ciphertext is no whole number")
    return arrays, {name: int(text) for name, text in numbers.items()}


def unpack_key(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays and texts of a key that was packed with `pack_arrays`. Raises `WireError` (`key_invalid`)."""
    try:
        return unpack_arrays(data)
    except WireError as error:
        raise key_invalid(error.detail) from None


def integers_to_array(values: list[int], width: int) -> NDArray[np.uint8]:
    """Non-negative integers as rows of `width` bytes, most significant first."""
    joined = b"".join(value.to_bytes(width, "big") for value in values)
    return np.frombuffer(joined, np.uint8).reshape(len(values), width)


def array_to_integers(array: NDArray[Any], width: int) -> list[int]:
    """Rows of `width` bytes as integers. Raises `WireError` (`artefact_invalid`) for another shape or dtype."""
    if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != width or not len(array):
        raise invalid(f"{array.shape} bytes of {array.dtype} are no rows of {width} bytes")
    joined = array.tobytes()
    return [int.from_bytes(joined[start : start + width], "big") for start in range(0, len(joined), width)]


def _digest(arrays: Mapping[str, NDArray[Any]], texts: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name, text in sorted(texts.items()):
        digest.update(f"{name}={text}\n".encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
