"""The peers of `shared`: the same logistic regression in CrypTen and in SPU, each in an environment of its own.

Totals stand against totals. Ours is masking all rows, dealing and the training; theirs is sharing the rows and the
training, within which one of their two parties makes what our dealer deals. Ours is without sending the masked rows
and what is dealt, which a whole run has (the size is a figure); theirs is over loopback. The order of rows and batches
and the learning rate are the same, so that all come to the same weights but for rounding.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.benchmark import Comparison, Goal, PeerAbsent, median
from benchmarks.peers import peer_python
from benchmarks.shared_parties import dealt, trained
from fedcore.plugin_api import LabelledRows
from fedcore.plugin_api.batches import rows_of_batch
from fedcore.sharing.plan import SharedPlan
from fedcore.wire.spec import Training

HERE: Final = Path(__file__).parent
TURNS: Final = 3
LONGEST: Final = 600
"""Seconds after which a peer's run counts as failed."""


@dataclass(frozen=True)
class Peer:
    """A script that trains as told, and the exact requirements of its environment. With `borrows` it takes torch and
    what else it lacks from this environment."""

    name: str
    script: Path
    requirements: tuple[str, ...]
    borrows: bool = False


@dataclass(frozen=True)
class Task:
    """What all of them train: the owners' rows, the same rows one after the other, and how a model is scored."""

    owners: Sequence[LabelledRows]
    features: NDArray[np.float64]
    labels: NDArray[np.int64]
    plan: SharedPlan
    training: Training
    auc_of: Callable[[NDArray[np.float64]], float]


@dataclass
class Taken:
    """Seconds of each phase, a value for each turn, and the last turn's weights, the bias last."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    dealt_bytes: int = 0

    def add(self, seconds: Mapping[str, float], weights: NDArray[np.float64]) -> None:
        for phase, value in seconds.items():
            self.seconds.setdefault(phase, []).append(value)
        self.weights = weights

    @property
    def total(self) -> float:
        """The sum of the phases' medians."""
        return sum(median(values) for values in self.seconds.values())

    def figures(self) -> dict[str, str]:
        return {phase: f"{median(values):.2f} s" for phase, values in self.seconds.items()}


CRYPTEN: Final = Peer(
    "CrypTen 0.4.1",
    HERE / "crypten_peer.py",
    ("crypten==0.4.1", "omegaconf==2.3.0", "antlr4-python3-runtime==4.9.3"),
    borrows=True,
)
SPU: Final = Peer(
    "SPU 0.9.5",
    HERE / "spu_peer.py",
    (
        "spu==0.9.5",
        "jax==0.4.34",
        "jaxlib==0.4.34",
        "numpy==1.26.4",
        "scipy==1.17.1",
        "ml_dtypes==0.5.4",
        "opt_einsum==3.4.0",
        "cachetools==8.0.2",
        "cloudpickle==3.1.3",
        "dill==0.4.1",
        "multiprocess==0.70.19",
        "termcolor==3.3.0",
    ),
)


def against_peers(task: Task, peers: Mapping[str, Peer], goals: Mapping[str, Goal]) -> Iterator[Comparison]:
    """A row for each peer, by the row's name: how many times as long as ours its run takes.

    They and we take turns. The row of a peer that cannot be had, or fails, says why and is short.
    """
    with tempfile.TemporaryDirectory(prefix="fedcore-bench-") as folder:
        _write(task, Path(folder))
        for name, peer in peers.items():
            try:
                yield _compared(name, peer, task, Path(folder), goals[name])
            except PeerAbsent as absent:
                yield Comparison(name, {"reason": f"peer absent: {absent}"}, None, goals[name])


def _compared(name: str, peer: Peer, task: Task, folder: Path, goal: Goal) -> Comparison:
    python = peer_python(peer.requirements)
    ours, theirs = Taken(), Taken()
    for _ in range(TURNS):
        _add_ours(ours, task)
        answer = _answer(peer, python, task, folder)
        theirs.add({phase: answer[phase] for phase in ("input", "training")}, np.array(answer["weights"]))
    return row_of(name, peer, task, ours, theirs, goal)


def row_of(name: str, peer: Peer, task: Task, ours: Taken, theirs: Taken, goal: Goal) -> Comparison:
    """The row of one peer, from what was measured."""
    figures = {
        "ours": f"{ours.total:.2f} s",
        **ours.figures(),
        "dealt": f"{ours.dealt_bytes / 1e6:.0f} MB",
        "ROC AUC": f"{task.auc_of(ours.weights):.5f}",
        peer.name: f"{theirs.total:.2f} s",
        **theirs.figures(),
        "its ROC AUC": f"{task.auc_of(theirs.weights):.5f}",
        "rows": f"{len(task.labels):,}",
        "batches": f"all {task.plan.batches}",
    }
    details = {"ours": ours.seconds, "theirs": theirs.seconds}
    return Comparison(name, figures, theirs.total / ours.total, goal, details)


def _add_ours(ours: Taken, task: Task) -> None:
    given = dealt(task.plan, task.owners)
    result = trained(given)
    seconds = {"masking": given.masking, "dealing": given.dealing, "online": result.seconds}
    ours.add(seconds, result.weights)
    ours.dealt_bytes = given.bytes_of_dealer


def _answer(peer: Peer, python: Path, task: Task, folder: Path) -> dict[str, Any]:
    """What the script prints last. Raises `PeerAbsent` with the last line of its errors."""
    command = [str(python), "-P", str(peer.script), str(folder)]
    command += ["--rate", str(rate_of(task.training))]
    try:
        status, output, errors = _outcome(command, _environment(peer.borrows))
    except subprocess.TimeoutExpired:
        raise PeerAbsent(f"{peer.name} did not end within {LONGEST} s; run it on a faster machine") from None
    if status:
        last = (errors.strip().splitlines() or ["no reason given"])[-1]
        raise PeerAbsent(f"{peer.name} fails ({last}); delete {python.parents[1]}, and it is made anew")
    return dict(json.loads(output.strip().splitlines()[-1]))


def _outcome(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Exit status, output and errors of a process. Its parties are processes too: none outlives it."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=LONGEST)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output, errors


def rate_of(training: Training) -> float:
    """The learning rate of the difference of the two outputs, which moves twice as fast as each."""
    rate: Any = training.optimiser.options["lr"]
    return 2 * float(rate)


def _environment(borrows: bool) -> dict[str, str]:
    """This process's variables, with one thread for each party, and this environment's packages or none of them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    borrowed = {"PYTHONPATH": sysconfig.get_path("purelib")} if borrows else {}
    return kept | borrowed | {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}


def _write(task: Task, folder: Path) -> None:
    plan = task.plan
    rows = np.concatenate([plan.batch(number).rows for number in range(plan.batches)])
    np.save(folder / "features.npy", task.features.astype(np.float32))
    np.save(folder / "labels.npy", task.labels.astype(np.float32))
    np.save(folder / "order.npy", rows.reshape(plan.epochs, plan.total))
    starts = [
        rows_of_batch(number, plan.total, plan.batch_size).start for number in range(plan.batches_of_epoch)
    ]
    np.save(folder / "starts.npy", np.array(starts, np.int64))
