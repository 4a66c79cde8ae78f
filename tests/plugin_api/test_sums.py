"""Rosters, seeds, contexts and contributions of sums over owners."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedcore.plugin_api import Contribution, PairSeeds, Roster, SumContext
from fedcore.plugin_api.arrays import pack_arrays
from fedcore.plugin_api.sums import MOST_NUMBERS
from fedcore.plugin_api.testing_sums import CONTEXT, RUN, Cast
from fedcore.wire.agreement import transcript_of
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import encode_key

CAST = Cast.of(4)


def refusal(act: Any) -> WireError:
    with pytest.raises(WireError) as caught:
        act()
    return caught.value


def keys_of(cast: Cast, context: SumContext = CONTEXT) -> list[Any]:
    return [cast.seeds(place).mask_keys(context) for place in range(len(cast.roster))]


def test_a_roster_has_one_order_however_it_was_given() -> None:
    backwards = dict(reversed(CAST.roster.ephemerals.items()))
    assert Roster(RUN, backwards) == CAST.roster
    assert CAST.roster.hosts == tuple(sorted(backwards))
    assert Roster(RUN, backwards).transcript == CAST.roster.transcript


def test_a_rosters_transcript_is_that_of_the_key_agreement() -> None:
    assert CAST.roster.transcript == transcript_of(RUN, CAST.roster.ephemerals)


def test_a_roster_does_not_change_with_what_it_was_made_of() -> None:
    given = dict(CAST.roster.ephemerals)
    roster = Roster(RUN, given)
    given.popitem()
    assert roster == CAST.roster
    with pytest.raises(TypeError):
        roster.ephemerals["north"] = "key"  # type: ignore[index]


def test_each_pair_has_the_same_key_and_the_earlier_one_adds_it() -> None:
    keys = keys_of(CAST)
    for earlier in range(4):
        for later in range(earlier + 1, 4):
            assert keys[earlier].plus[later - earlier - 1] == keys[later].minus[earlier]
    assert [(len(own.plus), len(own.minus)) for own in keys] == [(3, 0), (2, 1), (1, 2), (0, 3)]
    every = [key for own in keys for key in (*own.plus, *own.minus)]
    assert len(set(every)) == 6
    assert {len(key) for key in every} == {32}


@pytest.mark.parametrize(
    "context",
    [replace(CONTEXT, round=2), replace(CONTEXT, what="counts"), replace(CONTEXT, length=CONTEXT.length + 1)],
)
def test_another_context_has_other_keys(context: SumContext) -> None:
    one, other = ({key for own in keys_of(CAST, each) for key in own.plus} for each in (CONTEXT, context))
    assert not one & other


def test_another_run_has_other_keys_though_the_owners_are_the_same() -> None:
    other = Cast.of(4, run="cd" * 32)
    assert other.roster.ephemerals == CAST.roster.ephemerals
    one, two = ({key for own in keys_of(cast) for key in own.plus} for cast in (CAST, other))
    assert not one & two


def test_another_roster_has_other_keys_also_for_the_pairs_that_are_on_both() -> None:
    fewer = dict(list(CAST.roster.ephemerals.items())[:3])
    roster = Roster(RUN, fewer)
    host = roster.hosts[0]
    keys = PairSeeds(roster, host, CAST.ephemerals[host]).mask_keys(CONTEXT)
    assert not set(keys.plus) & set(CAST.seeds(0).mask_keys(CONTEXT).plus)


def test_a_context_is_given_out_once() -> None:
    seeds = CAST.seeds(1)
    seeds.mask_keys(CONTEXT)
    error = refusal(lambda: seeds.mask_keys(SumContext("update", 1, CONTEXT.length)))
    assert error.code is RefusalCode.CONFLICT
    assert "update of round 1 was masked before: no mask is used twice" in error.detail
    assert seeds.mask_keys(replace(CONTEXT, round=2))


def test_a_context_is_given_out_once_also_to_many_at_a_time() -> None:
    seeds = CAST.seeds(1)

    def attempt(_: int) -> bool:
        try:
            seeds.mask_keys(CONTEXT)
        except WireError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(200))) == 1


def test_seeds_show_no_secret_and_are_not_stored_by_accident() -> None:
    seeds = CAST.seeds(2)
    assert repr(seeds) == f"<PairSeeds of place 2 in run {RUN}>"
    assert repr(seeds.mask_keys(CONTEXT)) == "MaskKeys()"
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(seeds)


def test_an_ephemeral_key_that_is_not_that_of_the_host_is_refused() -> None:
    host, other = CAST.roster.hosts[:2]
    for wrong in (X25519PrivateKey.generate(), CAST.ephemerals[other]):
        error = refusal(lambda wrong=wrong: PairSeeds(CAST.roster, host, wrong))
        assert error.code is RefusalCode.KEY_INVALID
        assert wrong.private_bytes_raw().hex() not in str(error)
    stranger = encode_key(os.urandom(32))
    error = refusal(lambda: PairSeeds(CAST.roster, stranger, CAST.ephemerals[host]))
    assert error.code is RefusalCode.KEY_INVALID


def test_the_order_of_owners_is_bound_and_not_only_who_they_are() -> None:
    """Two owners that swapped their ephemeral keys are another roster."""
    first, second, *_ = CAST.roster.hosts
    public = dict(CAST.roster.ephemerals)
    public[first], public[second] = public[second], public[first]
    assert Roster(RUN, public).transcript != CAST.roster.transcript


@pytest.mark.parametrize("run", ["", "run", "AB" * 32, "ab" * 31, RUN + "\n", "ab" * 31 + "\n0"])
def test_a_run_that_is_no_digest_is_refused(run: str) -> None:
    assert refusal(lambda: Roster(run, CAST.roster.ephemerals)).code is RefusalCode.MALFORMED


@pytest.mark.parametrize(
    "key", ["", "é" * 43, "A" * 42, "A" * 44, "A" * 42 + "B", "A" * 42 + "=", "A" * 42 + "\n"]
)
def test_a_key_that_is_no_key_is_refused(key: str) -> None:
    host, other, *_ = CAST.roster.hosts
    for wrong in ({host: key}, {key: CAST.roster.ephemerals[other]}):
        ephemerals = {other: CAST.roster.ephemerals[host]} | wrong
        assert refusal(lambda given=ephemerals: Roster(RUN, given)).code is RefusalCode.KEY_INVALID


@pytest.mark.parametrize("what", ["", "Update", "a/b", "a b", "-a", "a" * 64, "update\n", "é"])
def test_a_name_that_could_be_taken_for_another_is_refused(what: str) -> None:
    assert refusal(lambda: SumContext(what, 1, 1)).code is RefusalCode.MALFORMED


@pytest.mark.parametrize(("number", "length"), [(-1, 1), (2**53, 1), (1, 0), (1, -1), (1, MOST_NUMBERS + 1)])
def test_a_round_or_length_out_of_range_is_refused(number: int, length: int) -> None:
    assert refusal(lambda: SumContext("update", number, length)).code is RefusalCode.OUT_OF_RANGE


GOOD = {"backend": "sums", "roster": CAST.roster.transcript, "what": "update", "round": "1", "place": "0"}
VALUES = {"values": np.arange(3, dtype=np.uint64)}


def test_a_contribution_comes_back_from_its_bytes() -> None:
    sent = Contribution("sums", CAST.roster.transcript, SumContext("update", 1, 3), 0, VALUES["values"])
    assert sent.pack() == pack_arrays(VALUES, GOOD)
    assert "values" not in repr(sent)
    back = Contribution.unpack(sent.pack())
    assert replace(back, values=sent.values).pack() == sent.pack()
    assert (back.values == sent.values).all()


@pytest.mark.parametrize(
    ("arrays", "texts"),
    [
        ({}, GOOD),
        (VALUES | {"more": VALUES["values"]}, GOOD),
        ({"numbers": VALUES["values"]}, GOOD),
        ({"values": np.arange(3, dtype=np.int64)}, GOOD),
        ({"values": np.arange(3, dtype=np.float64)}, GOOD),
        ({"values": np.ones((1, 3), np.uint64)}, GOOD),
        ({"values": np.ones((), np.uint64)}, GOOD),
        ({"values": np.empty(0, np.uint64)}, GOOD),
        (VALUES, {}),
        (VALUES, {name: text for name, text in GOOD.items() if name != "roster"}),
        (VALUES, GOOD | {"more": "1"}),
        (VALUES, GOOD | {"round": "01"}),
        (VALUES, GOOD | {"round": "-1"}),
        (VALUES, GOOD | {"round": "1" * 17}),
        (VALUES, GOOD | {"round": "9" * 16}),
        (VALUES, GOOD | {"round": "1.0"}),
        (VALUES, GOOD | {"round": "١"}),
        (VALUES, GOOD | {"place": ""}),
        (VALUES, GOOD | {"place": "one"}),
        (VALUES, GOOD | {"what": "Update"}),
    ],
)
def test_bytes_of_another_form_are_no_contribution(arrays: Any, texts: Any) -> None:
    error = refusal(lambda: Contribution.unpack(pack_arrays(arrays, texts)))
    assert error.code is RefusalCode.ARTEFACT_INVALID


def test_the_bytes_of_a_contribution_are_its_numbers_and_a_short_header() -> None:
    long = replace(SumContext("update", 1, 3), length=10_000)
    size = len(Contribution("sums", "ab" * 32, long, 0, np.zeros(10_000, np.uint64)).pack())
    assert 80_000 < size < 80_400
