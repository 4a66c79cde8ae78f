"""Owners agree on a key that whoever carries the messages cannot learn or change."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedcore.wire.agreement import (
    check_proofs,
    open_share,
    proof_of,
    run_key_of,
    seal_shares,
    transcript_of,
)
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import SealingKey, SigningKey, encode_key
from fedcore.wire.reports import SealedShare
from fedcore.wire.sealing import derive, open_at_host, open_under_run_key, seal_to_host, seal_under_run_key

RUN = "ab" * 32


@dataclass
class Owner:
    name: str
    ephemeral: X25519PrivateKey
    contribution: bytes

    @classmethod
    def new(cls) -> Owner:
        return cls(SigningKey.generate().public, X25519PrivateKey.generate(), os.urandom(32))

    @property
    def public(self) -> str:
        return encode_key(self.ephemeral.public_key().public_bytes_raw())


def offers_of(owners: list[Owner]) -> dict[str, str]:
    return {owner.name: owner.public for owner in owners}


def share_for(receiver: Owner, sender: Owner, offers: dict[str, str], transcript: str) -> SealedShare:
    shares = seal_shares(sender.contribution, sender.ephemeral, sender.name, offers, transcript)
    return next(share for share in shares if share.to == receiver.name)


def agree(owners: list[Owner]) -> list[bytes]:
    offers = offers_of(owners)
    transcript = transcript_of(RUN, offers)
    keys = []
    for owner in owners:
        contributions = {owner.name: owner.contribution}
        for peer in owners:
            if peer is not owner:
                share = share_for(owner, peer, offers, transcript)
                contributions[peer.name] = open_share(share, peer.name, owner.ephemeral, offers, transcript)
        keys.append(run_key_of(contributions, transcript))
    return keys


@pytest.mark.parametrize("number", [2, 3, 5])
def test_all_owners_hold_one_key_of_256_bits(number: int) -> None:
    keys = agree([Owner.new() for _ in range(number)])
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32


def test_the_same_owners_get_another_key_in_another_run() -> None:
    owners = [Owner.new(), Owner.new()]
    contributions = {owner.name: owner.contribution for owner in owners}
    keys = {run_key_of(contributions, transcript_of(run, offers_of(owners))) for run in (RUN, "cd" * 32)}
    assert len(keys) == 2


def test_a_coordinator_that_swaps_an_ephemeral_key_opens_no_share() -> None:
    olga, otto = Owner.new(), Owner.new()
    mallory = X25519PrivateKey.generate()
    honest = offers_of([olga, otto])
    transcript = transcript_of(RUN, honest)
    share = share_for(otto, olga, honest, transcript)
    with pytest.raises(WireError) as caught:
        open_share(share, olga.name, mallory, honest, transcript)
    assert caught.value.code is RefusalCode.KEY_AGREEMENT_FAILED


def test_a_share_opens_only_under_the_transcript_that_it_was_sealed_for() -> None:
    olga, otto = Owner.new(), Owner.new()
    offers = offers_of([olga, otto])
    share = share_for(otto, olga, offers, transcript_of(RUN, offers))
    with pytest.raises(WireError):
        open_share(share, olga.name, otto.ephemeral, offers, transcript_of("cd" * 32, offers))


def test_a_flipped_bit_in_a_share_is_noticed() -> None:
    olga, otto = Owner.new(), Owner.new()
    offers = offers_of([olga, otto])
    transcript = transcript_of(RUN, offers)
    share = share_for(otto, olga, offers, transcript)
    raw = bytearray(base64.b64decode(share.sealed))
    raw[0] ^= 1
    changed = SealedShare(to=share.to, sealed=base64.b64encode(raw).decode())
    with pytest.raises(WireError):
        open_share(changed, olga.name, otto.ephemeral, offers, transcript)


def test_an_ephemeral_key_of_small_order_is_refused() -> None:
    olga = Owner.new()
    offers = {olga.name: olga.public, "peer": encode_key(bytes(32))}
    with pytest.raises(WireError, match="unusable"):
        seal_shares(olga.contribution, olga.ephemeral, olga.name, offers, transcript_of(RUN, offers))


def test_a_proof_of_another_key_names_the_host_that_holds_it() -> None:
    transcript = "00" * 32
    key, other = os.urandom(32), os.urandom(32)
    check_proofs(key, transcript, {"olga": proof_of(key, transcript, "olga")})
    with pytest.raises(WireError, match="otto holds another key"):
        check_proofs(key, transcript, {"otto": proof_of(other, transcript, "otto")})


def test_a_proof_cannot_be_used_by_another_host() -> None:
    key = os.urandom(32)
    with pytest.raises(WireError):
        check_proofs(key, "00" * 32, {"otto": proof_of(key, "00" * 32, "olga")})


def test_what_is_sealed_to_a_host_opens_there_and_nowhere_else() -> None:
    key = SealingKey.generate()
    sealed = seal_to_host(b"rows", key.public, "run/features")
    assert open_at_host(sealed, key, "run/features") == b"rows"
    for wrong_key, context in [(SealingKey.generate(), "run/features"), (key, "run/model")]:
        with pytest.raises(WireError) as caught:
            open_at_host(sealed, wrong_key, context)
        assert caught.value.code is RefusalCode.ARTEFACT_INVALID


def test_what_is_sealed_under_a_run_key_needs_key_and_context() -> None:
    key = os.urandom(32)
    sealed = seal_under_run_key(b"counts", key, "run/summary")
    assert open_under_run_key(sealed, key, "run/summary") == b"counts"
    assert b"counts" not in sealed
    for wrong_key, context in [(os.urandom(32), "run/summary"), (key, "other")]:
        with pytest.raises(WireError):
            open_under_run_key(sealed, wrong_key, context)


@pytest.mark.parametrize("length", [0, 5, 12, 27])
def test_truncated_sealed_bytes_are_refused(length: int) -> None:
    key = os.urandom(32)
    sealed = seal_under_run_key(b"counts", key, "c")
    with pytest.raises(WireError):
        open_under_run_key(sealed[:length], key, "c")


def test_keys_for_different_purposes_differ() -> None:
    key = os.urandom(32)
    assert derive(key, "seal") != derive(key, "tokens")
