"""An encryption backend: tokens renamed by the keyed BLAKE2b of Python's standard library."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import numpy as np

from fedcore.plugin_api import (
    BackendStatus,
    KeyHolders,
    Leak,
    Operation,
    Options,
    Protects,
    Pseudonyms,
    TokenBackend,
    Tokens,
)

RUN_KEY_BYTES: Final = 32
PERSON: Final = b"example-tokens"
"""Numbers made here equal those of no other use of BLAKE2b with the same key."""


class Blake2Tokens(TokenBackend[Options]):
    """Each token becomes the first 64 bits of BLAKE2b (RFC 7693) under the run's key.

    What shows, and to whom, is a backend's to declare: owners read it before they decide, and the contract tests
    compare it with what leaves.
    """

    name = "blake2_tokens"
    version = "1"
    summary = "Tokens renamed by keyed BLAKE2b: pseudonymised, so equality and frequency still show."
    operations = frozenset({Operation.EQUALITY})
    protects = frozenset({Protects.TOKENS})
    leakage = frozenset(
        {Leak.SIZES, Leak.LABELS, Leak.EQUALITY, Leak.FREQUENCY, Leak.CO_OCCURRENCE, Leak.ORDER}
    )
    trust = (
        "Any owner on the roster together with the coordinator can test guesses about the rows of all owners.",
        "The coordinator alone can name frequent tokens from how often and with what they occur.",
    )
    minimum_owners = 2
    security_bits = 128
    status = BackendStatus.EXPERIMENTAL
    key_holders = KeyHolders.OWNERS
    renames_only = True

    def protect(self, tokens: Tokens, key: bytes | None) -> Pseudonyms:
        """The tokens as numbers under the run's key. Each distinct token of a block is hashed once."""
        if key is None or len(key) != RUN_KEY_BYTES:
            raise ValueError(f"blake2_tokens needs the run's key of {RUN_KEY_BYTES} bytes")
        digests = b"".join(
            blake2b(spelling, digest_size=8, key=key, person=PERSON).digest() for spelling in tokens.spellings
        )
        return Pseudonyms(tokens.codes, tokens.offsets, np.frombuffer(digests, "<u8").astype(np.uint64))
