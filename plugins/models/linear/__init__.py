"""Model type `linear`: one linear layer, which with the cross-entropy loss is logistic (softmax) regression.

With `activation="relu"` it is the single layer with ReLU outputs of the reference network of 2021: 300 features
or a sequence of 250 numbers in, two outputs, 602 or 502 parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from fedcore.plugin_api import Operation, Options, Protocol, ValueKind
from fedcore.plugin_api.torch_models import TorchModelType

if TYPE_CHECKING:
    from torch import nn


class LinearOptions(Options):
    """Options of `linear`."""

    activation: Annotated[
        Literal["none", "relu"], Field(description="What follows the layer: nothing, or max(0, output).")
    ] = "none"


class Linear(TorchModelType[LinearOptions]):
    """One output per class. A sequence enters as its numbers divided by the size of the vocabulary, so that
    the range of the inputs is 0 to 1 however large the vocabulary is."""

    name = "linear"
    version = "1"
    summary = "One linear layer: softmax regression with any optimiser and loss of torch."
    Options = LinearOptions
    sparse = True
    operations: ClassVar[Mapping[Protocol, frozenset[Operation]]] = {
        **TorchModelType.operations,
        Protocol.SHARED: frozenset({Operation.ADD, Operation.MULTIPLY}),
    }

    @property
    def linear_parameters(self) -> tuple[str, str] | None:
        return ("linear.weight", "linear.bias") if self.options.activation == "none" else None

    def network(self, columns: int, size: int, classes: int, kind: ValueKind) -> nn.Module:
        from plugins.models.linear.network import LinearNetwork

        scale = 1.0 / max(size, 1) if kind is ValueKind.SEQUENCE else 1.0
        return LinearNetwork(columns, classes, self.options.activation == "relu", scale)
