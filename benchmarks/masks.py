"""`masks`: what the backend `pairwise_masks` costs an owner and the coordinator, beside what cannot be done without.

Ten owners, a million numbers each, one core. The baselines are written with the same numpy and cryptography, without
blocks: one owner's is the bare cipher, nine times 8 MB into one buffer, and one numpy addition in place for each; the
coordinator's is ten numpy additions of the same vectors. Both write to memory that they had before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import ClassVar, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from benchmarks.benchmark import Benchmark, Comparison, Goal, best_seconds
from fedcore.plugin_api import Contribution, FixedPoint, MaskKeys, PairSeeds, RingVector, Roster, SumContext
from fedcore.wire.keys import encode_key
from plugins.encryption.pairwise_masks import PairwiseMasks

OWNERS: Final = 10
NUMBERS: Final = 1_000_000
REPEATS: Final = 40
MASKING: Final = "masking, one owner"
ADDING: Final = "adding, coordinator"
BACKEND: Final = PairwiseMasks()


@dataclass(frozen=True)
class Owners:
    """The owners of a run, with fresh keys, and what they have."""

    roster: Roster
    ephemerals: Mapping[str, X25519PrivateKey]
    numbers: Sequence[RingVector]

    @classmethod
    def new(cls) -> Owners:
        ephemerals = {encode_key(os.urandom(32)): X25519PrivateKey.generate() for _ in range(OWNERS)}
        public = {host: encode_key(key.public_key().public_bytes_raw()) for host, key in ephemerals.items()}
        numbers = [np.frombuffer(os.urandom(8 * NUMBERS), np.uint64) for _ in ephemerals]
        return cls(Roster(os.urandom(32).hex(), public), ephemerals, numbers)

    def seeds(self, place: int) -> PairSeeds:
        host = self.roster.hosts[place]
        return PairSeeds(self.roster, host, self.ephemerals[host])


class Masks(Benchmark):
    """One owner's masks, and the sum of all contributions."""

    name: ClassVar[str] = "masks"
    summary: ClassVar[str] = (
        "pairwise masks beside the bare cipher and the bare sum: 10 owners, 1,000,000 numbers"
    )
    goals: ClassVar[dict[str, Goal]] = {
        MASKING: Goal(1.5, at_least=False),
        ADDING: Goal(1.5, at_least=False),
    }

    def measure(self) -> Iterator[Comparison]:
        owners = Owners.new()
        yield _masking(owners, self.goals[MASKING])
        yield _adding(owners, self.goals[ADDING])


def _masking(owners: Owners, goal: Goal) -> Comparison:
    place, rounds = OWNERS // 2, count(1)
    own, seeds = owners.numbers[place], owners.seeds(place)
    fixed, weights = FixedPoint(24, 1000.0, OWNERS), np.random.default_rng(1).normal(size=NUMBERS)
    zeros, stream, masked = bytes(8 * NUMBERS), bytearray(8 * NUMBERS + 15), own.copy()

    def ours() -> Contribution:
        return BACKEND.protect(own, seeds, SumContext("update", next(rounds), NUMBERS))

    def baseline(keys: MaskKeys, adds: bool = True) -> None:
        mask = np.frombuffer(stream, np.uint64, NUMBERS)
        for combine, each in ((np.add, keys.plus), (np.subtract, keys.minus)):
            for key in each:
                Cipher(AES256(key), CTR(bytes(16))).encryptor().update_into(zeros, stream)
                if adds:
                    combine(masked, mask, out=masked)

    keys = owners.seeds(place).mask_keys(SumContext("update", 0, NUMBERS))
    sent = BACKEND.protect(own, seeds, SumContext("update", 0, NUMBERS))
    baseline(keys)
    if not (masked == sent.values).all():
        raise AssertionError("The two mask with other numbers: not the same work.")
    mine, bare, cipher, agreeing, encoding = best_seconds(
        [
            ours,
            lambda: baseline(keys),
            lambda: baseline(keys, adds=False),
            lambda: owners.seeds(place),
            lambda: fixed.to_ring(weights),
        ],
        REPEATS,
    )
    size = len(sent.pack())
    figures = {
        "ours": _ms(mine),
        "cipher and adds": _ms(bare),
        "cipher alone": _ms(cipher),
        "masks": f"{8 * NUMBERS * (OWNERS - 1) / mine / 1e9:.1f} GB/s",
        "not in it: agreeing on seeds": _ms(agreeing),
        "fixed point": _ms(encoding),
        "bytes per byte of float32": f"{size / (4 * NUMBERS):.3f}",
        "of float64": f"{size / (8 * NUMBERS):.3f}",
    }
    details = {
        "ours": mine,
        "baseline": bare,
        "cipher": cipher,
        "agreement": agreeing,
        "fixed_point": encoding,
    }
    return Comparison(MASKING, figures, mine / bare, goal, details)


def _adding(owners: Owners, goal: Goal) -> Comparison:
    context = SumContext("update", 1, NUMBERS)
    sent = [BACKEND.protect(own, owners.seeds(place), context) for place, own in enumerate(owners.numbers)]
    total = np.empty(NUMBERS, np.uint64)

    def baseline() -> RingVector:
        np.copyto(total, sent[0].values)
        for part in sent[1:]:
            np.add(total, part.values, out=total)
        return total

    def ours() -> RingVector:
        return BACKEND.total(sent, owners.roster, context)

    clear = np.sum(owners.numbers, axis=0, dtype=np.uint64)
    if not ((ours() == clear).all() and (baseline() == clear).all()):
        raise AssertionError("The masks do not cancel: the sums differ.")
    mine, bare = best_seconds([ours, baseline], 3 * REPEATS)
    figures = {"ours": _ms(mine), "numpy sum": _ms(bare), "per owner": _ms(mine / OWNERS)}
    return Comparison(ADDING, figures, mine / bare, goal, {"ours": mine, "baseline": bare})


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms"


BENCHMARK: Final = Masks()
