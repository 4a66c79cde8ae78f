"""Tokens renamed under a key that only the owners hold: pseudonymised, never encrypted.

**Who sees what, assuming what.** Each token becomes a 64-bit number: SipHash-2-4 under a key derived from the
run's key. Assuming that SipHash-2-4 is a pseudorandom function and that no owner gives its key away, whoever
receives the features (the coordinator, and the scientist where the grant allows the download) cannot compute a
token's number or, from a number alone, its token. What they do see, and this is a lot:

* sizes: how many rows there are and how many tokens each has (repeats show as counts);
* labels: the class of each row;
* equality and frequency: which tokens are equal, in a row, across rows and across owners, and how often each occurs;
* co-occurrence: which tokens appear together, and, where the pipeline ends in sequences, in which order.

Frequencies and company give common tokens away: whoever knows what such logs look like will name the frequent paths
and parameters. With character n-grams it is worse, close to a substitution cipher: some hundred characters and pairs
with telling frequencies, solved like a newspaper puzzle, after which whole rows can be read. Hashing into few columns
blurs this, and promises nothing. Whoever can write to the logs (anyone who can send the server a request) can plant
known text, find its row by its size or by repeating it, and so learn the numbers of tokens of their choice.

**The minimum count.** With the option `minimum_count` above 1, tokens in fewer training rows of all owners together get
one common number, so that what is rare (a user's name, a session) can neither be followed from row to row nor
recognised by who knows it. Frequent tokens, which frequencies give away, stay what they were: measure both with
`fedcore-owner attack`. The default is 1, because the count is a fitted step: every owner then opens the others' counts
of protected tokens, no epsilon can be kept, and the run needs one exchange more. Whoever weighs that against the
coordinator chooses a number, such as 5.

**Coalitions.** Every owner on the run's roster has the key. One owner that works with the coordinator or the scientist
can test guesses about any token of every owner, and rebuild the rows of all of them. Where a step is fitted over all
owners, each owner opens the others' counts of tokens, and with the key it can do so alone, for tokens though not for
rows. The key is the run's own, so numbers of different runs do not match.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

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
    derive,
)

RUN_KEY_BYTES: Final = 32
PURPOSE: Final = "keyed-tokens/siphash"


class KeyedTokensOptions(Options):
    minimum_count: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000,
            description="Tokens in fewer training rows of all owners together become one common token; 1: none do",
        ),
    ] = 1


class KeyedTokens(TokenBackend[KeyedTokensOptions]):
    """Equal tokens get equal numbers at every owner of a run, and no one else can compute a token's number."""

    name = "keyed_tokens"
    version = "1"
    summary = "Tokens renamed under a key of the owners: pseudonymised, so equality and frequency still show."
    Options = KeyedTokensOptions
    operations = frozenset({Operation.EQUALITY})
    protects = frozenset({Protects.TOKENS})
    leakage = frozenset(
        {Leak.SIZES, Leak.LABELS, Leak.EQUALITY, Leak.FREQUENCY, Leak.CO_OCCURRENCE, Leak.ORDER}
    )
    trust = (
        "Any owner on the roster together with the coordinator can test guesses about, and rebuild, the rows of all "
        "owners.",
        "Any owner on the roster together with a scientist who may download the features can do the same.",
        "Where a step is fitted over all owners (a joint vocabulary, or a minimum count above 1), every owner on the "
        "roster, alone, can test guesses about the tokens of each other owner, and sees how often each occurs there.",
        "Whoever can write to an owner's log and sees the features can plant known text and learn its pseudonyms.",
        "The coordinator alone, or a scientist who may download the features, can name frequent tokens from how often "
        "and with what they occur, and from character n-grams can read much of the rows.",
    )
    minimum_owners = 2
    security_bits = 128
    status = BackendStatus.STABLE
    key_holders = KeyHolders.OWNERS
    renames_only = True

    def protect(self, tokens: Tokens, key: bytes | None) -> Pseudonyms:
        """The tokens as numbers under the run's key of 32 bytes. Each distinct token of a block is hashed once."""
        from fedcore.plugin_api.siphash import KEY_BYTES, siphash

        if key is None or len(key) != RUN_KEY_BYTES:
            given = "none" if key is None else f"{len(key)} bytes"
            raise ValueError(
                f"keyed_tokens needs the run's key of {RUN_KEY_BYTES} bytes, got {given}: the owners agree on it "
                "before they prepare anything."
            )
        ids = siphash(tokens.spellings, derive(key, PURPOSE, KEY_BYTES))
        return Pseudonyms(tokens.codes, tokens.offsets, ids)

    @classmethod
    def warm(cls) -> None:
        import fedcore.plugin_api.siphash  # noqa: F401
