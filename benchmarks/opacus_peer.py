"""The peer of private training: a linear layer under DP-SGD by Opacus, in settings that were found good for it.

Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, with Poisson samples of the rows, whose secrecy makes
noise count for more, and with floating-point noise, whose gaps Opacus leaves open in this mode. fedcore's training
does neither.
"""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import with_peer
from fedcore.plugin_api import LabelledRows, Matrix

REQUIREMENTS: Final = ("opacus==1.6.0", "opt_einsum==3.4.0")
EPOCHS: Final = 10
BATCH: Final = 2048
RATE: Final = 0.1
CLIP: Final = 1.0


def opacus_scores(
    training: LabelledRows, scored: LabelledRows, epsilon: float, delta: float
) -> NDArray[np.float64]:
    """Scores (rows, 2) of a model that Opacus has trained at this epsilon and delta."""
    with_peer(REQUIREMENTS, install=False)
    weight, bias = _trained(training, epsilon, delta)
    return np.asarray(_sparse(scored) @ weight.T + bias)


def _trained(rows: LabelledRows, epsilon: float, delta: float) -> tuple[NDArray[Any], NDArray[Any]]:
    import torch
    from opacus import PrivacyEngine
    from torch.utils.data import DataLoader

    warnings.simplefilter("ignore")  # Of Opacus, about secure randomness and hooks; both are known.
    layer: Any = torch.nn.Linear(rows.features.columns, 2)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    layer, optimiser, batches = PrivacyEngine(accountant="rdp").make_private_with_epsilon(
        module=layer,
        optimizer=torch.optim.Adam(layer.parameters(), lr=RATE),
        data_loader=DataLoader(_dense_rows(rows), batch_size=BATCH, collate_fn=lambda batch: batch),
        target_epsilon=epsilon,
        target_delta=delta,
        epochs=EPOCHS,
        max_grad_norm=CLIP,
    )
    for _ in range(EPOCHS):
        for features, labels in batches:
            if len(labels):
                optimiser.zero_grad()
                torch.nn.functional.cross_entropy(layer(features), labels).backward()
                optimiser.step()
    weight, bias = (parameter.detach().numpy().astype(np.float64) for parameter in layer.parameters())
    return weight, bias


def _dense_rows(rows: LabelledRows) -> Any:
    """The rows as torch takes them, made dense one batch at a time."""
    import torch
    from torch.utils.data import Dataset

    sparse = _sparse(rows)

    class Rows(Dataset[Any]):
        def __len__(self) -> int:
            return len(rows.labels)

        def __getitem__(self, row: int) -> Any:
            features, labels = self.__getitems__([row])
            return features[0], labels[0]

        def __getitems__(self, numbers: list[int]) -> Any:
            return torch.from_numpy(sparse[numbers].toarray()), torch.from_numpy(rows.labels[numbers])

    return Rows()


def _sparse(rows: LabelledRows) -> Any:
    assert isinstance(rows.features, Matrix)
    return rows.features.to_scipy()
