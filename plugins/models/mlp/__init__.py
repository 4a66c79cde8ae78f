"""Model type `mlp`: a multilayer perceptron with ReLU between its layers.

On sequences its first layer is the mean of learnt vectors, one for each entry of the vocabulary.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, field_validator

from fedcore.plugin_api import InvalidOptions, Options, ValueKind
from fedcore.plugin_api.torch_models import TorchModelType

if TYPE_CHECKING:
    from torch import nn

Width = Annotated[int, Field(ge=1, le=65_536)]
MAXIMUM_WEIGHTS: Final = 2**25
"""128 MiB in float32, and four times that with gradients and the two means of Adam."""


class MultilayerPerceptronOptions(Options):
    """Options of `mlp`."""

    hidden: Annotated[
        tuple[Width, ...], Field(min_length=1, max_length=8, description="The widths of the hidden layers.")
    ] = (64,)
    embedding: Annotated[
        int, Field(ge=1, le=4096, description="For sequences: the length of each entry's vector.")
    ] = 64
    dropout: Annotated[
        float, Field(ge=0, lt=1, description="The share of hidden values set to 0 in training.")
    ] = 0.0

    @field_validator("hidden")
    @classmethod
    def _fits_into_memory(cls, hidden: tuple[int, ...]) -> tuple[int, ...]:
        weights = sum(before * after for before, after in pairwise(hidden))
        if weights > MAXIMUM_WEIGHTS:
            raise ValueError(
                f"{weights} weights between hidden layers, at most {MAXIMUM_WEIGHTS}: narrow them"
            )
        return hidden


class MultilayerPerceptron(TorchModelType[MultilayerPerceptronOptions]):
    """Hidden layers with ReLU, then one output per class."""

    name = "mlp"
    version = "1"
    summary = "A multilayer perceptron with ReLU; on sequences it learns a vector for each token."
    Options = MultilayerPerceptronOptions
    sparse = True

    def network(self, columns: int, size: int, classes: int, kind: ValueKind) -> nn.Module:
        from torch import nn

        self._check_size(columns, size, classes, kind)
        layers: list[nn.Module] = []
        width = columns
        if kind is ValueKind.SEQUENCE:
            width = self.options.embedding
            layers.append(nn.EmbeddingBag(size + 1, width, mode="mean", padding_idx=0))
        for hidden in self.options.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU()]
            layers += [nn.Dropout(self.options.dropout)] if self.options.dropout else []
            width = hidden
        return nn.Sequential(*layers, nn.Linear(width, classes))

    def _check_size(self, columns: int, size: int, classes: int, kind: ValueKind) -> None:
        """Raise `InvalidOptions` for a network that would not fit into memory: only now all widths are known."""
        embedded = kind is ValueKind.SEQUENCE
        first = self.options.embedding if embedded else columns
        weights = sum(a * b for a, b in pairwise((first, *self.options.hidden, classes)))
        weights += (size + 1) * self.options.embedding if embedded else 0
        if weights > MAXIMUM_WEIGHTS:
            option = "embedding" if embedded else "hidden"
            problem = f"{weights} weights on features this wide, at most {MAXIMUM_WEIGHTS}: narrow it"
            raise InvalidOptions(self.name, {option: problem})
