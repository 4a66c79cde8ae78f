"""No protection: for baselines inside an owner's host, or at a reference host that every owner trusts.

**Who sees what.** Everyone who receives the features can tell the tokens: a token's number is its SipHash-2-4
under a public, all-zero key, so that anybody can compute it and look tokens up. Nothing is secret here, and
nothing is assumed.
"""

from __future__ import annotations

from typing import ClassVar, Final

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

PUBLIC_KEY: Final = bytes(16)


class Plaintext(TokenBackend[Options]):
    """Tokens as numbers that anybody can compute."""

    name = "plaintext"
    version = "1"
    summary = "No protection: for an owner's own host, and for a reference host trusted with plaintext."
    operations = frozenset({Operation.EQUALITY})
    protects: ClassVar[frozenset[Protects]] = frozenset()
    leakage = frozenset(Leak) - {Leak.LENGTHS}
    trust = (
        "Whoever receives the features can read the tokens of every row.",
        "Where a step is fitted over all owners (a joint vocabulary), every owner of the run can read which tokens "
        "each other owner has, and how often.",
    )
    minimum_owners = 1
    security_bits = 0
    status = BackendStatus.STABLE
    key_holders = KeyHolders.NOBODY

    def protect(self, tokens: Tokens, key: bytes | None) -> Pseudonyms:
        """The tokens as numbers. Raises `ValueError` if a key is given: it would protect nothing."""
        from fedcore.plugin_api.siphash import siphash

        if key is not None:
            raise ValueError("plaintext takes no key: choose the backend keyed_tokens to use the run's key.")
        return Pseudonyms(tokens.codes, tokens.offsets, siphash(tokens.spellings, PUBLIC_KEY))

    @classmethod
    def warm(cls) -> None:
        import fedcore.plugin_api.siphash  # noqa: F401
