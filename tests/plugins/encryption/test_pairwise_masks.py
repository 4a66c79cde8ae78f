"""The backend `pairwise_masks`: its contract, its known vectors, and what it promises beyond them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedcore.plugin_api import Contribution, InvalidOptions, PairSeeds, Roster, SumBackend, SumContext
from fedcore.plugin_api.testing_sums import CONTEXT, Cast, SumBackendContract, numbers_of, ring_sum
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from plugins.encryption.pairwise_masks import PairwiseMasks
from plugins.encryption.pairwise_masks.expansion import BLOCK_BYTES, add_masks
from tests.plugins.encryption import masks_oracle as oracle

VECTORS: dict[str, Any] = json.loads(oracle.VECTORS.read_text())
IN_BLOCK = BLOCK_BYTES // 8


def named(group: str) -> Any:
    return pytest.mark.parametrize("vector", VECTORS[group], ids=lambda vector: vector["name"])


class TestPairwiseMasks(SumBackendContract):
    @pytest.fixture
    def backend(self) -> SumBackend[Any]:
        return PairwiseMasks()


class TestPairwiseMasksOfTwoOwners(SumBackendContract):
    @pytest.fixture
    def backend(self) -> SumBackend[Any]:
        return PairwiseMasks({"two_owners": True})


def roster_of(case: oracle.Sum) -> Roster:
    return Roster(case.run, case.public)


def contributions_of(case: oracle.Sum) -> list[Contribution]:
    """What the backend makes of a sum of the second implementation."""
    roster = roster_of(case)
    context = SumContext(case.what, case.round, len(case.numbers[0]))
    return [
        PairwiseMasks({"two_owners": True}).protect(
            np.array(case.numbers[place], np.uint64),
            PairSeeds(roster, host, X25519PrivateKey.from_private_bytes(case.owners[host])),
            context,
        )
        for place, host in enumerate(roster.hosts)
    ]


@named("sums")
def test_a_known_sum_gives_the_known_contributions(vector: dict[str, Any]) -> None:
    owners = {host: bytes.fromhex(secret) for host, secret in vector["owners"].items()}
    numbers = [
        oracle.numbers_of(f"numbers {place}", own) if isinstance(own, int) else list(map(int, own))
        for place, own in enumerate(vector["numbers"])
    ]
    case = oracle.Sum(vector["run"], owners, numbers, vector["what"], vector["round"])
    parts = contributions_of(case)
    assert [list(map(str, part.values[:3].tolist())) for part in parts] == vector["first"]
    assert [hashlib.sha256(part.pack()).hexdigest() for part in parts] == vector["contributions"]
    total = PairwiseMasks({"two_owners": True}).total(parts, roster_of(case), parts[0].context)
    assert oracle.digest(total.tolist()) == vector["total"]


@named("rosters_refused")
def test_a_bad_roster_or_key_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(WireError) as caught:
        PairSeeds(
            Roster(vector["run"], vector["public"]),
            vector["host"],
            X25519PrivateKey.from_private_bytes(bytes.fromhex(vector["secret"])),
        )
    assert caught.value.code == vector["code"]
    assert vector["secret"] not in caught.value.detail


@named("totals_refused")
def test_contributions_that_do_not_fit_are_refused(vector: dict[str, Any]) -> None:
    roster = roster_of(oracle.sum_of(3, 2))
    parts = (Contribution.unpack(base64.b64decode(part)) for part in vector["parts"])
    with pytest.raises(WireError) as caught:
        PairwiseMasks().total(parts, roster, SumContext("update", 1, 2))
    assert caught.value.code == vector["code"]


def test_there_are_enough_vectors_and_a_third_of_them_are_refused() -> None:
    refused = len(VECTORS["rosters_refused"]) + len(VECTORS["totals_refused"])
    number = len(VECTORS["sums"]) + refused
    assert number >= 20
    assert 3 * refused >= number


@pytest.mark.parametrize(
    ("owners", "length"),
    [(2, 3), (3, IN_BLOCK - 1), (3, IN_BLOCK), (3, IN_BLOCK + 1), (4, 2 * IN_BLOCK + 1), (7, 5)],
)
def test_a_second_implementation_makes_the_same_of_fresh_keys(owners: int, length: int) -> None:
    secrets = {oracle.text_of(os.urandom(32)): os.urandom(32) for _ in range(owners)}
    numbers = [oracle.numbers_of(os.urandom(8).hex(), length) for _ in secrets]
    case = oracle.Sum(os.urandom(32).hex(), secrets, numbers, "update", 7)
    place = owners // 2
    part = contributions_of(case)[place]
    assert part.values.tolist() == case.masked(place)
    assert part.pack() == case.packed(place)


def test_the_second_implementation_follows_the_published_vectors() -> None:
    """RFC 7748, section 6.1, and RFC 5869, test case 3 (its first 32 bytes)."""
    bob = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    alice = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert oracle.x25519(bob, oracle.BASE_POINT).hex() == public
    assert oracle.x25519(bob, alice).hex() == shared
    okm = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert oracle.hkdf(b"\x0b" * 22, b"", b"").hex() == okm


def test_two_owners_are_refused_unless_the_option_allows_them() -> None:
    cast, numbers = Cast.of(2), numbers_of(2, 5)
    with pytest.raises(WireError, match="adds over 3 owners or more, and there are 2") as caught:
        PairwiseMasks().protect(numbers[0], cast.seeds(0), CONTEXT)
    assert caught.value.code is RefusalCode.TOO_FEW_OWNERS
    allowing = PairwiseMasks({"two_owners": True})
    parts = cast.contributions(allowing, numbers, CONTEXT)
    with pytest.raises(WireError, match="adds over 3 owners or more, and there are 2"):
        PairwiseMasks().total(parts, cast.roster, CONTEXT)
    assert (allowing.total(parts, cast.roster, CONTEXT) == ring_sum(numbers)).all()


def test_the_option_does_not_change_what_is_declared() -> None:
    """A policy that reads the declaration alone goes on refusing two owners."""
    assert PairwiseMasks({"two_owners": True}).minimum_owners == PairwiseMasks.minimum_owners == 3
    assert (PairwiseMasks({"two_owners": True}).fewest_owners, PairwiseMasks().fewest_owners) == (2, 3)
    text = PairwiseMasks.Options.model_json_schema()["properties"]["two_owners"]["description"]
    assert "computes the other's numbers" in text
    assert "policy must allow this option by name" in text
    with pytest.raises(InvalidOptions, match="two_owners"):
        PairwiseMasks({"two_owners": "perhaps"})


def test_all_owners_but_one_read_the_remaining_ones_numbers_from_the_sum() -> None:
    """As declared: no masking of a sum can hide this."""
    cast, numbers = Cast.of(4), numbers_of(4, 5)
    total = PairwiseMasks().total(cast.contributions(PairwiseMasks(), numbers, CONTEXT), cast.roster, CONTEXT)
    assert (total - ring_sum(numbers[:3]) == numbers[3]).all()
    assert any("sum less their own" in sentence for sentence in PairwiseMasks.trust)


def test_an_altered_contribution_alters_the_sum_by_as_much() -> None:
    """As declared: the aggregator is trusted to add, and the signed report says what an owner sent."""
    cast, numbers = Cast.of(3), numbers_of(3, 5)
    parts = cast.contributions(PairwiseMasks(), numbers, CONTEXT)
    parts[1] = replace(parts[1], values=parts[1].values + np.uint64(7))
    total = PairwiseMasks().total(parts, cast.roster, CONTEXT)
    assert (total - ring_sum(numbers) == 7).all()
    assert any("can alter a contribution" in sentence for sentence in PairwiseMasks.trust)


def test_owners_that_were_shown_other_keys_do_not_add_up_and_are_refused() -> None:
    """Whoever carries the keys can spoil a sum by showing other ones, and the aggregator sees it."""
    cast, other = Cast.of(3), Cast.of(3, run="cd" * 32)
    numbers = numbers_of(3, 5)
    mixed = [
        PairwiseMasks().protect(own, each.seeds(place), CONTEXT)
        for place, (own, each) in enumerate(zip(numbers, (cast, cast, other), strict=True))
    ]
    with pytest.raises(WireError, match="belongs to another sum"):
        PairwiseMasks().total(mixed, cast.roster, CONTEXT)
    forced = [replace(part, roster=cast.roster.transcript) for part in mixed]
    assert not np.isin(PairwiseMasks().total(forced, cast.roster, CONTEXT), ring_sum(numbers)).any()


def test_masks_of_one_key_cancel_and_blocks_do_not_show() -> None:
    keys, length = [os.urandom(32) for _ in range(3)], 3 * IN_BLOCK + 5
    values = np.arange(length, dtype=np.uint64)
    masked = values.copy()
    add_masks(masked, keys, [])
    masks = sum(np.array(oracle.mask(key, length), np.uint64) for key in keys)
    assert (masked - values == masks).all()
    add_masks(masked, [], keys)
    assert (masked == values).all()


def test_every_bit_of_a_key_counts() -> None:
    """256 bits: none of them is left out on the way to the mask."""
    key, first = os.urandom(32), np.zeros(64, np.uint64)
    add_masks(first, [key], [])
    for bit in range(256):
        other = np.zeros(64, np.uint64)
        changed = int.from_bytes(key) ^ 1 << bit
        add_masks(other, [changed.to_bytes(32)], [])
        assert not np.isin(other, first).any()


@pytest.mark.parametrize("length", [0, 16, 24, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="key size"):
        add_masks(np.zeros(4, np.uint64), [bytes(length)], [])
