"""The contract of sums tells bad backends from good ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedcore.plugin_api import Contribution, PairSeeds, RingVector, Roster, SumContext, checked_ring
from fedcore.plugin_api.testing_sums import SumBackendContract
from plugins.encryption.pairwise_masks import PairwiseMasks
from plugins.encryption.pairwise_masks.expansion import add_masks


def unused(seeds: PairSeeds) -> PairSeeds:
    """The same seeds, as if no context had been used."""
    fresh = PairSeeds.__new__(PairSeeds)
    fresh.__dict__ |= seeds.__dict__ | {"_used": set()}
    return fresh


class Changed(PairwiseMasks):
    """Masks as its subclasses say."""

    def keys(self, seeds: PairSeeds, context: SumContext) -> tuple[Iterable[bytes], Iterable[bytes]]:
        keys = seeds.mask_keys(context)
        return keys.plus, keys.minus

    def mask(self, masked: RingVector, plus: Iterable[bytes], minus: Iterable[bytes]) -> None:
        add_masks(masked, list(plus), list(minus))

    def protect(self, numbers: RingVector, seeds: PairSeeds, context: SumContext) -> Contribution:
        self.check_owners(seeds.roster)
        masked = checked_ring(numbers, context.length).copy()
        self.mask(masked, *self.keys(seeds, context))
        return Contribution(self.name, seeds.roster.transcript, context, seeds.place, masked)


class Bare(Changed):
    """Masks nothing."""

    def mask(self, masked: RingVector, plus: Iterable[bytes], minus: Iterable[bytes]) -> None:
        pass


class Half(Changed):
    """Masks have 32 bits only."""

    def mask(self, masked: RingVector, plus: Iterable[bytes], minus: Iterable[bytes]) -> None:
        for keys, sign in ((plus, 1), (minus, -1)):
            for key in keys:
                mask = np.zeros(len(masked), np.uint64)
                add_masks(mask, [key], [])
                masked += (mask & np.uint64(2**32 - 1)) * np.uint64(sign % 2**64)


class OneMaskForAll(Changed):
    """Leaves the context out of the masks, and so never refuses one."""

    def keys(self, seeds: PairSeeds, context: SumContext) -> tuple[Iterable[bytes], Iterable[bytes]]:
        return super().keys(unused(seeds), SumContext("always", 0, 1))


class NeighboursOnly(Changed):
    """Masks between neighbours on the roster: two owners beside an owner see its numbers."""

    def keys(self, seeds: PairSeeds, context: SumContext) -> tuple[Iterable[bytes], Iterable[bytes]]:
        plus, minus = super().keys(seeds, context)
        return list(plus)[:1], list(minus)[-1:]


class OneSign(Changed):
    """Adds every mask, so that none cancels."""

    def keys(self, seeds: PairSeeds, context: SumContext) -> tuple[Iterable[bytes], Iterable[bytes]]:
        plus, minus = super().keys(seeds, context)
        return [*plus, *minus], []


class InPlace(Changed):
    """Masks the numbers that it was given."""

    def protect(self, numbers: RingVector, seeds: PairSeeds, context: SumContext) -> Contribution:
        sent = super().protect(numbers, seeds, context)
        numbers[:] = sent.values
        return sent


class Salted(Changed):
    """Makes the masks depend on the numbers."""

    def protect(self, numbers: RingVector, seeds: PairSeeds, context: SumContext) -> Contribution:
        sent = super().protect(numbers, seeds, context)
        sent.values[:1] += numbers[1:2]
        return sent


class Telling(Changed):
    """Leaves the first number in clear."""

    def protect(self, numbers: RingVector, seeds: PairSeeds, context: SumContext) -> Contribution:
        sent = super().protect(numbers, seeds, context)
        sent.values[0] = numbers[0]
        return sent


class Lavish(Changed):
    """Uses the context up before it looks at the numbers."""

    def protect(self, numbers: RingVector, seeds: PairSeeds, context: SumContext) -> Contribution:
        plus, minus = self.keys(seeds, context)
        masked = checked_ring(numbers, context.length).copy()
        self.mask(masked, plus, minus)
        return Contribution(self.name, seeds.roster.transcript, context, seeds.place, masked)


class Sloppy(PairwiseMasks):
    """Adds whatever comes."""

    def total(self, parts: Iterable[Contribution], roster: Roster, context: SumContext) -> RingVector:
        return np.sum([part.values for part in parts], axis=0, dtype=np.uint64)


class Strangers(PairwiseMasks):
    """Takes contributions of other runs, rosters and contexts."""

    def total(self, parts: Iterable[Contribution], roster: Roster, context: SumContext) -> RingVector:
        adopted = (
            replace(part, roster=roster.transcript, context=context, values=part.values[: context.length])
            for part in parts
        )
        return super().total(adopted, roster, context)


class Alone(PairwiseMasks):
    """Says that it adds over three, and does it over two."""

    def check_owners(self, roster: Roster) -> None:
        pass


class Modest(PairwiseMasks):
    """Declares that it shows nothing."""

    leakage: Any = frozenset()


class Proud(PairwiseMasks):
    """Does not say what all owners but one learn."""

    trust = ("Nobody learns anything.",)


class Shown(PairwiseMasks):
    """Wears its masks in its contributions."""

    def protect(self, numbers: RingVector, seeds: PairSeeds, context: SumContext) -> Contribution:
        keys = unused(seeds).mask_keys(context)
        sent = super().protect(numbers, seeds, context)
        return replace(sent, backend=f"{self.name} {(keys.plus + keys.minus)[0].hex()}")


CASES: list[tuple[type[PairwiseMasks], str, tuple[Any, ...]]] = [
    (Bare, "test_every_proper_subset_of_contributions_is_uniformly_random", (3,)),
    (Bare, "test_what_is_not_declared_does_not_show", ()),
    (Half, "test_every_proper_subset_of_contributions_is_uniformly_random", (3,)),
    (OneMaskForAll, "test_the_masks_of_two_contexts_are_unrelated", ()),
    (OneMaskForAll, "test_a_context_is_masked_once", ()),
    (NeighboursOnly, "test_each_other_owner_alone_hides_an_owners_numbers", ()),
    (OneSign, "test_the_sum_is_exact", (3, 7)),
    (InPlace, "test_what_is_given_stays_as_it_was", ()),
    (Telling, "test_every_proper_subset_of_contributions_is_uniformly_random", (3,)),
    (Salted, "test_datasets_of_one_sum_differ_only_under_masks_that_are_the_same_for_both", ()),
    (Lavish, "test_numbers_that_are_refused_use_up_no_context", ()),
    (Sloppy, "test_contributions_that_are_missing_double_or_strange_give_no_sum", ()),
    (Sloppy, "test_contributions_of_another_run_roster_or_context_give_no_sum", ()),
    (Strangers, "test_contributions_of_another_run_roster_or_context_give_no_sum", ()),
    (Alone, "test_fewer_owners_than_it_says_are_refused_on_both_sides", ()),
    (Modest, "test_the_backend_says_who_it_is_and_what_it_shows", ()),
    (Proud, "test_the_backend_says_who_it_is_and_what_it_shows", ()),
    (Shown, "test_no_seed_is_in_what_is_shown_or_leaves", ()),
]


@pytest.mark.parametrize(
    ("backend", "test", "more"), CASES, ids=[f"{kind.__name__}-{test}" for kind, test, _ in CASES]
)
def test_a_backend_that_breaks_a_rule_fails_the_test_of_that_rule(
    backend: type[PairwiseMasks], test: str, more: tuple[Any, ...]
) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception, ValueError)):
        getattr(SumBackendContract(), test)(backend(), *more)
