"""A peer of `shared`, run by a Python of its own: logistic regression in SPU, two processes and a loopback connection.

`python spu_peer.py FOLDER --rate R` reads, from the folder, `features.npy` (rows, columns), `labels.npy` (rows),
`order.npy` (epochs, rows: the numbers of the rows in order) and `starts.npy` (where in an epoch each batch begins). The
last line it prints is JSON: seconds of input sharing, of training and of both, and the weights with the bias last.

The protocol is semi2k over 64 bits with SPU's own sigmoid; the first party makes the triples, within the training. In
SPU's favour the clock leaves out what SPU compiles, and counts the sharing of the first epoch's batches alone: the
other epochs have the same rows in another order.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np

PARTIES: Final = 2
FRACTION_BITS: Final = 18
WEIGHTS: Final = ("weights", "bias")


@dataclass(frozen=True)
class Batches:
    """The batches of all epochs, and how many of them are the first epoch's."""

    features: Sequence[Any]
    labels: Sequence[Any]
    of_epoch: int

    @classmethod
    def read(cls, folder: Path) -> Batches:
        features, labels, order, starts = (
            np.load(folder / f"{name}.npy") for name in ("features", "labels", "order", "starts")
        )
        rows = [part for epoch in order for part in np.split(epoch, starts[1:])]
        return cls([features[each] for each in rows], [labels[each] for each in rows], len(starts))

    def named(self, epochs: slice) -> Iterator[tuple[str, Any]]:
        """The values of some batches, each with the name that both parties know it by."""
        for number in range(len(self.features))[epochs]:
            yield f"features {number}", self.features[number]
            yield f"labels {number}", self.labels[number]


def main() -> None:
    arguments = _arguments()
    batches = Batches.read(arguments.folder)
    shapes = {features.shape for features in batches.features}
    steps = {rows: _step(rows, columns, arguments.rate / rows) for rows, columns in shapes}
    sizes = [len(labels) for labels in batches.labels]
    context = multiprocessing.get_context("spawn")
    addresses = [f"127.0.0.1:{port}" for port in _free_ports()]
    pipes = [context.Pipe() for _ in range(PARTIES)]
    parties = [
        context.Process(target=_party, args=(rank, addresses, steps, sizes, far_end), daemon=True)
        for rank, (_, far_end) in enumerate(pipes)
    ]
    for party, (_, far_end) in zip(parties, pipes, strict=True):
        party.start()
        far_end.close()
    result = _measured(batches, [end for end, _ in pipes])
    for party in parties:
        party.join()
    print(json.dumps(result))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rate", type=float, required=True)
    return parser.parse_args()


def _measured(batches: Batches, ends: Sequence[Connection]) -> dict[str, Any]:
    from spu import Io

    io = Io(PARTIES, _config())
    columns = batches.features[0].shape[1]
    zeros = zip(WEIGHTS, (np.zeros(columns, np.float32), np.zeros((), np.float32)), strict=True)
    _answers(ends)
    started = time.perf_counter()
    _share_out(io, ends, [*batches.named(slice(batches.of_epoch)), *zeros])
    _answers(ends)
    shared = time.perf_counter()
    _share_out(io, ends, batches.named(slice(batches.of_epoch, None)))
    _answers(ends)
    training = time.perf_counter()
    answers = _answers(ends)
    trained = time.perf_counter()
    for end in ends:
        end.send("received")
    weights, bias = (io.reconstruct([_share(*answer[place]) for answer in answers]) for place in (0, 1))
    seconds = {"input": shared - started, "training": trained - training}
    return seconds | {"total": sum(seconds.values()), "weights": [*weights.tolist(), float(bias)]}


def _share_out(io: Any, ends: Sequence[Connection], values: Any) -> None:
    """Shares of each value to each party, and then word that this was all."""
    from spu import Visibility

    for name, value in values:
        for end, share in zip(ends, io.make_shares(value, Visibility.VIS_SECRET), strict=True):
            end.send((name, share.meta, list(share.share_chunks)))
    for end in ends:
        end.send(None)


def _answers(ends: Sequence[Connection]) -> list[Any]:
    """The next word of each party. Raises `EOFError` for one that has failed."""
    return [end.recv() for end in ends]


def _step(rows: int, columns: int, rate: float) -> bytes:
    """One batch, compiled: its features and labels, weights and bias, to new weights and bias."""
    import jax
    import jax.numpy as jnp
    from spu import Visibility
    from spu.utils import frontend

    def step(features: Any, labels: Any, weights: Any, bias: Any) -> Any:
        error = jax.nn.sigmoid(features @ weights + bias) - labels
        return weights - rate * (features.T @ error), bias - rate * error.sum()

    shapes = ((rows, columns), (rows,), (columns,), ())
    executable, _ = frontend.compile(
        frontend.Kind.JAX,
        step,
        [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes],
        {},
        ["features", "labels", *WEIGHTS],
        [Visibility.VIS_SECRET] * len(shapes),
        lambda _: list(WEIGHTS),
    )
    return bytes(executable.code)


def _party(
    rank: int, addresses: Sequence[str], steps: dict[int, bytes], sizes: Sequence[int], end: Connection
) -> None:
    from spu import Executable, Runtime, libspu

    description = libspu.link.Desc()
    for number, address in enumerate(addresses):
        description.add_party(str(number), address)
    runtime = Runtime(libspu.link.create_brpc(description, rank), _config())
    batches = [
        Executable("step", [f"features {number}", f"labels {number}", *WEIGHTS], list(WEIGHTS), steps[size])
        for number, size in enumerate(sizes)
    ]
    end.send("ready")
    for _ in range(2):
        while (given := end.recv()) is not None:
            runtime.set_var(given[0], _share(*given[1:]))
        end.send("shared")
    for batch in batches:
        runtime.run(batch)
    end.send([(share.meta, list(share.share_chunks)) for share in map(runtime.get_var, WEIGHTS)])
    end.recv()  # Leaving earlier would break the other party's connection.


def _config() -> Any:
    from spu import FieldType, ProtocolKind, RuntimeConfig

    return RuntimeConfig(ProtocolKind.SEMI2K, FieldType.FM64, FRACTION_BITS)


def _share(meta: bytes, chunks: Sequence[bytes]) -> Any:
    from spu import libspu

    share = libspu.Share()
    share.meta, share.share_chunks = meta, chunks
    return share


def _free_ports() -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(PARTIES)]
    ports = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


if __name__ == "__main__":
    main()
