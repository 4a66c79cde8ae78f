"""The contract of backends that show nothing but a sum over owners. This module needs pytest.

from fedcore.plugin_api.testing_sums import SumBackendContract

class TestMySums(SumBackendContract):
    @pytest.fixture
    def backend(self):
        return MySums()

All keys are fixed, so that the statistical tests give the same result each time. Their bounds are six standard
deviations of what uniformly random numbers give.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedcore.plugin_api.backends import KeyHolders, Leak, Operation, Protects
from fedcore.plugin_api.ring import RingVector
from fedcore.plugin_api.sums import Contribution, PairSeeds, Roster, SumBackend, SumContext
from fedcore.plugin_api.testing_common import check_plugin
from fedcore.wire.agreement import pair_key
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import encode_key

SAMPLE: Final = 2**14
SIGMAS: Final = 6
EXTREMES: Final = np.array([0, 1, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)
CONTEXT: Final = SumContext("update", 1, len(EXTREMES))
RUN: Final = "ab" * 32
_WINDOW: Final = 8


@dataclass(frozen=True)
class Cast:
    """The owners of a run with all their keys, in the roster's order."""

    roster: Roster
    ephemerals: Mapping[str, X25519PrivateKey]

    @classmethod
    def of(cls, owners: int, run: str = RUN, label: str = "") -> Cast:
        """So many owners with fixed keys: the same for the same label."""

        def fixed(kind: str, owner: int) -> bytes:
            return hashlib.sha256(f"{label}/{kind}/{owner}".encode()).digest()

        ephemerals = {
            encode_key(fixed("host", owner)): X25519PrivateKey.from_private_bytes(fixed("ephemeral", owner))
            for owner in range(owners)
        }
        public = {host: encode_key(key.public_key().public_bytes_raw()) for host, key in ephemerals.items()}
        return cls(Roster(run, public), ephemerals)

    def seeds(self, place: int) -> PairSeeds:
        """The seeds of the owner at a place, as if made for the first time."""
        host = self.roster.hosts[place]
        return PairSeeds(self.roster, host, self.ephemerals[host])

    def contributions(
        self, backend: SumBackend[Any], numbers: list[RingVector], context: SumContext
    ) -> list[Contribution]:
        """What all owners send for a sum."""
        return [
            backend.protect(own, self.seeds(place), context)
            for place, own in zip(range(len(self.roster)), numbers, strict=True)
        ]


def numbers_of(owners: int, length: int, seed: int = 0) -> list[RingVector]:
    """Numbers of the whole ring for each owner, the extreme ones among them."""
    chance = np.random.default_rng(seed)
    numbers = [chance.integers(0, 2**64, length, np.uint64, endpoint=False) for _ in range(owners)]
    for place, own in enumerate(numbers):
        extremes = np.roll(EXTREMES, place)[:length]
        own[: len(extremes)] = extremes
    return numbers


def ring_sum(vectors: list[RingVector]) -> RingVector:
    """The sum modulo 2^64, in Python's integers."""
    columns = zip(*(vector.tolist() for vector in vectors), strict=True)
    return np.array([sum(column) % 2**64 for column in columns], np.uint64)


def assert_uniform(values: RingVector) -> None:
    """Every bit as often 0 as 1, every byte as often as each other one, no number 0 or twice, neighbours unrelated."""
    number = len(values)
    as_bytes = values.view(np.uint8)
    means = np.unpackbits(as_bytes.reshape(number, 8), axis=1).mean(axis=0)
    assert (np.abs(means - 0.5) < SIGMAS * 0.5 / math.sqrt(number)).all()
    expected = 8 * number / 256
    chi_square = float(((np.bincount(as_bytes, minlength=256) - expected) ** 2 / expected).sum())
    assert abs(chi_square - 255) < SIGMAS * math.sqrt(2 * 255)
    assert values.all() and len(np.unique(values)) == number
    changed = float(np.bitwise_count(values[1:] ^ values[:-1]).mean())
    assert abs(changed - 32) < SIGMAS * 4 / math.sqrt(number)


class SumBackendContract:
    """For backends that show nothing but a sum. Fixture: `backend`."""

    @pytest.fixture
    def backend(self) -> SumBackend[Any]:
        raise TypeError("Give the fixture `backend`.")

    def test_the_backend_says_who_it_is_and_what_it_shows(self, backend: SumBackend[Any]) -> None:
        check_plugin(backend)
        assert backend.operations == {Operation.ADD}
        assert backend.protects == {Protects.UPDATE}
        assert backend.leakage == {Leak.LENGTHS}
        assert backend.trust and all(sentence.endswith(".") for sentence in backend.trust)
        assert any("All owners but one" in sentence for sentence in backend.trust)
        assert backend.minimum_owners >= 3
        assert 2 <= backend.fewest_owners <= backend.minimum_owners
        assert backend.security_bits >= 112
        assert backend.key_holders is KeyHolders.OWNERS

    @pytest.mark.parametrize("owners", [2, 3, 5, 10])
    @pytest.mark.parametrize("length", [1, 7, 100_003])
    def test_the_sum_is_exact(self, backend: SumBackend[Any], owners: int, length: int) -> None:
        if owners < backend.fewest_owners:
            return  # That it is refused is a test of its own.
        cast, numbers = Cast.of(owners), numbers_of(owners, length)
        context = SumContext("update", 1, length)
        sent = [part.pack() for part in cast.contributions(backend, numbers, context)]
        total = backend.total((Contribution.unpack(data) for data in sent), cast.roster, context)
        assert total.dtype == np.uint64
        assert (total == ring_sum(numbers)).all()

    def test_the_order_in_which_contributions_come_does_not_matter(self, backend: SumBackend[Any]) -> None:
        cast, numbers = Cast.of(5), numbers_of(5, len(EXTREMES))
        parts = cast.contributions(backend, numbers, CONTEXT)
        for turned in (parts[::-1], parts[2:] + parts[:2]):
            assert (backend.total(turned, cast.roster, CONTEXT) == ring_sum(numbers)).all()

    def test_fewer_owners_than_it_says_are_refused_on_both_sides(self, backend: SumBackend[Any]) -> None:
        if backend.fewest_owners == 2:
            return
        cast = Cast.of(backend.fewest_owners - 1)
        for act in (
            lambda: backend.protect(EXTREMES, cast.seeds(0), CONTEXT),
            lambda: backend.total([], cast.roster, CONTEXT),
        ):
            assert_refused(act, RefusalCode.TOO_FEW_OWNERS, backend.name)

    @pytest.mark.parametrize("owners", [2, 3, 4])
    def test_every_proper_subset_of_contributions_is_uniformly_random(
        self, backend: SumBackend[Any], owners: int
    ) -> None:
        if owners < backend.fewest_owners:
            return
        nothing: list[RingVector] = [np.zeros(SAMPLE, np.uint64)] * owners
        parts = Cast.of(owners).contributions(backend, nothing, SumContext("update", 1, SAMPLE))
        for size in range(1, owners):
            for subset in combinations(parts, size):
                assert_uniform(np.sum([part.values for part in subset], axis=0, dtype=np.uint64))
        for one, other in combinations(parts, 2):
            if owners > 2:
                assert_uniform(one.values - other.values)

    def test_each_other_owner_alone_hides_an_owners_numbers(self, backend: SumBackend[Any]) -> None:
        """Whichever owners work with the aggregator: the seed with any one that does not is enough to hide all."""
        context, nothing = SumContext("update", 1, SAMPLE), np.zeros(SAMPLE, np.uint64)
        cast = Cast.of(4)
        for place in range(4):
            known = backend.protect(nothing, cast.seeds(place), context).values
            for peer in range(3):
                seeds = cast.seeds(place)
                kept = seeds._seeds
                seeds._seeds = (*kept[:peer], bytes(32), *kept[peer + 1 :])
                assert_uniform(known - backend.protect(nothing, seeds, context).values)

    def test_datasets_of_one_sum_differ_only_under_masks_that_are_the_same_for_both(
        self, backend: SumBackend[Any]
    ) -> None:
        """What an owner sends is its numbers and a mask that does not depend on them."""
        cast, numbers = Cast.of(3), numbers_of(3, 1000)
        context = SumContext("update", 1, 1000)
        moved = numbers_of(1, 1000, seed=9)[0]
        others = [numbers[0] + moved, numbers[1] - moved, numbers[2]]
        one, other = (cast.contributions(backend, each, context) for each in (numbers, others))
        assert (other[0].values - one[0].values == moved).all()
        assert (one[1].values - other[1].values == moved).all()
        assert other[2].pack() == one[2].pack()
        assert (backend.total(one, cast.roster, context) == backend.total(other, cast.roster, context)).all()

    def test_what_is_not_declared_does_not_show(self, backend: SumBackend[Any]) -> None:
        """Under fresh keys, datasets of one sum look alike: as many bytes, and random ones, whatever is in them."""
        context = SumContext("update", 1, SAMPLE)
        nothing: RingVector = np.zeros(SAMPLE, np.uint64)
        steps = np.arange(SAMPLE, dtype=np.uint64)
        sizes = set()
        for label, numbers in {"one": [nothing] * 3, "other": [steps, nothing - steps, nothing]}.items():
            parts = Cast.of(3, label=label).contributions(backend, numbers, context)
            sizes |= {len(part.pack()) for part in parts}
            for one, other in combinations(parts, 2):
                assert_uniform(one.values)
                assert_uniform(one.values + other.values)
        assert len(sizes) == 1

    def test_the_masks_of_two_contexts_are_unrelated(self, backend: SumBackend[Any]) -> None:
        contexts = [SumContext(what, number, SAMPLE) for what in ("update", "counts") for number in (1, 2)]
        contexts.append(SumContext("update", 1, SAMPLE + 1))
        nothing: RingVector = np.zeros(SAMPLE + 1, np.uint64)
        masks = [
            backend.protect(nothing[: context.length], cast.seeds(1), context).values[:SAMPLE]
            for cast in (Cast.of(3), Cast.of(3, run="cd" * 32), Cast.of(3, label="others"))
            for context in contexts
        ]
        for one, other in combinations(masks, 2):
            assert_uniform(one - other)
        assert len(np.unique(np.concatenate(masks))) == len(masks) * SAMPLE

    def test_a_context_is_masked_once(self, backend: SumBackend[Any]) -> None:
        seeds = Cast.of(3).seeds(0)
        backend.protect(EXTREMES, seeds, CONTEXT)
        for numbers in (EXTREMES, EXTREMES[::-1].copy()):
            assert_refused(
                lambda numbers=numbers: backend.protect(numbers, seeds, CONTEXT),
                RefusalCode.CONFLICT,
                "masked before",
            )
        backend.protect(EXTREMES, seeds, replace(CONTEXT, round=2))

    def test_numbers_that_are_refused_use_up_no_context(self, backend: SumBackend[Any]) -> None:
        cast, seeds = Cast.of(3), Cast.of(3).seeds(1)
        for wrong in (
            EXTREMES[:-1],
            np.append(EXTREMES, EXTREMES[:1]),
            EXTREMES.reshape(1, -1),
            EXTREMES.view(np.int64),
            EXTREMES.astype(np.float64),
            np.array([1.0, math.nan, math.inf, 0, 0]),
            EXTREMES.tolist(),
        ):
            assert_refused(
                lambda wrong=wrong: backend.protect(wrong, seeds, CONTEXT), RefusalCode.ARTEFACT_INVALID
            )
        sent = backend.protect(EXTREMES, seeds, CONTEXT)
        assert (sent.values == backend.protect(EXTREMES, cast.seeds(1), CONTEXT).values).all()

    def test_contributions_that_are_missing_double_or_strange_give_no_sum(
        self, backend: SumBackend[Any]
    ) -> None:
        cast, numbers = Cast.of(4), numbers_of(4, len(EXTREMES))
        parts = cast.contributions(backend, numbers, CONTEXT)
        for place in range(4):
            left = parts[:place] + parts[place + 1 :]
            total = lambda left=left: backend.total(left, cast.roster, CONTEXT)  # noqa: E731
            assert_refused(total, RefusalCode.TOO_FEW_OWNERS, f"{place} are missing")
        for wrong in (
            [*parts, parts[0]],
            [parts[0], *parts[:3]],
            [*parts[:3], replace(parts[3], place=4)],
            [*parts[:3], replace(parts[3], place=-1)],
            [*parts[:3], replace(parts[3], backend="another")],
            [*parts[:3], replace(parts[3], values=parts[3].values[:-1])],
            [*parts[:3], replace(parts[3], values=parts[3].values.astype(np.float64))],
        ):
            assert_refused(
                lambda wrong=wrong: backend.total(wrong, cast.roster, CONTEXT), RefusalCode.ARTEFACT_INVALID
            )

    def test_contributions_of_another_run_roster_or_context_give_no_sum(
        self, backend: SumBackend[Any]
    ) -> None:
        cast, numbers = Cast.of(3), numbers_of(3, len(EXTREMES))
        parts = cast.contributions(backend, numbers, CONTEXT)
        longer = [np.append(own, own[:1]) for own in numbers]
        strange = [
            *Cast.of(3, run="cd" * 32).contributions(backend, numbers, CONTEXT)[2:],
            *Cast.of(3, label="others").contributions(backend, numbers, CONTEXT)[2:],
            *cast.contributions(backend, numbers, replace(CONTEXT, round=2))[2:],
            *cast.contributions(backend, numbers, replace(CONTEXT, what="counts"))[2:],
            *cast.contributions(backend, longer, replace(CONTEXT, length=len(EXTREMES) + 1))[2:],
        ]
        for part in strange:
            assert_refused(
                lambda part=part: backend.total([*parts[:2], part], cast.roster, CONTEXT),
                RefusalCode.ARTEFACT_INVALID,
                "another sum",
            )
        other = replace(CONTEXT, round=2)
        assert_refused(
            lambda: backend.total(parts, cast.roster, other), RefusalCode.ARTEFACT_INVALID, "another sum"
        )

    def test_bytes_that_are_no_contribution_are_refused(self, backend: SumBackend[Any]) -> None:
        good = backend.protect(EXTREMES, Cast.of(3).seeds(2), CONTEXT)
        data = good.pack()
        for wrong in (b"", data[:-1], data[:40], data + b"\0", data.replace(b"values", b"valuez")):
            assert_refused(lambda wrong=wrong: Contribution.unpack(wrong), RefusalCode.ARTEFACT_INVALID)
        again = Contribution.unpack(data)
        assert (again.place, again.context, again.roster) == (2, CONTEXT, good.roster)
        assert (again.values == good.values).all()

    def test_no_seed_is_in_what_is_shown_or_leaves(self, backend: SumBackend[Any]) -> None:
        cast = Cast.of(3)
        seeds = cast.seeds(0)
        sent = backend.protect(EXTREMES, seeds, CONTEXT)
        keys = cast.seeds(0).mask_keys(CONTEXT)
        own = cast.ephemerals[cast.roster.hosts[0]]
        shown = sent.pack() + repr((backend, seeds, sent, keys, cast.roster)).encode()
        secrets = [own.private_bytes_raw(), *keys.plus, *keys.minus]
        for peer in cast.roster.hosts[1:]:
            purpose = "masks/" + "/".join(sorted((cast.roster.hosts[0], peer)))
            secrets.append(pair_key(own, cast.roster.ephemerals[peer], cast.roster.transcript, purpose))
        forms = [
            form for secret in secrets for form in (secret, secret.hex().encode(), repr(secret).encode())
        ]
        for form in forms:
            assert not any(
                form[start : start + _WINDOW] in shown for start in range(0, len(form) - _WINDOW + 1, _WINDOW)
            )

    def test_what_is_given_stays_as_it_was(self, backend: SumBackend[Any]) -> None:
        cast, numbers = Cast.of(3), numbers_of(3, len(EXTREMES))
        before = [own.copy() for own in numbers]
        parts = cast.contributions(backend, numbers, CONTEXT)
        sent = [part.pack() for part in parts]
        total = backend.total(parts, cast.roster, CONTEXT)
        total[:] = 0
        assert [part.pack() for part in parts] == sent
        assert all((own == old).all() for own, old in zip(numbers, before, strict=True))
        assert not any(np.shares_memory(own, part.values) for own in numbers for part in parts)


def assert_refused(act: Any, code: RefusalCode, text: str = "") -> None:
    """The call raises `WireError` with this code, and with this text in its detail."""
    with pytest.raises(WireError) as caught:
        act()
    assert caught.value.code is code
    assert text in caught.value.detail
