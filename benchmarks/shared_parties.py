"""Two compute owners' processes with a pipe each way between them, on rows that are masked and dealt as in a run."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api import LabelledRows, RingVector
from fedcore.sharing.dealing import Dealer, Seeds
from fedcore.sharing.dealt import FirstMaterial, Material, SecondMaterial
from fedcore.sharing.masking import MaskKeys, SharedRows, mask_rows
from fedcore.sharing.party import Party
from fedcore.sharing.plan import SharedPlan

LARGEST: Final = 64.0


@dataclass(frozen=True)
class Dealt:
    """Masked rows of every owner with their keys, and what the dealer deals; seconds of each, and bytes."""

    plan: SharedPlan
    parts: Sequence[NDArray[np.uint64]]
    keys: Sequence[MaskKeys]
    seeds: Seeds
    blocks: Sequence[dict[str, NDArray[np.uint64]]]
    masking: float
    dealing: float

    @property
    def bytes_of_owner(self) -> int:
        """What the first owner sends to one compute owner."""
        return int(self.parts[0].nbytes)

    @property
    def bytes_of_dealer(self) -> int:
        return sum(values.nbytes for block in self.blocks for values in block.values())


@dataclass(frozen=True)
class Trained:
    """The slower party's seconds from the first opening to the last, and the weights: columns, then the bias."""

    seconds: float
    weights: NDArray[np.float64]
    sent: int


def dealt(plan: SharedPlan, owners: Sequence[LabelledRows]) -> Dealt:
    """Mask every owner's rows, and deal the whole training."""
    keys = [MaskKeys.fresh() for _ in owners]
    started = time.perf_counter()
    bits = plan.scales.fraction_bits
    parts = [mask_rows(rows, pair, bits, LARGEST) for rows, pair in zip(owners, keys, strict=True)]
    masked = time.perf_counter()
    seeds = Seeds.of(os.urandom(32))
    dealer = Dealer(plan, keys, seeds)
    blocks = [dealer.block(number) for number in range(plan.blocks)]
    return Dealt(plan, parts, keys, seeds, blocks, masked - started, time.perf_counter() - masked)


def trained(given: Dealt) -> Trained:
    """Train in two processes, each of which has one side's keys and seed."""
    context = multiprocessing.get_context("fork")
    ends = context.Pipe()
    answers = [context.Pipe(duplex=False) for _ in ends]
    processes = [
        context.Process(target=_compute, args=(given, side, ends[side], answers[side][1])) for side in (0, 1)
    ]
    for process in processes:
        process.start()
    seconds, shares, sent = zip(*(answer.recv() for answer, _ in answers), strict=True)
    for process in processes:
        process.join()
    total = (shares[0] + shares[1]).view(np.int64) * 2.0**-given.plan.scales.weight_bits
    return Trained(max(seconds), total, sent[0])


class _PipePeer:
    def __init__(self, end: Connection) -> None:
        self._end, self.sent = end, 0

    def exchange(self, data: bytes) -> bytes:
        self.sent += len(data)
        self._end.send_bytes(data)
        return self._end.recv_bytes()


def _compute(given: Dealt, side: int, end: Connection, answer: Connection) -> None:
    plan, peer = given.plan, _PipePeer(end)
    parts = [(part, pair.of_side(side)) for part, pair in zip(given.parts, given.keys, strict=True)]
    rows = SharedRows.of(parts, plan.total * plan.width)
    zeros: RingVector = np.zeros(plan.columns + 1, np.uint64)
    party = Party(plan, side, rows, zeros, peer)
    peer.exchange(b"ready")
    started = time.perf_counter()
    share = party.train(_material(given, side))
    answer.send((time.perf_counter() - started, share, peer.sent))


def _material(given: Dealt, side: int) -> Any:
    blocks: list[Material] = []
    for number, corrections in enumerate(given.blocks):
        blocks.append(
            SecondMaterial(given.plan, given.seeds.second, number, corrections)
            if side
            else FirstMaterial(given.plan, given.seeds.first, number)
        )
    return blocks
