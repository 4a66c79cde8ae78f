"""The token backends: equal tokens get equal numbers under one key, and under no other."""

from __future__ import annotations

import numpy as np
import pytest

from fedcore.plugin_api import KeyHolders, Leak, Text, Tokens
from plugins.encryption import keyed_tokens
from plugins.encryption.keyed_tokens import KeyedTokens
from plugins.encryption.plaintext import Plaintext

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))


def tokens(*words: bytes) -> Tokens:
    """One row with these distinct words."""
    codes = np.arange(len(words), dtype=np.int32)
    return Tokens(codes, np.array([0, len(words)], np.int64), Text.from_rows(words))


def test_equal_tokens_get_equal_numbers_at_every_owner() -> None:
    north = KeyedTokens().protect(tokens(b"select", b"union"), KEY)
    south = KeyedTokens().protect(tokens(b"union", b"from", b"select"), KEY)
    assert north.ids.dtype == np.uint64
    assert north.ids.tolist() == [south.ids[2], south.ids[0]]
    assert len(set(south.ids.tolist())) == 3


def test_the_numbers_of_two_runs_do_not_match() -> None:
    words = tokens(*(bytes([number]) for number in range(200)))
    one, other = (set(KeyedTokens().protect(words, key).ids.tolist()) for key in (KEY, OTHER))
    assert not one & other


def test_without_the_key_the_numbers_are_not_the_public_ones() -> None:
    words = tokens(*(bytes([number]) for number in range(200)))
    assert not np.any(KeyedTokens().protect(words, bytes(32)).ids == Plaintext().protect(words, None).ids)


def test_only_what_a_token_is_changes_and_not_where_it_stands() -> None:
    words = Tokens(np.array([0, 1, 0], np.int32), np.array([0, 2, 3], np.int64), Text.from_rows([b"a", b"b"]))
    protected = KeyedTokens().protect(words, KEY)
    assert protected.codes.tolist() == [0, 1, 0]
    assert protected.offsets.tolist() == [0, 2, 3]


def test_the_numbers_stay_the_same_from_release_to_release() -> None:
    # A model that is kept works only while this holds: a change needs another version of the plugin.
    assert KeyedTokens().protect(tokens(b"select"), KEY).ids.tolist() == [0x5C9B3F15078AB34D]
    assert KeyedTokens.version == "1"


@pytest.mark.parametrize(
    ("key", "given"), [(None, "none"), (b"", "0 bytes"), (bytes(31), "31 bytes"), (bytes(33), "33 bytes")]
)
def test_keyed_tokens_refuse_a_missing_or_misfitting_key(key: bytes | None, given: str) -> None:
    with pytest.raises(ValueError, match=f"keyed_tokens needs the run's key of 32 bytes, got {given}"):
        KeyedTokens().protect(tokens(b"a"), key)


def test_plaintext_refuses_a_key() -> None:
    with pytest.raises(ValueError, match="plaintext takes no key: choose the backend keyed_tokens"):
        Plaintext().protect(tokens(b"a"), KEY)


def test_keyed_tokens_declare_what_they_leak_and_who_could_read_rows() -> None:
    assert KeyedTokens.renames_only
    assert KeyedTokens.leakage == set(Leak) - {Leak.PLAINTEXT, Leak.LENGTHS}
    assert KeyedTokens.key_holders is KeyHolders.OWNERS
    assert KeyedTokens.minimum_owners == 2
    assert any(
        "owner on the roster together with the coordinator" in sentence for sentence in KeyedTokens.trust
    )
    assert any("owner on the roster together with a scientist" in sentence for sentence in KeyedTokens.trust)


@pytest.mark.parametrize("backend", [KeyedTokens, Plaintext])
def test_what_fitting_over_owners_shows_the_other_owners_is_declared(
    backend: type[KeyedTokens | Plaintext],
) -> None:
    """Each owner opens the others' summaries, and can compute the number of any token."""
    assert any(
        "fitted over all owners" in sentence and "every owner" in sentence for sentence in backend.trust
    )


def test_plaintext_declares_that_it_protects_nothing() -> None:
    assert Leak.PLAINTEXT in Plaintext.leakage
    assert Plaintext.protects == frozenset()
    assert Plaintext.key_holders is KeyHolders.NOBODY
    assert Plaintext.security_bits == 0
    assert not Plaintext.renames_only


def test_what_merely_renames_is_called_pseudonymised() -> None:
    assert "pseudonymised" in KeyedTokens.summary
    assert "pseudonymised, never encrypted" in (keyed_tokens.__doc__ or "")


def test_no_tokens_give_no_numbers() -> None:
    empty = Tokens(np.empty(0, np.int32), np.zeros(1, np.int64), Text.from_rows([]))
    assert len(KeyedTokens().protect(empty, KEY).ids) == 0
