"""What peers of `shared` are given, and what the rows say of what they answer; no peer runs here."""

from __future__ import annotations

import ast
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from benchmarks import shared_peers
from benchmarks.benchmark import Goal, PeerAbsent
from benchmarks.shared import RATES, SCALES, training_for
from benchmarks.shared_peers import CRYPTEN, SPU, Peer, Taken, Task, against_peers, rate_of, row_of
from benchmarks.spu_peer import Batches
from fedcore.plugin_api import LabelledRows, Matrix
from fedcore.sharing.plan import Loss, plan_of

ROWS, COLUMNS, BATCH = 20, 4, 8
GOAL = Goal(5.0)
ANSWER = '{"input": 1.0, "training": 2.0, "weights": [0, 0, 0, 0, 0.5]}'


@pytest.fixture
def task() -> Task:
    """Two owners with 12 and 8 rows, and batches of 8: the last of an epoch has 12."""
    features = np.random.default_rng(1).uniform(-1, 1, (ROWS, COLUMNS))
    labels = np.arange(ROWS) % 2
    owners = [_rows(features[part], labels[part]) for part in (slice(0, 12), slice(12, None))]
    training = training_for(Loss.CROSS_ENTROPY, BATCH)
    plan = plan_of(training, SCALES, COLUMNS, [12, 8])
    return Task(owners, features, labels, plan, training, lambda weights: float(weights[-1]))


def _rows(features: NDArray[np.float64], labels: NDArray[np.int64]) -> LabelledRows:
    every = csr_matrix(np.ones_like(features))
    matrix = Matrix(every.indptr, every.indices, features.astype(np.float32).ravel(), COLUMNS)
    return LabelledRows(matrix, labels)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Peer]:
    """A peer that is a few lines of Python, run by this Python."""
    monkeypatch.setattr(shared_peers, "peer_python", lambda requirements: Path(sys.executable))

    def peer(source: str) -> Peer:
        (tmp_path / "rival.py").write_text(source)
        return Peer("Rival 1.0", tmp_path / "rival.py", ("rival==1.0",))

    return peer


def taken(weights: NDArray[np.float64], **seconds: list[float]) -> Taken:
    return Taken(dict(seconds), weights)


def test_a_peer_goes_through_the_rows_of_the_plan_s_batches_in_their_order(
    task: Task, tmp_path: Path
) -> None:
    shared_peers._write(task, tmp_path)
    batches = Batches.read(tmp_path)
    assert len(batches.features) == task.plan.batches == 4
    assert batches.of_epoch == 2
    for number, (features, labels) in enumerate(zip(batches.features, batches.labels, strict=True)):
        rows = task.plan.batch(number).rows
        np.testing.assert_allclose(features, task.features[rows], rtol=1e-6)
        np.testing.assert_array_equal(labels, task.labels[rows])


def test_batches_are_shared_out_by_names_of_their_own(task: Task, tmp_path: Path) -> None:
    shared_peers._write(task, tmp_path)
    batches = Batches.read(tmp_path)
    first = [name for name, _ in batches.named(slice(batches.of_epoch))]
    others = [name for name, _ in batches.named(slice(batches.of_epoch, None))]
    assert first == [f"{what} {number}" for number in range(2) for what in ("features", "labels")]
    assert others == [f"{what} {number}" for number in range(2, 4) for what in ("features", "labels")]


def test_the_difference_of_two_outputs_moves_at_twice_the_rate_of_the_run(task: Task) -> None:
    assert rate_of(task.training) == 2 * RATES[Loss.CROSS_ENTROPY]


def test_totals_are_sums_of_medians_and_the_value_says_how_many_times_ours_the_peer_takes(task: Task) -> None:
    ours = taken(np.full(5, 0.9), masking=[9.0, 1.0, 1.0], dealing=[2.0, 8.0, 2.0], online=[0.5, 1.0, 1.5])
    theirs = taken(np.full(5, 0.8), input=[4.0, 4.0, 4.0], training=[20.0, 16.0, 99.0])
    row = row_of("against", CRYPTEN, task, ours, theirs, GOAL)
    assert row.value == pytest.approx((4 + 20) / (1 + 2 + 1))
    assert row.ok
    assert row.figures["ours"] == "4.00 s"
    assert row.figures["CrypTen 0.4.1"] == "24.00 s"
    assert (row.figures["ROC AUC"], row.figures["its ROC AUC"]) == ("0.90000", "0.80000")
    assert row.figures["batches"] == "all 4"


def test_a_peer_is_told_folder_and_rate_and_answers_with_its_last_line(
    task: Task, script: Callable[[str], Peer]
) -> None:
    peer = script(
        "import sys\n"
        "assert sys.argv[2:] == ['--rate', '16.0'], sys.argv\n"
        "assert sys.flags.safe_path, 'modules beside the script would take the place of packages'\n"
        f"print('chatter')\nprint('{ANSWER}')\n"
    )
    (row,) = against_peers(task, {"against": peer}, {"against": GOAL})
    assert row.figures["Rival 1.0"] == "3.00 s"
    assert row.figures["its ROC AUC"] == "0.50000"
    assert row.details["theirs"] == {"input": [1.0] * 3, "training": [2.0] * 3}


def test_a_peer_that_fails_is_short_with_its_reason_and_the_next_one_is_measured(
    task: Task, script: Callable[[str], Peer], tmp_path: Path
) -> None:
    works = script(f"print('{ANSWER}')")
    (tmp_path / "broken.py").write_text("raise SystemExit('out of triples')")
    fails = Peer("Broken 1.0", tmp_path / "broken.py", ("broken==1.0",))
    rows = list(against_peers(task, {"a": fails, "b": works}, {"a": GOAL, "b": GOAL}))
    assert [row.value is None for row in rows] == [True, False]
    assert not rows[0].ok
    assert "peer absent: Broken 1.0 fails (out of triples); delete " in rows[0].figures["reason"]


def test_a_peer_that_cannot_be_installed_is_short_with_the_remedy(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(requirements: object) -> Path:
        raise PeerAbsent("no index; allow pip to reach it")

    monkeypatch.setattr(shared_peers, "peer_python", nowhere)
    (row,) = against_peers(task, {"against": SPU}, {"against": GOAL})
    assert not row.ok
    assert row.figures == {"reason": "peer absent: no index; allow pip to reach it"}


def test_a_peer_that_does_not_end_is_short_and_its_parties_end_with_it(
    task: Task, script: Callable[[str], Peer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shared_peers, "LONGEST", 2)
    peer = script(
        "import pathlib, subprocess, sys, time\n"
        "party = subprocess.Popen(['sleep', '60'])\n"
        f"pathlib.Path({str(tmp_path / 'party')!r}).write_text(str(party.pid))\n"
        "time.sleep(60)\n"
    )
    (row,) = against_peers(task, {"a": peer}, {"a": GOAL})
    assert not row.ok
    assert "did not end within 2 s" in row.figures["reason"]
    state = Path("/proc", (tmp_path / "party").read_text(), "stat")
    deadline = time.monotonic() + 10
    while state.exists() and state.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "a party is still there"
        time.sleep(0.05)


def test_only_a_peer_that_borrows_sees_packages_of_this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    site = str(Path(np.__file__).parents[1])
    assert "PYTHONPATH" not in shared_peers._environment(SPU.borrows)
    assert shared_peers._environment(CRYPTEN.borrows)["PYTHONPATH"] == site


@pytest.mark.parametrize("peer", [CRYPTEN, SPU], ids=lambda peer: peer.name)
def test_a_peer_s_requirements_are_exact_and_its_script_imports_nothing_of_ours(peer: Peer) -> None:
    assert all(requirement.count("==") == 1 for requirement in peer.requirements)
    tree = ast.parse(peer.script.read_text())
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    imported += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imported
    assert not [name for name in imported if name.split(".")[0] in ("fedcore", "plugins", "benchmarks")]
