"""Encryption backends: how what leaves an owner is protected, and what it still shows."""

from __future__ import annotations

from abc import abstractmethod
from enum import StrEnum
from typing import ClassVar

from fedcore.plugin_api.plugins import Plugin, SomeOptions
from fedcore.plugin_api.values import Pseudonyms, Tokens


class Protects(StrEnum):
    """What a backend protects."""

    TOKENS = "tokens"
    MATRIX = "matrix"
    UPDATE = "update"


class Leak(StrEnum):
    """What an observer of the protected bytes learns. `LEAK_TEXTS` says it in plain words."""

    SIZES = "sizes"
    LABELS = "labels"
    EQUALITY = "equality"
    FREQUENCY = "frequency"
    CO_OCCURRENCE = "co_occurrence"
    ORDER = "order"
    LENGTHS = "lengths"
    PLAINTEXT = "plaintext"


LEAK_TEXTS: dict[Leak, str] = {
    Leak.SIZES: "how many rows there are, and how many tokens each row has",
    Leak.LABELS: "the class of each row",
    Leak.EQUALITY: "which tokens are equal, within and across owners",
    Leak.FREQUENCY: "how often each token occurs",
    Leak.CO_OCCURRENCE: "which tokens occur together in a row",
    Leak.ORDER: "the order of a row's tokens, where the pipeline ends in sequences",
    Leak.LENGTHS: "how many numbers there are",
    Leak.PLAINTEXT: "the tokens themselves",
}


class BackendStatus(StrEnum):
    STABLE = "stable"
    EXPERIMENTAL = "experimental"
    TEACHING = "teaching"


class KeyHolders(StrEnum):
    """Who holds the key: nobody (there is none), or the owners of the run, by an agreement end to end.

    All owners hold one key; in a `SumBackend` each pair of them holds one of its own.
    """

    NOBODY = "nobody"
    OWNERS = "owners"


class Operation(StrEnum):
    """What can be computed on protected values. `OPERATION_TEXTS` says it in plain words."""

    EQUALITY = "equality"
    ADD = "add"
    ADD_PLAIN = "add_plain"
    MULTIPLY = "multiply"
    MULTIPLY_PLAIN = "multiply_plain"
    APPEND = "append"
    MATMUL_PLAIN = "matmul_plain"


OPERATION_TEXTS: dict[Operation, str] = {
    Operation.EQUALITY: "see which values are equal",
    Operation.ADD: "add protected numbers",
    Operation.ADD_PLAIN: "add known numbers to protected ones",
    Operation.MULTIPLY: "multiply protected numbers",
    Operation.MULTIPLY_PLAIN: "multiply protected numbers by known ones",
    Operation.APPEND: "append numbers to protected ones without opening them",
    Operation.MATMUL_PLAIN: "multiply a matrix of protected columns by a known matrix",
}


class EncryptionBackend(Plugin[SomeOptions]):
    """A backend declares, as data, what it offers and what it shows; an owner reads this before approving.

    `operations` that can be done on protected values, `protects`, `leakage`, `trust` (coalitions that could
    read rows, each one sentence), `minimum_owners`, `security_bits` (0 for none), `status`, `key_holders`, and
    `renames_only`: whether tokens are merely renamed (then what leaves is called pseudonymised).
    """

    operations: ClassVar[frozenset[Operation]]
    protects: ClassVar[frozenset[Protects]]
    leakage: ClassVar[frozenset[Leak]]
    trust: ClassVar[tuple[str, ...]]
    minimum_owners: ClassVar[int]
    security_bits: ClassVar[int]
    status: ClassVar[BackendStatus]
    key_holders: ClassVar[KeyHolders]
    renames_only: ClassVar[bool] = False


class TokenBackend(EncryptionBackend[SomeOptions]):
    """A backend that protects tokens, at the pipeline's step `protect`.

    With an option `minimum_count` (a whole number from 1) that is above 1, the pipeline merges rare tokens itself: see
    `fedcore.plugin_api.protection`.
    """

    @property
    def minimum_count(self) -> int:
        """In how many training rows, over all owners, a token has to be to keep a number of its own; 1 for no rule."""
        return int(getattr(self.options, "minimum_count", 1))

    @abstractmethod
    def protect(self, tokens: Tokens, key: bytes | None) -> Pseudonyms:
        """The tokens as 64-bit numbers: equal tokens get equal numbers wherever the key is the same.

        `key` is the run's key (32 bytes) for backends whose key the owners hold, else None. Raises
        `ValueError` for a key that is missing or has a wrong length.
        """


class ShareBackend(TokenBackend[SomeOptions]):
    """A backend for protocol `shared`: tokens are renamed by `protect`, and the numbers of the columns are shared.

    It says how numbers become integers modulo 2^64 (`fedcore.sharing.scales` has the limits); the protocol does the
    rest.
    """

    @property
    @abstractmethod
    def fraction_bits(self) -> int:
        """Bits after the binary point of the rows' numbers."""

    @property
    @abstractmethod
    def score_bits(self) -> int:
        """A score, row times weights, may become as large as half of 2 to the power of this."""

    @property
    @abstractmethod
    def largest(self) -> float:
        """The largest absolute value that a number of a row may have."""
