"""The merged pseudonymised dataset of a run as a torch dataset, for any training loop of one's own.

Who can see what: the rows are pseudonyms hashed to columns, or positions in a vocabulary, with their labels.
They are pseudonymised, not encrypted: equality, frequency and co-occurrence of tokens are visible. Owners
give leave to download apart from leave to train, since what was handed over cannot be called back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedcore.client.session import Session
from fedcore.plugin_api.serialise import unpack_features
from fedcore.plugin_api.values import Matrix

if TYPE_CHECKING:
    import torch
    from torch.utils.data import Dataset


def download(
    session: Session, run: str, target: Path | str, classes: int = 2
) -> Dataset[tuple[torch.Tensor, torch.Tensor]]:
    """Fetch the dataset of a pooled run to `target` and open it.

    Raises `Refused` where an owner has not given leave to download.
    """
    return open_dataset(session.dataset(run, target), classes)


def open_dataset(path: Path | str, classes: int = 2) -> Dataset[tuple[torch.Tensor, torch.Tensor]]:
    """A map-style dataset of (features, label), for a `DataLoader` or an index of one's own.

    Features have shape (columns,): float32 for a matrix, int64 for a sequence, whose numbers are positions in
    the vocabulary. A label is int64 without shape. Raises `WireError` for a damaged file.
    """
    import torch
    from torch.utils.data import Dataset

    rows = unpack_features(Path(path).read_bytes(), classes)
    labels = torch.from_numpy(rows.labels)
    features = rows.features

    class DownloadedRows(Dataset[tuple[torch.Tensor, torch.Tensor]]):
        def __len__(self) -> int:
            return len(labels)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
            if not -len(labels) <= index < len(labels):
                raise IndexError(f"Row {index} of {len(labels)} rows.")
            return self.__getitems__([index % len(labels)])[0]

        def __getitems__(self, indices: list[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
            taken = features.take(np.asarray(indices, np.int64))
            values = taken.to_scipy().toarray() if isinstance(taken, Matrix) else taken.ids.astype(np.int64)
            return list(zip(torch.from_numpy(values), labels[indices], strict=True))

    return DownloadedRows()
