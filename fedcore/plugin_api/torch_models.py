"""Model types that are torch networks: a subclass gives the network, and the plain training loop is here."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.backends import Operation
from fedcore.plugin_api.batches import batches_of_epoch, rows_of_batch
from fedcore.plugin_api.checks import check_finite, check_rows
from fedcore.plugin_api.models import (
    LabelledRows,
    ModelType,
    Parameters,
    Progress,
    TrainingDiverged,
    TrainingOutcome,
)
from fedcore.plugin_api.plugins import SomeOptions
from fedcore.plugin_api.torch_choices import Schedule, make_loss, make_optimiser
from fedcore.plugin_api.values import Features, Matrix, Sequence, ValueKind
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import Protocol, Training

if TYPE_CHECKING:
    import torch
    from torch import nn

SCORING_ROWS: Final = 4096
"""Rows that are scored at once."""


class TorchModelType(ModelType[SomeOptions]):
    """A model type that is a torch network.

    The network takes a batch and gives logits of shape (rows, classes). For a matrix the batch is a tensor of
    the training's precision and of shape (rows, columns), dense or (where `sparse` is set) in compressed rows,
    which `nn.Linear` takes several times faster; for a sequence int64 of shape (rows, length), 0 is padding.
    Its parameters and buffers are floating-point; their names are those of `state_dict`.
    """

    takes: ClassVar[frozenset[ValueKind]] = frozenset({ValueKind.MATRIX, ValueKind.SEQUENCE})
    operations: ClassVar[Mapping[Protocol, frozenset[Operation]]] = {
        Protocol.LOCAL: frozenset(),
        Protocol.REFERENCE: frozenset(),
        Protocol.POOLED: frozenset({Operation.EQUALITY}),
    }
    sparse: ClassVar[bool] = False

    @abstractmethod
    def network(self, columns: int, size: int, classes: int, kind: ValueKind) -> nn.Module:
        """A fresh network for features of this kind: `columns` wide, with a vocabulary of `size` (sequences)."""

    def initial(self, features: Features, classes: int, training: Training) -> Parameters:
        with _seeded(training.seed):
            network = self._network_for(features, classes)
        return _export(network, np.dtype(training.precision))

    def train(
        self,
        parameters: Parameters,
        rows: LabelledRows,
        classes: int,
        training: Training,
        progress: Progress | None = None,
    ) -> TrainingOutcome:
        import torch

        check_rows(rows, classes)
        dtype = torch.float64 if training.precision == "float64" else torch.float32
        with _seeded(training.seed):
            network = self._loaded(parameters, rows.features, classes, dtype)
            return _Loop(network, rows, classes, training, dtype, self.sparse).run(progress)

    def scores(self, parameters: Parameters, features: Features) -> NDArray[np.float64]:
        import torch

        if isinstance(features, Matrix):
            check_finite({"features": features.data})
        network = self._loaded(parameters, features, self.classes_of(parameters), torch.float64)
        network.eval()
        blocks = [np.empty((0, self.classes_of(parameters)))]
        with torch.inference_mode():
            for start in range(0, len(features), SCORING_ROWS):
                rows = np.arange(start, min(start + SCORING_ROWS, len(features)))
                blocks.append(network(as_batch(features, rows, torch.float64, self.sparse)).numpy())
        return np.concatenate(blocks)

    def classes_of(self, parameters: Parameters) -> int:
        """The number of classes that parameters are for: by default, the width of the last one."""
        last = next(reversed(list(parameters.values())), np.empty(()))
        if not last.ndim:
            raise WireError(RefusalCode.ARTEFACT_INVALID, f"these are no parameters of model {self.name}")
        return len(last)

    def _network_for(self, features: Features, classes: int) -> nn.Module:
        if isinstance(features, Sequence):
            return self.network(features.columns, features.size, classes, ValueKind.SEQUENCE)
        return self.network(features.columns, 0, classes, ValueKind.MATRIX)

    def _loaded(
        self, parameters: Parameters, features: Features, classes: int, dtype: torch.dtype
    ) -> nn.Module:
        import torch

        network = self._network_for(features, classes)
        expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        given = {name: value.shape for name, value in parameters.items()}
        if given != expected:
            raise WireError(
                RefusalCode.ARTEFACT_INVALID, f"model {self.name} needs parameters {expected}, got {given}"
            )
        check_finite(parameters)
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in parameters.items()}
        network.to(dtype).load_state_dict(tensors)
        return network


def as_batch(features: Features, rows: NDArray[Any], dtype: torch.dtype, sparse: bool) -> torch.Tensor:
    """Rows of features as the tensor that a network takes (see `TorchModelType`)."""
    import torch

    part = features.take(rows)
    if isinstance(part, Sequence):
        return torch.from_numpy(part.ids.astype(np.int64))
    if not (sparse and torch.backends.mkl.is_available()):  # type: ignore[no-untyped-call]
        return torch.from_numpy(part.to_scipy().toarray()).to(dtype)
    with warnings.catch_warnings():
        # torch warns once per process that compressed rows are in beta.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(part.indptr.astype(np.int32)),
            torch.from_numpy(part.indices),
            torch.from_numpy(part.data).to(dtype),
            size=(len(part), part.columns),
            dtype=dtype,
            check_invariants=False,
        )


class _Loop:
    """One training: the loop that a torch script would have, and what is recorded on the way."""

    def __init__(
        self,
        network: nn.Module,
        rows: LabelledRows,
        classes: int,
        training: Training,
        dtype: torch.dtype,
        sparse: bool,
    ) -> None:
        import torch

        self._network, self._features, self._training = network, rows.features, training
        self._dtype, self._sparse = dtype, sparse
        self._targets = torch.from_numpy(np.array(rows.labels, np.int64))
        self._order = np.random.Generator(np.random.PCG64(training.seed))
        numbers = self._order.permutation(len(rows.labels))
        kept_back = math.ceil(len(numbers) * training.early_stopping.share) if training.early_stopping else 0
        self._kept_back, self._numbers = numbers[:kept_back], numbers[kept_back:]
        if not len(self._numbers):
            raise WireError(RefusalCode.DATASET_EMPTY, "early stopping keeps back every row")
        self._steps = batches_of_epoch(len(self._numbers), training.batch_size) * training.epochs
        self._optimiser = make_optimiser(network, training.optimiser)
        self._schedule = Schedule(self._optimiser, training.scheduler, self._steps)
        self._loss = make_loss(training, rows.labels, classes, dtype)
        self._outcome = TrainingOutcome({})

    def run(self, progress: Progress | None) -> TrainingOutcome:
        outcome, stopping = self._outcome, _Stopping(self._training)
        for _ in range(self._training.epochs):
            epoch_start = len(outcome.loss)
            self._network.train()
            for batch in self._batches():
                self._step(batch)
                if progress is not None:
                    progress(len(outcome.loss), self._steps, outcome.loss[-1])
            outcome.epochs += 1
            self._check_parameters()
            watched = (
                self._held_loss() if len(self._kept_back) else float(np.mean(outcome.loss[epoch_start:]))
            )
            self._schedule.after_epoch(watched)
            if stopping.should_stop(watched, self._network):
                break
        outcome.parameters = stopping.best or _export(self._network, np.dtype(self._training.precision))
        return outcome

    def _batches(self) -> Iterator[NDArray[np.int64]]:
        order, size = self._order.permutation(self._numbers), self._training.batch_size
        numbers = range(batches_of_epoch(len(order), size))
        return (order[rows_of_batch(number, len(order), size)] for number in numbers)

    def _step(self, batch: NDArray[np.int64]) -> None:
        inputs = as_batch(self._features, batch, self._dtype, self._sparse)
        targets = self._targets[batch]
        outputs = []

        def closure() -> torch.Tensor:
            self._optimiser.zero_grad()
            outputs.append(self._network(inputs))
            loss = self._loss(outputs[-1], targets)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        # Every optimiser of torch takes a closure; L-BFGS calls it several times. The first call is the loss.
        optimiser: Any = self._optimiser
        loss: float = optimiser.step(closure).item()
        self._outcome.loss.append(loss)
        right = outputs[0].detach().argmax(dim=1) == targets
        self._outcome.accuracy.append(float(right.double().mean()))
        if not math.isfinite(loss):
            raise self._diverged("The loss")
        self._schedule.after_batch()

    def _held_loss(self) -> float:
        import torch

        self._network.eval()
        total = 0.0
        with torch.inference_mode():
            for start in range(0, len(self._kept_back), SCORING_ROWS):
                rows = self._kept_back[start : start + SCORING_ROWS]
                logits = self._network(as_batch(self._features, rows, self._dtype, self._sparse))
                total += float(self._loss(logits, self._targets[rows])) * len(rows)
        return total / len(self._kept_back)

    def _check_parameters(self) -> None:
        if not all(bool(value.isfinite().all()) for value in self._network.state_dict().values()):
            raise self._diverged("A parameter")

    def _diverged(self, what: str) -> TrainingDiverged:
        return TrainingDiverged(
            f"{what} became NaN or infinite at step {len(self._outcome.loss)} of {self._steps}. Lower the "
            "learning rate, or scale the features."
        )


class _Stopping:
    """Early stopping: remembers the best parameters, and says when patience is at its end."""

    def __init__(self, training: Training) -> None:
        self._rule, self._precision = training.early_stopping, np.dtype(training.precision)
        self._lowest, self._waited = math.inf, 0
        self.best: Parameters | None = None

    def should_stop(self, loss: float, network: nn.Module) -> bool:
        if self._rule is None:
            return False
        if loss < self._lowest - self._rule.minimum:
            self._lowest, self._waited = loss, 0
            self.best = _export(network, self._precision)
            return False
        self._waited += 1
        return self._waited >= self._rule.patience


def _export(network: nn.Module, dtype: np.dtype[Any]) -> Parameters:
    return {name: value.numpy().astype(dtype) for name, value in network.state_dict().items()}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """torch's own random numbers (initial weights, dropout) from the seed, and as before afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
