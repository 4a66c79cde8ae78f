"""Rows as additive shares modulo 2^64, for training that nobody sees: protocol `shared`.

**Who sees what, assuming what.** Each number of a row is the sum, modulo 2^64, of a masked number that both compute
owners get and of two masks that come from keys, one for each of them (AES-256 in counter mode). What one compute
owner holds is uniformly random, whatever the rows are; so is everything that the two open to each other while they
train (`fedcore.sharing` has the laws and the openings). Everybody follows the protocol, and no two of the three (two
compute owners and the dealer) put together what they hold.

Before they are shared, tokens are renamed under the run's key, which the owners agree end to end: the model that comes
out in the end speaks of columns that only owners can relate to words.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Final

from pydantic import Field, field_validator

from fedcore.plugin_api import (
    BackendStatus,
    KeyHolders,
    Leak,
    Operation,
    Options,
    Protects,
    Pseudonyms,
    ShareBackend,
    Tokens,
    derive,
)

_PURPOSE: Final = "secret_sharing/columns"
_RUN_KEY_BYTES: Final = 32
_SIPHASH_KEY_BYTES: Final = 16


class SharingOptions(Options):
    """How numbers become integers, and how large they may be."""

    fraction_bits: Annotated[
        int,
        Field(
            ge=6,
            le=18,
            description="Bits after the binary point of the rows' numbers; a momentum or weight decay needs 13",
        ),
    ] = 13
    largest: Annotated[
        float,
        Field(gt=0, le=65_536, description="The largest number a row may have; larger ones are refused"),
    ] = 64.0
    score_range: Annotated[
        int,
        Field(
            ge=2,
            le=2048,
            description="How large a score may become in training, a power of two; beyond it, no run. "
            "A momentum or weight decay needs 32",
        ),
    ] = 32

    @field_validator("score_range")
    @classmethod
    def _is_a_power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("score_range is a power of two: 16, 32, 64 …")
        return value


class SecretSharing(ShareBackend[SharingOptions]):
    """Additive shares: two compute owners train together, and neither of them sees a row, a score or a weight."""

    name = "secret_sharing"
    version = "1"
    summary = "Rows in additive shares at two compute owners: they train together, and neither sees a row."
    Options: ClassVar = SharingOptions
    operations = frozenset({Operation.ADD, Operation.ADD_PLAIN, Operation.MULTIPLY, Operation.MULTIPLY_PLAIN})
    protects = frozenset({Protects.MATRIX})
    leakage = frozenset({Leak.LENGTHS})
    trust = (
        "The two compute owners together can read every row of every owner, with its class.",
        "The dealer together with either compute owner can read every row of every owner, with its class.",
        "A dealer that deals falsely can learn something of some rows from what the compute owners go on to show. The "
        "protocol is for parties that follow it, and curious ones learn nothing.",
        "A compute owner that computes falsely can spoil the model unnoticed.",
        "The coordinator and the scientist get the trained model, and from the model what a model tells of its rows.",
        "Where a step is fitted over all owners (a joint vocabulary), every owner of the run can read which tokens "
        "each other owner has, and how often.",
    )
    minimum_owners = 2
    security_bits = 128
    status = BackendStatus.STABLE
    key_holders = KeyHolders.OWNERS

    @property
    def fraction_bits(self) -> int:
        return self.options.fraction_bits

    @property
    def score_bits(self) -> int:
        return int(math.log2(self.options.score_range)) + 1

    @property
    def largest(self) -> float:
        return self.options.largest

    def protect(self, tokens: Tokens, key: bytes | None) -> Pseudonyms:
        """Tokens as numbers under the run's key: they name columns, and the columns' numbers are shared afterwards.

        Raises `ValueError` unless the key has 32 bytes.
        """
        from fedcore.plugin_api.siphash import siphash

        if key is None or len(key) != _RUN_KEY_BYTES:
            given = "none" if key is None else f"{len(key)} bytes"
            raise ValueError(
                f"secret_sharing needs the run's key of {_RUN_KEY_BYTES} bytes, got {given}: the owners agree on it "
                "before they prepare anything."
            )
        renaming = derive(key, _PURPOSE, _SIPHASH_KEY_BYTES)
        return Pseudonyms(tokens.codes, tokens.offsets, siphash(tokens.spellings, renaming))

    @classmethod
    def warm(cls) -> None:
        import fedcore.plugin_api.siphash  # noqa: F401
