"""What dealer and compute owners work out alike from the signed run spec: scales, batches, and what is dealt for each.

The order of rows is that of the plain training loop for the same seed, and so are the batches.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.batches import batches_of_epoch, rows_of_batch
from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.sharing.lookup import COARSE, FINE
from fedcore.sharing.scales import Rate, Scales, factor_of
from fedcore.wire.spec import Training

BLOCK_BYTES: Final = 16 * 1024 * 1024
"""How much is dealt at once: memory stays bounded however long the training is, and however large a batch. Only a
single batch of more columns than fit makes a larger block."""

_USUAL_RATE: Final = 1e-3
_LARGEST_DECAY: Final = 1 / 16
_OPTIONS: Final = {"lr", "momentum", "weight_decay"}


class Loss(StrEnum):
    """The losses that can be trained on shares. With two classes `cross_entropy` is logistic regression."""

    SQUARED_ERROR = "squared_error"
    CROSS_ENTROPY = "cross_entropy"


@dataclass(frozen=True)
class Batch:
    """One batch: its number from 0, the numbers of its rows, and whether an epoch ends with it."""

    number: int
    rows: NDArray[np.int64]
    ends_epoch: bool


@dataclass(frozen=True)
class SharedPlan:
    """One training on shares. `rows` has the number of rows of each masked part, in the order of owners and parts.

    `momentum` and `decay` are multiples of 2^-12, 0 for none.
    """

    scales: Scales
    loss: Loss
    columns: int
    rows: tuple[int, ...]
    batch_size: int
    epochs: int
    seed: int
    rate: float
    momentum: int
    decay: int

    @property
    def width(self) -> int:
        """Integers in a masked row: the features, the label, and one more where that is needed for an even number."""
        return self.columns + 1 + (self.columns + 1) % 2

    @property
    def total(self) -> int:
        return sum(self.rows)

    @property
    def keeps_velocity(self) -> bool:
        return bool(self.momentum or self.decay)

    @property
    def batches_of_epoch(self) -> int:
        return batches_of_epoch(self.total, self.batch_size)

    @property
    def batches(self) -> int:
        return self.batches_of_epoch * self.epochs

    @cached_property
    def batches_of_block(self) -> int:
        rows = min(self.batch_size, self.total)
        left_over = self.total - rows * self.batches_of_epoch
        of_columns = self.columns + 2 * (self.columns + 1) * self.keeps_velocity
        of_row = _bytes_of_row(self.loss)
        # Of some batches in a row one more ends an epoch, and so is larger, than fits their number.
        of_batch = of_row * (rows + left_over / self.batches_of_epoch) + 8 * of_columns
        return max(1, int((BLOCK_BYTES - of_row * left_over) / of_batch))

    @property
    def blocks(self) -> int:
        return -(-self.batches // self.batches_of_block)

    @property
    def dealt_bytes(self) -> int:
        """How much is dealt for the whole training, but for headers."""
        of_columns = self.columns + 2 * (self.columns + 1) * self.keeps_velocity
        return _bytes_of_row(self.loss) * self.total * self.epochs + 8 * of_columns * self.batches

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all of the plan: both compute owners compare it before anything is opened."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def block(self, number: int) -> Iterator[Batch]:
        """The batches of one block, in order."""
        first = number * self.batches_of_block
        for batch in range(first, min(first + self.batches_of_block, self.batches)):
            yield self.batch(batch)

    def batch(self, number: int) -> Batch:
        epoch, place = divmod(number, self.batches_of_epoch)
        rows = rows_of_batch(place, self.total, self.batch_size)
        order = _order(self.seed, self.total, epoch)
        return Batch(number, order[rows], ends_epoch=rows.stop == self.total)

    def rate_of(self, rows: int) -> Rate:
        """The learning rate of a batch with so many rows. Raises `WireError` (`out_of_range`)."""
        return _rate(self.scales, self.rate, rows)


def plan_of(training: Training, scales: Scales, columns: int, rows: Sequence[int]) -> SharedPlan:
    """The plan of a run. Raises `InvalidOptions` with every mistake, and `WireError` (`out_of_range`)."""
    problems = dict(_problems(training))
    if problems:
        raise InvalidOptions("training", problems)
    options: Mapping[str, Any] = training.optimiser.options
    rate, decay = float(options.get("lr", _USUAL_RATE)), float(options.get("weight_decay", 0.0))
    plan = SharedPlan(
        scales=scales,
        loss=Loss(training.loss),
        columns=columns,
        rows=tuple(rows),
        batch_size=training.batch_size,
        epochs=training.epochs,
        seed=training.seed,
        rate=rate,
        momentum=factor_of("momentum", float(options.get("momentum", 0.0))),
        decay=factor_of("lr times weight_decay", rate * decay),
    )
    if plan.keeps_velocity:
        scales.check_velocity()
    for number in {0, plan.batches_of_epoch - 1}:
        plan.rate_of(len(plan.batch(number).rows))
    return plan


def _problems(training: Training) -> Iterator[tuple[str, str]]:
    """What a training on shares cannot do, by option, with what it can."""
    optimiser = training.optimiser
    if optimiser.name.lower() != "sgd":
        yield (
            "optimiser",
            f"{optimiser.name!r} divides by secret numbers; under `shared` use sgd, with momentum",
        )
    elif others := sorted(set(optimiser.options) - _OPTIONS):
        yield (
            "optimiser",
            f"under `shared` sgd has the options {', '.join(sorted(_OPTIONS))}, not {', '.join(others)}",
        )
    elif wrong := sorted(name for name, value in optimiser.options.items() if not _is_a_number(value)):
        yield "optimiser", f"{', '.join(wrong)} of sgd: each is a finite number from 0"
    elif _forgets(optimiser.options):
        yield "optimiser", "under `shared` momentum is below 1, and lr times weight_decay at most 1/16"
    if training.loss not in set(Loss):
        yield "loss", f"{training.loss!r} is none of {', '.join(Loss)}, which can be trained on shares"
    elif training.batch_size > (most := BLOCK_BYTES // (2 * _bytes_of_row(Loss(training.loss)))):
        yield (
            "batch_size",
            f"under `shared` with {training.loss} a batch has at most {most} rows, for as many can be dealt at once",
        )
    if training.scheduler is not None:
        yield "scheduler", "under `shared` the learning rate stays the same: leave the scheduler out"
    if training.class_weights is not None:
        yield (
            "class_weights",
            "under `shared` nobody knows a row's class, so rows cannot be weighted by it: leave them out",
        )
    if training.early_stopping is not None:
        yield "early_stopping", "under `shared` nobody sees a loss during the training: leave it out"


def _is_a_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _forgets(options: Mapping[str, Any]) -> bool:
    """Whether weights would forget all but the last batches, and so show these."""
    decay = float(options.get("lr", _USUAL_RATE)) * float(options.get("weight_decay", 0.0))
    return float(options.get("momentum", 0.0)) >= 1 or decay > _LARGEST_DECAY


def _bytes_of_row(loss: Loss) -> int:
    """What is dealt for one row of a batch: a product, the range check's table, and the error's truncation or table."""
    return 8 + 4 * COARSE + 8 * (FINE if loss is Loss.CROSS_ENTROPY else 2)


@lru_cache(maxsize=64)
def _rate(scales: Scales, rate: float, rows: int) -> Rate:
    return Rate.of(scales, rate, rows)


class _Orders:
    """The orders of rows, epoch after epoch, as the plain training loop draws them. The last two are kept."""

    def __init__(self, seed: int, total: int) -> None:
        self._seed, self._total = seed, total
        self._lock = Lock()
        self._begin()

    def _begin(self) -> None:
        self._generator = np.random.Generator(np.random.PCG64(self._seed))
        self._numbers = self._generator.permutation(self._total)
        self._drawn = 0
        self._kept: dict[int, NDArray[np.int64]] = {}

    def of(self, epoch: int) -> NDArray[np.int64]:
        """The order of one epoch; going back further than one epoch begins anew."""
        with self._lock:
            if epoch < self._drawn and epoch not in self._kept:
                self._begin()
            while self._drawn <= epoch:
                self._kept[self._drawn] = self._generator.permutation(self._numbers).astype(np.int64)
                self._kept.pop(self._drawn - 2, None)
                self._drawn += 1
            return self._kept[epoch]


@lru_cache(maxsize=4)
def _orders(seed: int, total: int) -> _Orders:
    return _Orders(seed, total)


def _order(seed: int, total: int, epoch: int) -> NDArray[np.int64]:
    return _orders(seed, total).of(epoch)
