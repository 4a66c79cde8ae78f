"""Real numbers under CKKS: with the public key one encrypts, adds and multiplies, with the secret one reads.

**Who sees what, assuming what.** Assuming that learning with errors over rings is hard (parameters of 128 bits by
the table of the Homomorphic Encryption Standard, checked here for every key), ciphertexts of equal and of different
numbers look alike to whoever has only the public key. It sees how many numbers there are, how often they were
multiplied, and bounds of their size and noise. These depend on options and on what was computed, not on encrypted
numbers; where known numbers were computed with, their size shows in them, up to a power of two.

Who has the secret key reads every ciphertext, not only results: it must get nothing but results, and these checked to
be over enough owners. Results leave blurred and rounded, and a key pair opens a declared number of ciphertexts, then
has to be replaced: who sees all results of a key tells it from another with an advantage of at most 2^-20 over who
sees results without noise (`opening`).

**What it does not do.** Ciphertexts can be altered by whoever has the public key. Only the signature of the report
that carries one says that it is what an owner sent. One that nobody signed must not be opened: what is opened of a
ciphertext that was made for the purpose shows the key, and no blurring covers that. Known numbers that were computed
with are not hidden from a holder of the secret key, which could find traces of them in the noise of the ciphertext;
and who saw the parts of a sum recognises it. Time is not constant.

**Coalitions.** One owner with the secret key that works with the coordinator reads what every owner sent. There is no
threshold: one holder of the key is enough to open.

**Exactness.** None: opened numbers are multiples of `2^-precision`, each off by at most one such step, but for one
number in some ten thousand millions.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Final, Self, TypeVar

from pydantic import Field, model_validator

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

from .parameters import Declared, choose

if TYPE_CHECKING:
    from .cipher import CkksPublic
    from .opening import CkksSecret
    from .seal import Scheme

TRUST: Final = (
    "Any owner that holds the secret key together with the coordinator can read the numbers of every owner.",
    "Whoever reads a sum and gave one of its parts learns the sum of the others: with two owners, the other's numbers.",
    "A holder of the secret key can find traces of the known numbers that others computed with.",
)


class SumOptions(Options):
    """What both backends let choose."""

    precision: Annotated[
        int,
        Field(ge=8, le=40, description="How many bits behind the point opened numbers are rounded to"),
    ] = 32
    largest: Annotated[
        int, Field(ge=1, le=1024, description="The largest number that is encrypted, of either sign")
    ] = 1
    summands: Annotated[
        int, Field(ge=2, le=65_536, description="How many numbers, or products of them, may be added")
    ] = 16
    decryptions: Annotated[
        int,
        Field(
            ge=1,
            le=1_048_576,
            description="How many ciphertexts one key pair opens; each part of half the degree in numbers is one",
        ),
    ] = 1024

    @property
    def declared(self) -> Declared:
        return Declared(0, self.precision, self.largest, self.summands, self.decryptions)

    @model_validator(mode="after")
    def _has_parameters(self) -> Self:
        choose(self.declared)
        return self


class CkksOptions(SumOptions):
    """Precision, size, room and depth; the parameters of the scheme follow from them."""

    precision: Annotated[
        int,
        Field(ge=8, le=40, description="How many bits behind the point opened numbers are rounded to"),
    ] = 24
    depth: Annotated[
        int, Field(ge=1, le=4, description="How many products may follow one another, with known numbers too")
    ] = 1

    @property
    def declared(self) -> Declared:
        return Declared(self.depth, self.precision, self.largest, self.summands, self.decryptions)


SomeSumOptions = TypeVar("SomeSumOptions", bound=SumOptions)


class CkksBackend(CipherBackend[SomeSumOptions]):
    """What both backends share: keys, ciphertexts, and what they show."""

    version = "1"
    domain = Domain.REALS
    protects = frozenset({Protects.UPDATE, Protects.MATRIX})
    leakage = frozenset({Leak.LENGTHS})
    trust = TRUST
    minimum_owners = 2
    security_bits = 128
    status = BackendStatus.EXPERIMENTAL
    key_holders = KeyHolders.OWNERS

    @property
    def largest(self) -> int:
        return self.options.largest

    @property
    def tolerance(self) -> float:
        return 2.0**-self.options.precision

    @property
    def decryptions(self) -> int:
        return self.options.decryptions

    def most(self, operation: Operation) -> int:
        """Products one after the other: the depth. Sums: one fewer than there is room for after encryption."""
        if operation not in self.operations:
            raise OperationMissing(operation)
        declared = self.options.declared
        if operation in (Operation.MULTIPLY, Operation.MULTIPLY_PLAIN, Operation.MATMUL_PLAIN):
            return declared.depth
        magnitude, noise = declared.room
        return min(magnitude // declared.largest, noise) - 1

    def generate_keys(self) -> KeyPair:
        """A fresh pair. Public: an encryption of zero, and keys for products. Secret: a polynomial, and a count."""
        from . import keys

        return keys.generate(self.scheme)

    def public(self, key: bytes) -> CkksPublic:
        """Checks the parameters (128 bits by the standard, those of the options) and that all residues are below their
        primes. That nobody else knows the secret key, only its maker can say."""
        from . import cipher, keys

        return cipher.CkksPublic(self.name, key, keys.read_public(key, self.scheme), self.scheme)

    def secret(self, pair: KeyPair) -> CkksSecret:
        """Checks that it opens what the public key encrypts, and what was multiplied."""
        from . import opening

        return opening.CkksSecret(self.public(pair.public), pair)

    @cached_property
    def scheme(self) -> Scheme:
        from . import seal

        return seal.Scheme(choose(self.options.declared))

    @classmethod
    def warm(cls) -> None:
        from . import opening  # noqa: F401


class Ckks(CkksBackend[CkksOptions]):
    """Adds and multiplies encrypted numbers, also with known ones and with a known matrix."""

    name = "ckks"
    summary = "Real numbers encrypted so that they can be added and multiplied; results are approximate."
    Options = CkksOptions
    operations = frozenset(
        {
            Operation.ADD,
            Operation.ADD_PLAIN,
            Operation.MULTIPLY,
            Operation.MULTIPLY_PLAIN,
            Operation.MATMUL_PLAIN,
        }
    )


class CkksSums(CkksBackend[SumOptions]):
    """Adds encrypted numbers: without products ciphertexts are smaller, and opened numbers closer."""

    name = "ckks_sums"
    summary = "Real numbers encrypted so that they can be added, many at a time; results are approximate."
    Options = SumOptions
    operations = frozenset({Operation.ADD, Operation.ADD_PLAIN})
