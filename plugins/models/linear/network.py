"""The network of `linear`."""

from __future__ import annotations

import torch
from torch import nn


class LinearNetwork(nn.Module):
    """`linear` of the batch times `scale`, then ReLU if wanted."""

    def __init__(self, columns: int, classes: int, relu: bool, scale: float) -> None:
        super().__init__()
        self.linear = nn.Linear(columns, classes)
        self._relu, self._scale = relu, scale

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if not batch.is_floating_point():
            batch = batch.to(self.linear.weight.dtype) * self._scale
        outputs: torch.Tensor = self.linear(batch)
        return outputs.relu() if self._relu else outputs
