"""A peer of `shared`, run by a Python of its own: logistic regression in CrypTen, two processes and a loopback
connection.

`python crypten_peer.py FOLDER --rate R` reads, from the folder, `features.npy` (rows, columns), `labels.npy` (rows),
`order.npy` (epochs, rows: the numbers of the rows in order) and `starts.npy` (where in an epoch each batch begins). The
last line it prints is JSON: seconds of input sharing, of training and of both, and the weights with the bias last.

Everything is as CrypTen has it when nothing is set: 16 bits of fraction, its own sigmoid, and triples that the first
party makes, within the training. Its converter of ONNX models, which training does not touch, is for older versions
of torch: an empty module stands in for it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import types
from pathlib import Path
from typing import Any, Final

import numpy as np

PARTIES: Final = 2


def main() -> None:
    arguments = _arguments()
    _stand_in("crypten.nn.onnx_converter", "from_onnx", "from_pytorch", "from_tensorflow", "TF_AND_TF2ONNX")
    from crypten.mpc import run_multiprocess

    results = run_multiprocess(world_size=PARTIES)(_party)(arguments.folder, arguments.rate)
    if results is None:
        sys.exit("A party of CrypTen failed.")
    first, second = results
    slower = first if first["total"] > second["total"] else second
    print(json.dumps(slower))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rate", type=float, required=True)
    return parser.parse_args()


def _stand_in(name: str, *attributes: str) -> None:
    """A module that has these attributes, each of them `None`, in the place of one that cannot be imported."""
    module = types.ModuleType(name)
    for attribute in attributes:
        setattr(module, attribute, None)
    sys.modules[name] = module


def _party(folder: Path, rate: float) -> dict[str, Any]:
    import crypten
    import crypten.communicator
    import torch

    torch.set_num_threads(1)
    # The second party has nothing of its own: of what it passes, CrypTen reads the shape.
    features, labels = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("features", "labels"))
    order, starts = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("order", "starts"))
    crypten.communicator.get().barrier()
    started = time.perf_counter()
    features, labels = crypten.cryptensor(features, src=0), crypten.cryptensor(labels, src=0)
    weights, bias = (crypten.cryptensor(torch.zeros(size), src=0) for size in (features.shape[1], 1))
    shared = time.perf_counter()
    for epoch in order:
        for rows in epoch.tensor_split(starts[1:]):
            part = features[rows]
            error = (part.matmul(weights) + bias).sigmoid() - labels[rows]
            weights = weights - part.t().matmul(error) * (rate / len(rows))
            bias = bias - error.sum() * (rate / len(rows))
    trained = time.perf_counter()
    seconds = {"input": shared - started, "training": trained - shared, "total": trained - started}
    opened = crypten.cat([weights, bias]).get_plain_text()
    return seconds | {"weights": opened.tolist()}


if __name__ == "__main__":
    main()
