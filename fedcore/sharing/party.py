"""A compute owner's side: training on shares, batch by batch, with three openings for each.

Who can see what: see `fedcore.sharing`. `Peer` carries the openings; everything that passes through it is uniformly
random but the plan's digest at the start and, once an epoch, the number of scores out of range.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.ciphers import out_of_range
from fedcore.plugin_api.ring import RingVector
from fedcore.sharing.dealt import BatchMaterial, Material
from fedcore.sharing.lookup import COARSE, COARSE_BITS, FINE, FINE_BITS, index
from fedcore.sharing.masking import SharedRows
from fedcore.sharing.plan import Batch, Loss, SharedPlan
from fedcore.sharing.scales import FACTOR_BITS, RING_BITS
from fedcore.sharing.truncation import Cut, masked, truncated
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError

_FINE_SHIFT: Final = RING_BITS - FINE_BITS
_COARSE_SHIFT: Final = RING_BITS + 1 - COARSE_BITS
_WORD_BYTES: Final = 8
_NO_CUT: Final = Cut(*(np.empty(0, np.uint64),) * 3)


class Peer(Protocol):
    """The other compute owner."""

    def exchange(self, data: bytes) -> bytes:
        """Send one frame, and receive the other's of the same moment. Raises `WireError`."""
        ...


class Party:
    """One compute owner in one training. `side` is 0 for the first and 1 for the second."""

    def __init__(
        self, plan: SharedPlan, side: int, rows: SharedRows, weights: RingVector, peer: Peer
    ) -> None:
        """`weights` is this side's share of the initial weights, columns first and the bias last: (columns + 1,)."""
        if len(rows.masked) != plan.total * plan.width or len(weights) != plan.columns + 1:
            raise WireError(RefusalCode.ARTEFACT_INVALID, "rows or weights do not have the plan's shape")
        self._plan, self._side, self._rows, self._peer = plan, side, rows, peer
        self.weights = weights.copy()
        self._velocity = np.zeros_like(weights)
        self._out_of_range = 0
        self._place = 0

    def train(self, blocks: Iterable[Material]) -> RingVector:
        """Go through all batches; the answer is this side's share of the final weights.

        Raises `WireError`: `out_of_range` where a score left its range,
        `state_mismatch` where the two sides follow different plans, and what the peer raises.
        """
        if self._peer.exchange(self._plan.digest.encode()) != self._plan.digest.encode():
            raise WireError(RefusalCode.STATE_MISMATCH, "the compute owners do not follow the same plan")
        done = 0
        for block in blocks:
            self._place = 0
            for batch, material in block.batches():
                if batch.number != done:
                    raise WireError(
                        RefusalCode.MASK_REUSED, f"batch {batch.number} was dealt in place of {done}"
                    )
                self._step(batch, material, block)
                done += 1
                if batch.ends_epoch:
                    self._check_range(batch)
        if done != self._plan.batches:
            raise WireError(
                RefusalCode.ARTEFACT_INVALID, f"{done} of {self._plan.batches} batches were dealt"
            )
        return self.weights

    def _step(self, batch: Batch, dealt: BatchMaterial, block: Material) -> None:
        score = self._scores(batch, dealt)
        error = self._errors(batch, score, dealt, block)
        self._update(batch, error, dealt)

    def _scores(self, batch: Batch, dealt: BatchMaterial) -> RingVector:
        """Shares of row times weights, at the scale of products."""
        from fedcore.sharing.kernels import scores

        plan, weights = self._plan, self.weights[:-1]
        opened = self._open(weights - dealt.weights_mask)
        score = np.empty(len(batch.rows), np.uint64)
        scores(
            self._rows.masked,
            self._rows.mask,
            batch.rows,
            plan.width,
            self._with_public(dealt.weights_mask, opened),
            opened,
            score,
        )
        score += dealt.forward
        score += self.weights[-1] << np.uint64(plan.scales.fraction_bits)
        return score

    def _errors(self, batch: Batch, score: RingVector, dealt: BatchMaterial, block: Material) -> RingVector:
        """Shares of the learning rate times (activation less target), at the scale of errors; the velocity moves on."""
        plan, rows = self._plan, len(batch.rows)
        label = self._rows.labels(batch.rows, plan.width, plan.columns, self._side)
        rate = plan.rate_of(rows)
        squared = plan.loss is Loss.SQUARED_ERROR
        if squared:
            score -= self._less_public((label << np.uint64(1)), 1) << np.uint64(plan.scales.product_bits)
        factor_cut = dealt.factor_cut if plan.keeps_velocity else _NO_CUT
        sent: list[NDArray[Any]] = [
            index(score, _COARSE_SHIFT, dealt.range_mask, COARSE_BITS, self._side),
            _NO_INDEX if squared else index(score, _FINE_SHIFT, dealt.sigmoid_mask, FINE_BITS, self._side),
            masked(score, dealt.error_cut, self._side) if squared else _NO_CUT.mask,
            masked(self._scaled_velocity(), factor_cut, self._side) if plan.keeps_velocity else _NO_CUT.mask,
        ]
        coarse, fine, error_words, factor_words = self._exchanged(sent)
        self._note_range(coarse & np.uint8(COARSE - 1), dealt)
        if plan.keeps_velocity:
            self._velocity = truncated(factor_words, factor_cut, FACTOR_BITS, self._side)
        if squared:
            bits = plan.scales.product_bits - rate.shift
            return truncated(error_words, dealt.error_cut, bits, self._side) * np.uint64(rate.factor)
        places = np.arange(self._place, self._place + rows) * FINE + fine
        self._place += rows
        return block.sigmoids(places) - label * np.uint64(rate.whole)

    def _update(self, batch: Batch, error: RingVector, dealt: BatchMaterial) -> None:
        """Move the weights against the gradient: rows times errors, and the sum of errors for the bias."""
        from fedcore.sharing.kernels import gradient

        plan = self._plan
        opened = self._open(error - dealt.errors_mask)
        change = np.empty(plan.columns + 1, np.uint64)
        gradient(
            self._rows.masked,
            self._rows.mask,
            batch.rows,
            plan.width,
            self._with_public(dealt.errors_mask, opened),
            opened,
            change[:-1],
        )
        change[:-1] += dealt.backward
        change[-1] = error.sum(dtype=np.uint64) << np.uint64(plan.scales.fraction_bits)
        if plan.keeps_velocity:
            self._velocity += change
            change = self._velocity
        self.weights -= change

    def _scaled_velocity(self) -> RingVector:
        """Momentum times velocity and decay times weights, with `FACTOR_BITS` more bits of fraction."""
        return self._velocity * np.uint64(self._plan.momentum) + self.weights * np.uint64(self._plan.decay)

    def _note_range(self, indices: NDArray[np.uint8], dealt: BatchMaterial) -> None:
        places = np.arange(len(indices)) * COARSE + indices
        self._out_of_range = (self._out_of_range + int(dealt.range[places].sum(dtype=np.uint32))) % 2**32

    def _check_range(self, batch: Batch) -> None:
        """Open how many scores of the epoch were too large, and stop unless that is none."""
        (coarse,) = self._exchanged([np.array([self._out_of_range], np.uint32)])
        found = int(coarse[0])
        self._out_of_range = 0
        if found:
            largest = 2 ** (self._plan.scales.score_bits - 1)
            raise out_of_range(
                f"by batch {batch.number}, {found} scores of the epoch came near {largest} or beyond. Lower the "
                "learning rate, or raise score_range"
            )

    def _open(self, share: RingVector) -> RingVector:
        """The value of a masked number, which is uniformly random: both shares, added up."""
        return share + _received(self._peer.exchange(share.tobytes()), share)

    def _exchanged(self, sent: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """Open several masked arrays in one frame: words first, so that they stay aligned."""
        ordered = sorted(range(len(sent)), key=lambda place: -sent[place].itemsize)
        frame = self._peer.exchange(b"".join(sent[place].tobytes() for place in ordered))
        if len(frame) != sum(array.nbytes for array in sent):
            raise _wrong_frame(len(frame))
        opened: dict[int, NDArray[Any]] = {}
        start = 0
        for place in ordered:
            part = np.frombuffer(frame, sent[place].dtype, len(sent[place]), start)
            opened[place] = sent[place] + part
            start += part.nbytes
        return [opened[place] for place in range(len(sent))]

    def _with_public(self, share: RingVector, public: RingVector) -> RingVector:
        """The share of a number that is shared and public in parts: the first side adds what is public."""
        return share + public if self._side == 0 else share

    def _less_public(self, share: RingVector, public: int) -> RingVector:
        return share - np.uint64(public) if self._side == 0 else share


_NO_INDEX: Final = np.empty(0, np.uint8)


def _received(frame: bytes, share: RingVector) -> RingVector:
    if len(frame) != share.nbytes:
        raise _wrong_frame(len(frame))
    return np.frombuffer(frame, np.uint64)


def _wrong_frame(size: int) -> WireError:
    return WireError(RefusalCode.ARTEFACT_INVALID, f"the other compute owner sent a frame of {size} bytes")
