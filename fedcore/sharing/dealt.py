"""What a compute owner takes from the dealer: its share of each batch's randomness, in order, and each once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.arrays import invalid
from fedcore.plugin_api.ring import RingVector
from fedcore.sharing.dealing import (
    BACKWARD,
    ERROR_CUT,
    FACTOR_CUT,
    FORWARD,
    RANGE,
    SIGMOID,
    Corrections,
    Drawn,
    Seeded,
)
from fedcore.sharing.lookup import COARSE, FINE
from fedcore.sharing.plan import Batch, Loss, SharedPlan
from fedcore.sharing.truncation import Cut
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError


@dataclass
class BatchMaterial:
    """One compute owner's shares for one batch."""

    weights_mask: RingVector
    errors_mask: RingVector
    forward: RingVector
    backward: RingVector
    range_mask: NDArray[np.uint8]
    range: NDArray[np.uint32]
    sigmoid_mask: NDArray[np.uint8]
    error_cut: Cut
    factor_cut: Cut


class Material(ABC):
    """One block's randomness at one compute owner."""

    def __init__(self, plan: SharedPlan, block: int) -> None:
        self.plan, self.block = plan, block
        self._used = False

    def batches(self) -> Iterator[tuple[Batch, BatchMaterial]]:
        """Each batch of the block with its randomness. Raises `WireError` (`mask_reused`) when asked a second time."""
        if self._used:
            raise WireError(
                RefusalCode.MASK_REUSED, f"block {self.block} of what was dealt has been used already"
            )
        self._used = True
        return self._batches()

    @abstractmethod
    def _batches(self) -> Iterator[tuple[Batch, BatchMaterial]]: ...

    @abstractmethod
    def sigmoids(self, places: NDArray[np.int64]) -> RingVector:
        """This compute owner's shares of entries of the block's tables, by their places in the block."""


class FirstMaterial(Material):
    """The first compute owner's: all of it comes from its seed."""

    def __init__(self, plan: SharedPlan, seed: bytes, block: int) -> None:
        super().__init__(plan, block)
        self._seeded = Seeded(plan, seed, block, is_first=True)

    def _batches(self) -> Iterator[tuple[Batch, BatchMaterial]]:
        for batch in self.plan.block(self.block):
            drawn = self._seeded.draw(len(batch.rows))
            yield (
                batch,
                _material(
                    drawn, drawn.forward, drawn.backward, drawn.range, drawn.error_cut, drawn.factor_cut
                ),
            )

    def sigmoids(self, places: NDArray[np.int64]) -> RingVector:
        return self._seeded.tables.entries(places)


class SecondMaterial(Material):
    """The second compute owner's: masks from its seed, the rest as the dealer has dealt it.

    Raises `WireError` (`artefact_invalid`) for corrections that are not those of such a block.
    """

    def __init__(self, plan: SharedPlan, seed: bytes, block: int, corrections: Corrections) -> None:
        super().__init__(plan, block)
        self._seeded = Seeded(plan, seed, block, is_first=False)
        self._corrections = corrections
        sizes = [len(batch.rows) for batch in plan.block(block)]
        expected = _expected(plan, sum(sizes), len(sizes))
        given = {name: values.shape for name, values in corrections.items()}
        if given != {name: (size,) for name, size in expected.items()} or any(
            values.dtype != np.uint64 for values in corrections.values()
        ):
            raise invalid(f"dealt were arrays {given}, expected sizes {expected}")

    def _batches(self) -> Iterator[tuple[Batch, BatchMaterial]]:
        ends: dict[str, int] = {}

        def following(name: str, size: int) -> RingVector:
            start = ends.get(name, 0)
            ends[name] = start + size
            return self._corrections.get(name, _NOTHING)[start : start + size]

        columns = self.plan.columns
        for batch in self.plan.block(self.block):
            rows = len(batch.rows)
            yield (
                batch,
                _material(
                    self._seeded.draw(rows),
                    following(FORWARD, rows),
                    following(BACKWARD, columns),
                    following(RANGE, rows * COARSE // 2),
                    following(ERROR_CUT, 2 * rows),
                    following(FACTOR_CUT, 2 * (columns + 1)),
                ),
            )

    def sigmoids(self, places: NDArray[np.int64]) -> RingVector:
        return self._corrections[SIGMOID][places]


_NOTHING = np.empty(0, np.uint64)


def _expected(plan: SharedPlan, rows: int, batches: int) -> dict[str, int]:
    sizes = {FORWARD: rows, BACKWARD: batches * plan.columns, RANGE: rows * COARSE // 2}
    if plan.loss is Loss.SQUARED_ERROR:
        sizes[ERROR_CUT] = 2 * rows
    else:
        sizes[SIGMOID] = rows * FINE
    if plan.keeps_velocity:
        sizes[FACTOR_CUT] = batches * 2 * (plan.columns + 1)
    return sizes


def _material(
    drawn: Drawn,
    forward: RingVector,
    backward: RingVector,
    checks: RingVector,
    error_cut: RingVector,
    factor_cut: RingVector,
) -> BatchMaterial:
    return BatchMaterial(
        drawn.weights_mask,
        drawn.errors_mask,
        forward,
        backward,
        drawn.range_mask,
        checks.view(np.uint32),
        drawn.sigmoid_mask,
        _cut(drawn.error_cut_mask, error_cut),
        _cut(drawn.factor_cut_mask, factor_cut),
    )


def _cut(mask: RingVector, dealt: RingVector) -> Cut:
    return Cut(mask, dealt[: len(mask)], dealt[len(mask) :])
