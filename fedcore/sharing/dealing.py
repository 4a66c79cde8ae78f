"""The dealer's side: correlated randomness for every batch, block by block.

Who can see what: the dealer has the keys that mask rows, and seeds of its own. It needs no row, no share and no
opening, and gets none. The first compute owner gets a seed only; the second one a seed, and for each block what makes
the two owners' randomness fit together.

Dealt for a batch with mask A of its rows, in shares: A b and A' d, for the uniform vectors b (masks of the weights)
and d (masks of the errors); the table of the range check; and for the squared error truncations, for the
cross-entropy the sigmoid's table of each row, for a momentum or decay truncations of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.arrays import invalid
from fedcore.plugin_api.ring import RingVector
from fedcore.sharing.lookup import COARSE, FINE, range_table, sigmoid_table
from fedcore.sharing.masking import MaskKeys
from fedcore.sharing.plan import Batch, Loss, SharedPlan
from fedcore.sharing.scales import FACTOR_BITS
from fedcore.sharing.streams import Places, Words
from fedcore.sharing.truncation import quotient_and_top
from fedcore.wire.sealing import KEY_BYTES, derive

FORWARD: Final = "forward"
BACKWARD: Final = "backward"
RANGE: Final = "range"
SIGMOID: Final = "sigmoid"
ERROR_CUT: Final = "error_cut"
FACTOR_CUT: Final = "factor_cut"

Corrections = Mapping[str, NDArray[np.uint64]]
"""What the second compute owner cannot draw from its seed, for one block."""


@dataclass
class Drawn:
    """What one compute owner draws from its seed for one batch, in this order.

    `*_mask` are its shares of masks. The rest, where it is the first compute owner, are its shares of what is dealt;
    the second one's come from the dealer.
    """

    weights_mask: RingVector
    errors_mask: RingVector
    range_mask: NDArray[np.uint8]
    sigmoid_mask: NDArray[np.uint8]
    error_cut_mask: RingVector
    factor_cut_mask: RingVector
    forward: RingVector
    backward: RingVector
    range: RingVector
    error_cut: RingVector
    factor_cut: RingVector


@dataclass
class Seeded:
    """The stream of one compute owner's randomness for one block: batches come in order, and each comes once.

    Raises `WireError` (`artefact_invalid`) for a seed of another size than a key's.
    """

    plan: SharedPlan
    seed: bytes = field(repr=False)
    block: int
    is_first: bool

    def __post_init__(self) -> None:
        if len(self.seed) != KEY_BYTES:
            raise invalid(f"a seed of {len(self.seed)} bytes was dealt, and one has {KEY_BYTES}")
        self._words = Words(derive(self.seed, f"shared/block/{self.block}"))
        self.tables = Places(derive(self.seed, f"shared/tables/{self.block}"))

    def draw(self, rows: int) -> Drawn:
        """For the next batch, which has so many rows."""
        plan = self.plan
        cut = rows if plan.loss is Loss.SQUARED_ERROR else 0
        factor = plan.columns + 1 if plan.keeps_velocity else 0
        octets = -(-rows // 8)
        sizes = [plan.columns, rows, octets, octets, cut, factor]
        if self.is_first:
            sizes += [rows, plan.columns, rows * COARSE // 2, 2 * cut, 2 * factor]
        taken = self._words.take(sum(sizes))
        parts = [*np.split(taken, np.cumsum(sizes)[:-1])] + [taken[:0]] * (11 - len(sizes))
        weights, errors, in_range, sigmoid, *rest = parts
        return Drawn(weights, errors, in_range.view(np.uint8)[:rows], sigmoid.view(np.uint8)[:rows], *rest)


@dataclass(frozen=True)
class Seeds:
    """The two compute owners' seeds."""

    first: bytes = field(repr=False)
    second: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> Self:
        """From the dealer's secret for one dealing, which is never used for another."""
        return cls(derive(secret, "shared/seed/0"), derive(secret, "shared/seed/1"))

    def of_side(self, side: int) -> bytes:
        return (self.first, self.second)[side]


class Dealer:
    """Deals the blocks of one training. `keys` has the mask keys of every part, in the plan's order."""

    def __init__(self, plan: SharedPlan, keys: Sequence[MaskKeys], seeds: Seeds) -> None:
        if len(keys) != len(plan.rows):
            raise invalid(f"{len(keys)} pairs of keys for {len(plan.rows)} parts")
        self._plan, self._seeds = plan, seeds
        self._masks = [(Places(pair.first), Places(pair.second)) for pair in keys]
        self._ends = np.cumsum(plan.rows)

    def block(self, number: int) -> dict[str, NDArray[np.uint64]]:
        """The second compute owner's corrections for one block: flat arrays, batch after batch."""
        first = Seeded(self._plan, self._seeds.first, number, is_first=True)
        second = Seeded(self._plan, self._seeds.second, number, is_first=False)
        parts: dict[str, list[NDArray[np.uint64]]] = {}
        rows = 0
        for batch in self._plan.block(number):
            one, other = first.draw(len(batch.rows)), second.draw(len(batch.rows))
            for name, values in self._batch(batch, one, other).items():
                parts.setdefault(name, []).append(values)
            if self._plan.loss is Loss.CROSS_ENTROPY:
                parts.setdefault(SIGMOID, []).append(self._sigmoid(first, rows, one, other))
            rows += len(batch.rows)
        return {name: np.concatenate(values) for name, values in parts.items()}

    def _batch(self, batch: Batch, one: Drawn, other: Drawn) -> dict[str, NDArray[np.uint64]]:
        from fedcore.sharing.kernels import gradient_of_one, rotated, scores_of_one

        plan, masks = self._plan, self._masks_of(batch.rows)
        forward, backward = np.empty(len(batch.rows), np.uint64), np.empty(plan.columns, np.uint64)
        scores_of_one(masks, plan.width, one.weights_mask + other.weights_mask, forward)
        gradient_of_one(masks, plan.width, one.errors_mask + other.errors_mask, backward)
        checks = one.range.view(np.uint32).astype(np.uint64)
        rotated(range_table(), _sum(one.range_mask, other.range_mask, COARSE), checks)
        dealt = {
            FORWARD: forward - one.forward,
            BACKWARD: backward - one.backward,
            RANGE: np.ascontiguousarray(checks.astype(np.uint32)).view(np.uint64),
        }
        if plan.loss is Loss.SQUARED_ERROR:
            bits = plan.scales.product_bits - plan.rate_of(len(batch.rows)).shift
            dealt[ERROR_CUT] = _cut(one.error_cut_mask + other.error_cut_mask, bits) - one.error_cut
        if plan.keeps_velocity:
            mask = one.factor_cut_mask + other.factor_cut_mask
            dealt[FACTOR_CUT] = _cut(mask, FACTOR_BITS) - one.factor_cut
        return dealt

    def _sigmoid(self, first: Seeded, start: int, one: Drawn, other: Drawn) -> NDArray[np.uint64]:
        from fedcore.sharing.kernels import rotated

        rows, plan = len(one.sigmoid_mask), self._plan
        places = np.arange(start * FINE // 2, (start + rows) * FINE // 2)
        shares = first.tables.blocks(places).reshape(-1).copy()
        table = sigmoid_table(plan.rate_of(rows).whole, plan.scales.score_bits)
        rotated(table, _sum(one.sigmoid_mask, other.sigmoid_mask, FINE), shares)
        return shares

    def _masks_of(self, rows: NDArray[np.int64]) -> RingVector:
        """The masks of these rows, the sum of both compute owners' shares, flat."""
        width = self._plan.width
        masks = np.empty((len(rows), width), np.uint64)
        parts = np.searchsorted(self._ends, rows, side="right")
        for part, (first, second) in enumerate(self._masks):
            of_part = np.flatnonzero(parts == part)
            if len(of_part):
                inside = rows[of_part] - (self._ends[part] - self._plan.rows[part])
                masks[of_part] = first.rows(inside, width) + second.rows(inside, width)
        return masks.reshape(-1)


def _cut(mask: RingVector, bits: int) -> RingVector:
    return np.concatenate(quotient_and_top(mask, bits))


def _sum(one: NDArray[np.uint8], other: NDArray[np.uint8], size: int) -> RingVector:
    return ((one + other) & np.uint8(size - 1)).astype(np.uint64)
