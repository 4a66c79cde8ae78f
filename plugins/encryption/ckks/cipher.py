"""What can be done with the public key of a CKKS pair."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import tenseal.sealapi as sealapi
from numpy.typing import NDArray

from fedcore.plugin_api.arrays import invalid
from fedcore.plugin_api.backends import Operation
from fedcore.plugin_api.ciphers import (
    Ciphertext,
    Numbers,
    OperationMissing,
    PublicCipher,
    checked_matrix,
    checked_reals,
    key_digest,
    out_of_range,
    pack_ciphertext,
    unpack_ciphertext,
)

from .keys import PublicKey
from .parameters import product
from .seal import TRANSPARENT, Scheme, narrow, widen

_ARRAY: Final = "polynomials"
_LENGTH: Final = "length"
_LEVEL: Final = "level"
_MAGNITUDE: Final = "magnitude"
_NOISE: Final = "noise"
Row = list[float] | list[complex]
_FACTS: Final = frozenset({_LENGTH, _LEVEL, _MAGNITUDE, _NOISE})


@dataclass(frozen=True, eq=False)
class CkksCiphertext(Ciphertext):
    """Numbers in parts of as many as there are slots.

    `level` is how often it can still be multiplied; `magnitude` and `noise` bound what is in it (`parameters`).
    """

    cipher: CkksPublic = field(repr=False)
    parts: tuple[Any, ...] = field(repr=False)
    count: int
    level: int
    magnitude: int
    noise: int

    @property
    def length(self) -> int:
        return self.count

    def pack(self) -> bytes:
        return self.cipher.pack(self)


class CkksPublic(PublicCipher[CkksCiphertext]):
    """Encrypts, adds, and multiplies as often as the options' depth says.

    Whether a result has room is decided from the bounds alone, before anything is computed.
    """

    def __init__(self, name: str, data: bytes, key: PublicKey, scheme: Scheme) -> None:
        self.digest = key_digest(data)
        self.scheme = scheme
        self.declared = scheme.parameters.declared
        self._name = name
        self._key = key
        self._encryptor = sealapi.Encryptor(scheme.context, key.public)

    def encrypt(self, numbers: Numbers) -> CkksCiphertext:
        values = checked_reals(numbers, self.declared.largest)
        level = self.declared.depth
        parts = tuple(self._encrypted(rows, level) for rows in self._rows(values))
        return CkksCiphertext(self, parts, len(values), level, self.declared.largest, 1)

    def add(self, one: CkksCiphertext, other: CkksCiphertext) -> CkksCiphertext:
        """The sums. Of two levels the lower one remains."""
        self._check_pair(one, other)
        level = min(one.level, other.level)
        one, other = (self._lowered(each, level) for each in (one, other))
        magnitude, noise = self._checked(one.magnitude + other.magnitude, one.noise + other.noise)
        pairs = zip(one.parts, other.parts, strict=True)
        parts = tuple(self._sum(first, second, level) for first, second in pairs)
        return CkksCiphertext(self, parts, one.count, level, magnitude, noise)

    def add_plain(self, one: CkksCiphertext, numbers: Numbers) -> CkksCiphertext:
        values = self._known(one, numbers)
        bounds = self._checked(one.magnitude + _bound(values), one.noise + 1)
        parts = []
        for part, rows in zip(one.parts, self._rows(values), strict=True):
            encoded = self.scheme.encoded(rows, one.level, self.scheme.scales[one.level])
            parts.append(_new(self._evaluator.add_plain, part, encoded))
        return CkksCiphertext(self, tuple(parts), one.count, one.level, *bounds)

    def multiply(self, one: CkksCiphertext, other: CkksCiphertext) -> CkksCiphertext:
        """The products; they take a level of the lower of the two."""
        self._check_depth(Operation.MULTIPLY)
        self._check_pair(one, other)
        level = self._level_below(min(one.level, other.level)) + 1
        one, other = (self._lowered(each, level) for each in (one, other))
        bounds = self._checked(*product(one.magnitude, one.noise, other.magnitude, other.noise))
        pairs = zip(one.parts, other.parts, strict=True)
        parts = tuple(self._product(first, second, level) for first, second in pairs)
        return CkksCiphertext(self, parts, one.count, level - 1, *bounds)

    def multiply_plain(self, one: CkksCiphertext, numbers: Numbers) -> CkksCiphertext:
        """The products with known numbers; they take a level."""
        self._check_depth(Operation.MULTIPLY_PLAIN)
        values = self._known(one, numbers)
        level = self._level_below(one.level)
        bounds = self._checked(*product(one.magnitude, one.noise, _bound(values), 1))
        rows = self._rows(values)
        parts = tuple(
            self._scaled([part], [row], one.level) for part, row in zip(one.parts, rows, strict=True)
        )
        return CkksCiphertext(self, parts, one.count, level, *bounds)

    def matmul_plain(self, columns: Sequence[CkksCiphertext], matrix: Numbers) -> tuple[CkksCiphertext, ...]:
        """The columns of the product with a known matrix; they take one level, whatever the number of columns."""
        self._check_depth(Operation.MATMUL_PLAIN)
        weights = checked_matrix(matrix, len(columns), self.declared.room[0])
        self._check_own(*columns)
        if len({(column.count, column.level) for column in columns}) != 1:
            raise invalid("the columns of a matrix have one length and one level")
        level = self._level_below(columns[0].level)
        magnitude, noise = (
            max(bounds) for bounds in zip(*((c.magnitude, c.noise) for c in columns), strict=True)
        )
        results = []
        for factors in weights.T:
            most = _power_of_two(float(np.abs(factors).sum()))
            bounds = self._checked(magnitude * most, magnitude * len(columns) + noise * most + 2)
            parts = (
                self._scaled(row, factors.tolist(), level + 1)
                for row in zip(*(c.parts for c in columns), strict=True)
            )
            results.append(CkksCiphertext(self, tuple(parts), columns[0].count, level, *bounds))
        return tuple(results)

    def pack(self, ciphertext: CkksCiphertext) -> bytes:
        self._check_own(ciphertext)
        primes = self._primes(ciphertext.level)
        rows = [narrow(self.scheme.residues(part, 2), primes) for part in ciphertext.parts]
        facts = {
            _LENGTH: ciphertext.count,
            _LEVEL: ciphertext.level,
            _MAGNITUDE: ciphertext.magnitude,
            _NOISE: ciphertext.noise,
        }
        return pack_ciphertext(self._name, self.digest, {_ARRAY: np.concatenate(rows)}, **facts)

    def unpack(self, data: bytes) -> CkksCiphertext:
        """A ciphertext from `pack`, checked before SEAL sees any of it. Raises `WireError`: `artefact_invalid`, or
        `out_of_range` for bounds that leave the room that there is."""
        arrays, facts = unpack_ciphertext(data, self._name, self.digest, _FACTS)
        length, level = facts[_LENGTH], facts[_LEVEL]
        if arrays.keys() != {_ARRAY} or not length:
            raise invalid("the ciphertext has no numbers")
        if level > self.declared.depth:
            raise invalid(f"the level {level} is above the depth {self.declared.depth}")
        if not (facts[_MAGNITUDE] and facts[_NOISE]):
            raise invalid("the ciphertext says that it holds nothing, exactly")
        magnitude, noise = self._checked(facts[_MAGNITUDE], facts[_NOISE])
        primes = self._primes(level)
        polynomials = 2 * -(-length // self.scheme.parameters.numbers)
        residues = widen(arrays[_ARRAY], polynomials, primes, self.scheme.parameters.degree)
        if (residues[1::2].min(axis=2) == residues[1::2].max(axis=2)).any():
            raise invalid("a ciphertext hides nothing")
        parts = tuple(
            self.scheme.ciphertext(residues[start : start + 2], level) for start in range(0, polynomials, 2)
        )
        return CkksCiphertext(self, parts, length, level, magnitude, noise)

    def check_own(self, ciphertext: CkksCiphertext) -> None:
        """Raises `WireError` (`artefact_invalid`) unless it is of this key, which is one of these options."""
        self._check_own(ciphertext)

    @property
    def _evaluator(self) -> Any:
        return self.scheme.evaluator

    def _primes(self, level: int) -> list[int]:
        return self.scheme.moduli[: self.scheme.parameters.limbs_at(level)]

    def _rows(self, values: NDArray[np.float64]) -> list[Row]:
        """The numbers by part; behind the last one the slots hold zero."""
        numbers, slots = self.scheme.parameters.numbers, self.scheme.parameters.slots
        padded = np.pad(values, (0, -len(values) % numbers)).reshape(-1, numbers)
        halves = padded if numbers == slots else padded[:, :slots] + 1j * padded[:, slots:]
        rows: Any = halves.tolist()
        return list(rows)

    def _encrypted(self, row: Row, level: int) -> Any:
        encoded = self.scheme.encoded(row, level, self.scheme.scales[level])
        return _new(self._encryptor.encrypt, encoded)

    def _zero(self, level: int, scale: float) -> Any:
        found = _new(self._encryptor.encrypt_zero, self.scheme.identities[level])
        found.scale = scale
        return found

    def _sum(self, one: Any, other: Any, level: int) -> Any:
        """Where all randomness would cancel, so that anybody could read the sum, it gets fresh one."""
        try:
            return _new(self._evaluator.add, one, other)
        except RuntimeError as error:
            if TRANSPARENT not in str(error):
                raise
        return _new(self._evaluator.add, _new(self._evaluator.add, one, self._zero(level, one.scale)), other)

    def _product(self, one: Any, other: Any, level: int) -> Any:
        found = _new(self._evaluator.multiply, one, other)
        self._evaluator.relinearize_inplace(found, self._key.relinearisation)
        return self.scheme.rescaled(found, level)

    def _scaled(self, parts: Iterable[Any], factors: Iterable[Any], level: int) -> Any:
        """The sum of the parts, each times its factor (a number, or one for each slot), rescaled once."""
        total = None
        for part, factor in zip(parts, factors, strict=True):
            encoded = self.scheme.encoded(factor, level, self.scheme.scales[level])
            if encoded.is_zero():
                continue
            term = _new(self._evaluator.multiply_plain, part, encoded)
            total = term if total is None else self._sum(total, term, level)
        if total is None:
            return self._zero(level - 1, self.scheme.scales[level - 1])
        return self.scheme.rescaled(total, level)

    def _lowered(self, one: CkksCiphertext, level: int) -> CkksCiphertext:
        """The same numbers at a lower level, where the scale is another: multiplied by one, not only cut."""
        while one.level > level:
            bounds = self._checked(*product(one.magnitude, one.noise, 1, 1))
            parts = tuple(self._scaled([part], [1.0], one.level) for part in one.parts)
            one = CkksCiphertext(self, parts, one.count, one.level - 1, *bounds)
        return one

    def _known(self, one: CkksCiphertext, numbers: Numbers) -> NDArray[np.float64]:
        self._check_own(one)
        values = checked_reals(numbers, self.declared.room[0])
        if len(values) != one.count:
            raise invalid(f"{len(values)} known numbers for {one.count} encrypted ones")
        return values

    def _check_pair(self, one: CkksCiphertext, other: CkksCiphertext) -> None:
        self._check_own(one, other)
        if one.count != other.count:
            raise invalid(f"{one.count} numbers and {other.count} do not go together")

    def _check_own(self, *ciphertexts: CkksCiphertext) -> None:
        if any(ciphertext.cipher.digest != self.digest for ciphertext in ciphertexts):
            raise invalid("the ciphertext belongs to another key")

    def _check_depth(self, operation: Operation) -> None:
        if not self.declared.depth:
            raise OperationMissing(operation)

    def _level_below(self, level: int) -> int:
        if level < 1:
            raise out_of_range(
                f"the ciphertext was multiplied {self.declared.depth} times already: raise the option depth"
            )
        return level - 1

    def _checked(self, magnitude: int, noise: int) -> tuple[int, int]:
        most, loudest = self.declared.room
        if magnitude > most:
            raise out_of_range(
                f"numbers up to {magnitude} exceed the room for {most}: raise the options largest or summands"
            )
        if noise > loudest:
            raise out_of_range(
                f"a noise of {noise} exceeds the room for {loudest}: raise the option summands"
            )
        return magnitude, noise


def _new(compute: Callable[..., None], *arguments: Any) -> Any:
    """What one of SEAL's functions writes into its last argument."""
    target = sealapi.Ciphertext()
    compute(*arguments, target)
    return target


def _bound(values: NDArray[np.float64]) -> int:
    return _power_of_two(float(np.abs(values).max()))


def _power_of_two(number: float) -> int:
    """The next power of two, at least 1: how large known numbers are shows no more closely."""
    return 1 << max(0, math.ceil(math.log2(number))) if number > 1 else 1
