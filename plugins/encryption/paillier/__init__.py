"""Numbers under Paillier's cryptosystem: with the public key one encrypts and adds, with the secret one reads.

**Who sees what, assuming what.** Assuming that nobody can tell `n`-th powers modulo `n^2` from other numbers
(decisional composite residuosity: Paillier, Eurocrypt 1999), ciphertexts of equal and of different numbers
look alike to whoever has only the public key, such as a coordinator that adds what owners send. It sees how
many numbers there are, and of how many summands each is the sum. The default mode `short` rests on one
assumption more: that a power `h^a` modulo `n` with a random exponent `a` of half as many bits as `n` cannot
be told from one with an exponent of any size (Damgård, Jurik and Nielsen, 2010). The mode `full` does without
it and encrypts many times slower.

Who has the secret key reads every ciphertext, not only sums: it must get nothing but sums, and these checked
to be over enough owners. What comes out of a computation is given fresh randomness before it travels, so
bytes do not show from which ciphertexts a sum was made.

**What it does not do.** Ciphertexts can be altered by whoever has the public key: 1 can be added to any
number unseen. Only the signature of the report that carries a ciphertext says that it is what an owner sent,
and a ciphertext that nobody signed must not be opened: even whether it was refused tells about the numbers in
it. The number of summands that travels is checked against the room there is, and after opening against the
numbers, but who can alter one can alter both. Time is not constant: who can measure encryption or decryption
closely, on the same processor for example, may learn about exponents, keys and numbers.

**Coalitions.** One owner with the secret key that works with the coordinator reads what every owner sent. Who
reads a sum and knows a part of it, as each owner knows its own, knows the sum of the others: of two owners,
each the other's.

**Exactness.** Numbers are rounded to fixed point; the sums of the rounded numbers are exact (`packing`).
Products are not offered: numbers share a plaintext, and one plaintext can only be multiplied as a whole.
"""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from fedcore.plugin_api import (
    BackendStatus,
    CipherBackend,
    Domain,
    KeyHolders,
    KeyPair,
    Leak,
    Operation,
    OperationMissing,
    Options,
    Protects,
)

from . import keys
from .cipher import NAME, PaillierPublic, PaillierSecret
from .packing import FLOAT_BITS, Layout, carry_bits


class PaillierOptions(Options):
    key_bits: Annotated[
        int, Field(ge=3072, le=8192, multiple_of=256, description="The length of the modulus n, in bits")
    ] = 3072
    randomness: Annotated[
        Literal["short", "full"],
        Field(
            description="short: exponents of half the modulus's length, from a table, under one assumption more; "
            "full: as in Paillier's paper, many times slower"
        ),
    ] = "short"
    value_bits: Annotated[
        int, Field(ge=8, le=48, description="The bits of one number in fixed point, its sign among them")
    ] = 32
    fraction_bits: Annotated[
        int,
        Field(
            ge=0, le=47, validate_default=True, description="How many of these bits stand behind the point"
        ),
    ] = 24
    summands: Annotated[
        int,
        Field(
            ge=2,
            le=65_536,
            validate_default=True,
            description="How many numbers may be added, the first among them",
        ),
    ] = 32

    @field_validator("fraction_bits")
    @classmethod
    def _is_a_part_of_the_value(cls, fraction_bits: int, info: ValidationInfo) -> int:
        value_bits = info.data.get("value_bits", fraction_bits + 1)
        if fraction_bits >= value_bits:
            raise ValueError(
                f"{fraction_bits} bits behind the point do not fit into {value_bits} bits and a sign"
            )
        return fraction_bits

    @field_validator("summands")
    @classmethod
    def _sums_are_exact(cls, summands: int, info: ValidationInfo) -> int:
        value_bits = info.data.get("value_bits", 0)
        if value_bits + carry_bits(summands) > FLOAT_BITS:
            raise ValueError(
                f"the sum of {summands} numbers of {value_bits} bits needs {value_bits + carry_bits(summands)} bits, "
                f"and float64 has {FLOAT_BITS}: lower value_bits or summands"
            )
        return summands


class Paillier(CipherBackend[PaillierOptions]):
    """Adds encrypted numbers, many in each ciphertext; sums of fixed-point numbers are exact."""

    name = NAME
    version = "1"
    summary = (
        "Numbers encrypted so that they can be added: sums come back exactly, and only with the secret key."
    )
    Options = PaillierOptions
    operations = frozenset({Operation.ADD, Operation.ADD_PLAIN, Operation.APPEND})
    protects = frozenset({Protects.UPDATE})
    leakage = frozenset({Leak.LENGTHS})
    trust = (
        "Any owner that holds the secret key together with the coordinator can read the numbers of every owner.",
        "Whoever reads a sum and gave one of its parts learns the sum of the others: with two owners, the other's "
        "numbers.",
    )
    minimum_owners = 2
    security_bits = 128
    status = BackendStatus.STABLE
    key_holders = KeyHolders.OWNERS
    domain = Domain.REALS

    @property
    def largest(self) -> float:
        return self._layout.largest

    @property
    def tolerance(self) -> float:
        return 2.0**-self.options.fraction_bits

    def most(self, operation: Operation) -> int:
        """Additions: one fewer than the declared summands. Appending has no limit of its own."""
        if operation not in self.operations:
            raise OperationMissing(operation)
        return sys.maxsize if operation is Operation.APPEND else self.options.summands - 1

    def generate_keys(self) -> KeyPair:
        """A fresh pair. Public: the modulus, and with short exponents the base. Secret: the two primes."""
        return keys.generate(self.options.key_bits, self._short)

    def public(self, key: bytes) -> PaillierPublic:
        """Checks the modulus (length, form, small, equal or close factors) and the base (range, order). That no
        larger factor is missing or known to somebody else, only the maker of the key can say."""
        return PaillierPublic(key, keys.read_public(key, self.options.key_bits, self._short), self._layout)

    def secret(self, pair: KeyPair) -> PaillierSecret:
        """Checks that the two primes are good ones, and those of the public key."""
        public = keys.read_public(pair.public, self.options.key_bits, self._short)
        secret = keys.read_secret(pair.secret, public, self.options.key_bits)
        return PaillierSecret(PaillierPublic(pair.public, public, self._layout), secret)

    @property
    def _short(self) -> bool:
        return self.options.randomness == "short"

    @property
    def _layout(self) -> Layout:
        # One byte less than the modulus: every plaintext is below it.
        options = self.options
        size = options.key_bits // 8 - 1
        return Layout(options.value_bits, options.fraction_bits, options.summands, size)
