"""Model types: what is trained. Parameters are named arrays; nothing is pickled."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.backends import Operation
from fedcore.plugin_api.plugins import Plugin, SomeOptions
from fedcore.plugin_api.values import Features, ValueKind
from fedcore.wire.spec import Protocol, Training

Parameters = Mapping[str, NDArray[Any]]
"""A model's parameters by name, float32 or float64."""


class TrainingDiverged(ArithmeticError):
    """A loss or parameter became NaN or infinite. The text names the step."""


@dataclass(frozen=True)
class LabelledRows:
    """Features and the class number (int64) of each row."""

    features: Features
    labels: NDArray[np.int64]


@dataclass
class TrainingOutcome:
    """Parameters after training, and loss and accuracy of every step's batch before the step."""

    parameters: Parameters
    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    epochs: int = 0


Progress = Callable[[int, int, float], None]
"""Called with (steps done, steps in all, loss of the last batch)."""


class ModelType(Plugin[SomeOptions]):
    """A model type declares the kinds of features that it `takes` and, per protocol, the `operations` that it
    needs of an encryption backend (compared once, when a run is submitted)."""

    takes: ClassVar[frozenset[ValueKind]]
    operations: ClassVar[Mapping[Protocol, frozenset[Operation]]]

    @abstractmethod
    def initial(self, features: Features, classes: int, training: Training) -> Parameters:
        """Fresh parameters for features of this kind and width; the same for the same `training.seed`."""

    @abstractmethod
    def train(
        self,
        parameters: Parameters,
        rows: LabelledRows,
        classes: int,
        training: Training,
        progress: Progress | None = None,
    ) -> TrainingOutcome:
        """Train from `parameters`. The order of batches follows from `training.seed` and the number of rows.

        Raises `InvalidOptions` for an optimiser, scheduler or loss that does not exist, and
        `TrainingDiverged`.
        """

    @property
    def linear_parameters(self) -> tuple[str, str] | None:
        """Which parameters are the weight (classes by columns) and the bias (classes) of a model whose scores are
        `features @ weight.T + bias` on a matrix, and which has no others; None for any other model.

        A host trains such a model itself where a run has an epsilon, and calls neither `initial` nor `train`.
        """
        return None

    @abstractmethod
    def scores(self, parameters: Parameters, features: Features) -> NDArray[np.float64]:
        """Unnormalised scores (logits), float64 of shape (rows, classes)."""
