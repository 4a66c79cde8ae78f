"""Owners, a dealer and two compute owners in one process: a whole training on shares with fake peers."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import random as random_matrix

from fedcore.plugin_api.models import LabelledRows
from fedcore.plugin_api.ring import RingVector
from fedcore.plugin_api.values import Matrix
from fedcore.sharing.dealing import Corrections, Dealer, Seeds
from fedcore.sharing.dealt import FirstMaterial, Material, SecondMaterial
from fedcore.sharing.masking import MaskKeys, SharedRows, mask_rows
from fedcore.sharing.party import Party
from fedcore.sharing.plan import Loss, SharedPlan, plan_of
from fedcore.sharing.scales import Scales
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import PluginChoice, Training

SECONDS = 30.0
SCALES = Scales(fraction_bits=13, score_bits=6)
LARGEST = 64.0


def fixed(label: str) -> bytes:
    """A fixed key of 32 bytes."""
    return hashlib.sha256(label.encode()).digest()


def training(
    loss: str = "squared_error", batch_size: int = 16, epochs: int = 2, seed: int = 7, **options: Any
) -> Training:
    return Training(
        optimiser=PluginChoice(name="sgd", options={"lr": 0.0625, **options}),
        loss=loss,
        batch_size=batch_size,
        epochs=epochs,
        seed=seed,
        precision="float64",
    )


def rows_of(seed: int, count: int, columns: int, density: float = 0.5) -> LabelledRows:
    """Sparse rows between -1 and 1 in multiples of 2^-13, with classes that depend on them."""
    chance = np.random.default_rng(seed)
    sparse = random_matrix(count, columns, density, "csr", np.float64, chance)
    data = np.rint((sparse.data * 2 - 1) * 2**13) / 2**13
    matrix = Matrix(
        sparse.indptr.astype(np.int64), sparse.indices.astype(np.int32), data.astype(np.float32), columns
    )
    truth = np.sin(np.arange(1, columns + 1) * 1.7)
    margin = matrix.to_scipy() @ truth + 0.3 * chance.standard_normal(count)
    return LabelledRows(matrix, (margin > 0).astype(np.int64))


def dense(parts: Sequence[LabelledRows]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """All parts' rows and labels."""
    matrices = [part.features for part in parts]
    assert all(isinstance(matrix, Matrix) for matrix in matrices)
    rows = Matrix.concatenate([matrix for matrix in matrices if isinstance(matrix, Matrix)])
    return rows.to_scipy().toarray().astype(np.float64), np.concatenate([part.labels for part in parts])


def plan_for(parts: Sequence[LabelledRows], choice: Training, scales: Scales = SCALES) -> SharedPlan:
    columns = parts[0].features.columns
    return plan_of(choice, scales, columns, [len(part.labels) for part in parts])


@dataclass
class Line:
    """A `Peer`: one compute owner's end of a line to the other one, with all that it sent and received."""

    out: queue.Queue[bytes | None]
    into: queue.Queue[bytes | None]
    sent: list[bytes] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    change: Callable[[int, bytes], bytes] | None = None

    def exchange(self, data: bytes) -> bytes:
        frame = data if self.change is None else self.change(len(self.sent), data)
        self.sent.append(frame)
        self.out.put(frame)
        answer = self.into.get(timeout=SECONDS)
        if answer is None:
            raise WireError(RefusalCode.OWNER_AWAY, "the other compute owner has ended")
        self.received.append(answer)
        return answer

    def close(self) -> None:
        self.out.put(None)


def lines() -> tuple[Line, Line]:
    one: queue.Queue[bytes | None] = queue.Queue()
    other: queue.Queue[bytes | None] = queue.Queue()
    return Line(one, other), Line(other, one)


@dataclass
class Shares:
    """What there is before a training: masked rows, keys, and the dealer's seeds."""

    plan: SharedPlan
    parts: Sequence[LabelledRows]
    secret: str = "secret"

    def __post_init__(self) -> None:
        self.keys = [MaskKeys.of_part(fixed(f"{self.secret} owner"), part) for part in range(len(self.parts))]
        bits = self.plan.scales.fraction_bits
        self.masked = [
            mask_rows(part, keys, bits, LARGEST) for part, keys in zip(self.parts, self.keys, strict=True)
        ]
        self.seeds = Seeds.of(fixed(f"{self.secret} dealer"))
        self.dealer = Dealer(self.plan, self.keys, self.seeds)

    def rows(self, side: int) -> SharedRows:
        pairs = [(rows, keys.of_side(side)) for rows, keys in zip(self.masked, self.keys, strict=True)]
        return SharedRows.of(pairs, self.plan.total * self.plan.width)

    def first(self) -> Iterator[Material]:
        return (FirstMaterial(self.plan, self.seeds.first, block) for block in range(self.plan.blocks))

    def second(self, change: Callable[[int, Corrections], Corrections] | None = None) -> Iterator[Material]:
        for block in range(self.plan.blocks):
            dealt: Corrections = self.dealer.block(block)
            if change is not None:
                dealt = change(block, dealt)
            yield SecondMaterial(self.plan, self.seeds.second, block, dealt)


@dataclass
class Ended:
    """How a training ended: both shares of the weights, both lines, and both errors where there were some."""

    weights: list[RingVector | None]
    lines: tuple[Line, Line]
    errors: list[Exception | None]

    @property
    def codes(self) -> list[RefusalCode | None]:
        """The codes of both errors. Any error that is no `WireError` is raised."""
        for error in self.errors:
            if error is not None and not isinstance(error, WireError):
                raise error
        return [error.code if isinstance(error, WireError) else None for error in self.errors]

    @property
    def shares(self) -> tuple[RingVector, RingVector]:
        for error in self.errors:
            if error is not None:
                raise error
        one, other = self.weights
        assert one is not None
        assert other is not None
        return one, other

    def total(self, plan: SharedPlan) -> NDArray[np.float64]:
        """The weights, the bias last."""
        one, other = self.shares
        return (one + other).view(np.int64) * 2.0**-plan.scales.weight_bits


def together(
    parties: Sequence[Party], materials: Sequence[Iterable[Material]], ends: tuple[Line, Line]
) -> Ended:
    """Both compute owners train, each in a thread."""
    ended = Ended([None, None], ends, [None, None])

    def run(side: int) -> None:
        try:
            ended.weights[side] = parties[side].train(materials[side])
        except Exception as error:
            ended.errors[side] = error
            ends[side].close()

    threads = [threading.Thread(target=run, args=(side,)) for side in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * SECONDS)
    return ended


def train(
    plan: SharedPlan,
    parts: Sequence[LabelledRows],
    weights: RingVector | None = None,
    secret: str = "secret",
    change: Callable[[int, Corrections], Corrections] | None = None,
    frames: Callable[[int, bytes], bytes] | None = None,
    kind: type[Party] = Party,
) -> Ended:
    """A whole training. `change` alters what is dealt, `frames` what the second compute owner sends."""
    shares, ends = Shares(plan, parts, secret), lines()
    ends[1].change = frames
    zeros = np.zeros(plan.columns + 1, np.uint64)
    initial = (zeros if weights is None else weights, zeros)
    parties = [kind(plan, side, shares.rows(side), initial[side], ends[side]) for side in range(2)]
    return together(parties, [shares.first(), shares.second(change)], ends)


def plainly(
    plan: SharedPlan, rows: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same training in float64 on plaintext, as one would write it down; the bias is last."""
    wide = np.column_stack([rows, np.ones(len(rows))])
    weights, velocity = weights.copy(), np.zeros_like(weights)
    for number in range(plan.batches):
        batch = plan.batch(number).rows
        rate = plan.rate_of(len(batch))
        x, y, score = wide[batch], labels[batch], wide[batch] @ weights
        if plan.loss is Loss.SQUARED_ERROR:
            error = (score - (2 * y - 1)) * rate.factor * 2.0 ** (rate.shift - plan.scales.error_bits)
        else:
            error = (1 / (1 + np.exp(-score)) - y) * rate.whole * 2.0**-plan.scales.error_bits
        velocity = (plan.momentum * velocity + plan.decay * weights) / 4096 + x.T @ error
        weights = weights - velocity
    return weights
