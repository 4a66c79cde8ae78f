"""Numbers under masks that cancel in the sum over all owners: the aggregator learns the sum, and nothing else.

The scheme is the masking of Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning"
(CCS 2017), between all pairs of owners and without recovery from drop-outs. Each pair shares a seed (X25519 and
HKDF-SHA256 over the run's roster), and from it, for each sum, a key of 256 bits. AES-256 in counter mode makes a mask
of the key; the owner that comes first on the roster adds it to its numbers, the other one takes it off, modulo 2^64.

**Who sees what, assuming what.** Assume that X25519, HKDF-SHA256 and AES-256 hold, and that the roster's keys are the
owners' own (they come in signed reports, over peers that each owner's policy pins). Then the contributions of any
owners but all are uniformly random numbers, whatever the owners' numbers are; those of all are random numbers that add
up to the sum. So the coordinator sees how many numbers there are, and their sum. Every owner sees what it is told of
the sum.

**Coalitions.** The coordinator and some owners together learn the sum of the remaining owners' numbers, because they
know their own and can take them off. Where one owner remains, that sum is its numbers: all owners but one, with whoever
sees the sum, read the remaining one. With two owners a sum therefore tells each the other's numbers, and the backend
refuses them unless the option `two_owners` allows it, which is for sums that may be read in that way.

**An aggregator that lies.** It can alter a contribution, and the sum changes by as much, unnoticed; it can announce any
sum; it can throw one away. By none of this does it learn a number, since masks are never used twice: a context (run,
round, name, length) gets one mask, and an owner refuses it a second time. It learns more only by what it makes owners
*do*: where the next numbers depend on the sum that was announced, a false one, or a different one for each owner, can
make one owner's part show. Owners that compare what they were told, and a limit on releases, are what help.

**What sums say.** A sum is exact, without noise. Two sums over the same numbers whose rosters differ by one owner give
that owner's numbers by subtraction. A number that all owners but one have as 0 is that one owner's.

**Drop-outs.** If one contribution is missing, the masks towards it stay in the others, the sum is lost, and nothing of
anybody's numbers shows. The run fails, and can be submitted again with new keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from fedcore.plugin_api import (
    BackendStatus,
    Contribution,
    KeyHolders,
    Leak,
    Operation,
    Options,
    PairSeeds,
    Protects,
    RingVector,
    Roster,
    SumBackend,
    SumContext,
    add_contributions,
    checked_ring,
)

from .expansion import add_masks


class MaskOptions(Options):
    """How few owners a sum may have."""

    two_owners: bool = Field(
        default=False,
        description="Add over two owners too. From the sum each of them then computes the other's numbers, exactly: "
        "nothing is hidden between the two, only from the coordinator and only while neither tells it. Every owner's "
        "policy must allow this option by name.",
    )


class PairwiseMasks(SumBackend[MaskOptions]):
    """Owners' numbers under pairwise masks: their sum over all owners is exact, and nothing else shows."""

    name = "pairwise_masks"
    version = "1"
    summary = "Numbers under masks that cancel in the sum over all owners: only the exact sum shows."
    Options: ClassVar = MaskOptions
    operations = frozenset({Operation.ADD})
    protects = frozenset({Protects.UPDATE})
    leakage = frozenset({Leak.LENGTHS})
    trust = (
        "All owners but one, together with the coordinator or anybody else who sees the sum, learn the numbers of the "
        "remaining owner: the sum less their own.",
        "The coordinator together with some owners learns the sum of the remaining owners' numbers, exactly and "
        "without noise, and nothing else of them.",
        "Whoever sees two sums over the same numbers whose rosters differ by one owner learns that owner's numbers by "
        "subtraction.",
        "The coordinator can alter a contribution, or announce a false sum, and nobody notices; it learns no number by "
        "that, but where later numbers depend on the sum, they can be made to show more of one owner.",
        "An owner that sends false numbers alters the sum unnoticed, because nobody sees a contribution in clear.",
        "If one owner's contribution is missing, the sum is lost, and nothing of the other owners' numbers shows.",
        "Where the option two_owners is allowed, each of two owners learns the other's numbers from the sum.",
    )
    minimum_owners = 3
    security_bits = 128
    status = BackendStatus.STABLE
    key_holders = KeyHolders.OWNERS

    @property
    def fewest_owners(self) -> int:
        return 2 if self.options.two_owners else self.minimum_owners

    def protect(self, numbers: RingVector, seeds: PairSeeds, context: SumContext) -> Contribution:
        self.check_owners(seeds.roster)
        masked = checked_ring(numbers, context.length).copy()
        keys = seeds.mask_keys(context)
        add_masks(masked, keys.plus, keys.minus)
        return Contribution(self.name, seeds.roster.transcript, context, seeds.place, masked)

    def total(self, parts: Iterable[Contribution], roster: Roster, context: SumContext) -> RingVector:
        self.check_owners(roster)
        return add_contributions(parts, self.name, roster, context)
