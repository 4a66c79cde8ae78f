"""An owner scores lines of its own with what a run has left; what cannot be scored is told plainly."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fedcore.owner.agent import Agent
from fedcore.owner.confined.calling import PluginStopped
from fedcore.owner.datasets import DatasetProblem
from fedcore.owner.home import HomeError
from fedcore.owner.journal import EntryKind, Journal
from fedcore.owner.orders import OrderStore
from fedcore.owner.prediction import predict
from fedcore.owner.sweeping import GRACE_SECONDS, delete_what_is_over
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase
from fedcore.wire.spec import Protocol
from tests.owner.cast import PLAIN, RANKED, Cast, Plan, attack_lines, benign_lines
from tests.owner.playing import do


@pytest.fixture
def cast(tmp_path: Path, warmed: None) -> Cast:
    return Cast(tmp_path).settle_in(["north"], rows=300)


@pytest.fixture
def finished(cast: Cast, agents: list[Agent]) -> Plan:
    plan = cast.spec(Protocol.LOCAL, pipeline=RANKED, backend=PLAIN)
    for phase in (Phase.CHECK, Phase.TRAIN, Phase.EVALUATE):
        do(plan, agents, phase)
    do(plan, agents, Phase.CLOSE, keep=True)
    return plan


def test_attacks_in_an_own_log_are_found(cast: Cast, finished: Plan, tmp_path: Path) -> None:
    log, out = tmp_path / "new.log", tmp_path / "scores.csv"
    log.write_text(benign_lines(100, seed=9) + attack_lines(50, seed=9))
    assert predict(cast.owners[0].home, finished.run, log, out) == 150
    rows = list(csv.DictReader(out.read_text().splitlines()))
    right = sum(row["class"] == ("benign" if number < 100 else "attack") for number, row in enumerate(rows))
    assert right > 140
    assert all(0.5 <= float(row["probability"]) <= 1 for row in rows)
    assert rows[0]["line"] == log.read_text().splitlines()[0]
    assert out.stat().st_mode & 0o077 == 0


def test_predictions_are_journalled_and_leave_no_files(cast: Cast, finished: Plan, tmp_path: Path) -> None:
    home, log = cast.owners[0].home, tmp_path / "new.log"
    log.write_text("/index\n")
    predict(home, finished.run[:8], log, tmp_path / "scores.csv")
    with Journal(home.journal_path) as journal:
        last = list(journal.entries())[-1]
    assert last.kind == EntryKind.PREDICTION
    assert str(log) in last.content
    assert not any((home.path / "predictions").iterdir())


def test_scores_go_to_the_screen_without_a_file(
    cast: Cast, finished: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "new.log"
    log.write_text("/index\n/cart\n")
    assert predict(cast.owners[0].home, finished.run, log) == 2
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize("run", ["", "ffff", "00" * 32])
def test_a_run_that_is_not_here_is_told(cast: Cast, finished: Plan, tmp_path: Path, run: str) -> None:
    with pytest.raises(HomeError, match="runs here begin with"):
        predict(cast.owners[0].home, run, tmp_path / "new.log")


def test_a_missing_log_is_told_by_name(cast: Cast, finished: Plan, tmp_path: Path) -> None:
    with pytest.raises(HomeError, match=r"missing\.log"):
        predict(cast.owners[0].home, finished.run, tmp_path / "missing.log")


@pytest.mark.parametrize("file", ["new.log", "good.txt"])
def test_a_reader_that_was_stopped_and_a_dataset_that_is_gone_are_told_plainly(
    cast: Cast, finished: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    def stopped(*_: object) -> None:
        if file == "new.log":
            raise PluginStopped(RefusalCode.RESOURCE_LIMIT, "Plugin readers/x took longer than 2 seconds.")
        raise DatasetProblem("logs", RefusalCode.PLUGIN_MISSING, "took longer than ever")

    place = "plugins.readers.labelled_lines.LabelledLines.shards"
    monkeypatch.setattr(place if file == "new.log" else "fedcore.owner.datasets.Datasets.open", stopped)
    (tmp_path / file).write_text("/index\n")
    with pytest.raises(HomeError, match="took longer than"):
        predict(cast.owners[0].home, finished.run, tmp_path / file)


def test_a_run_without_a_model_is_told(cast: Cast, agents: list[Agent], tmp_path: Path) -> None:
    plan = cast.spec(Protocol.LOCAL, backend=PLAIN)
    do(plan, agents, Phase.CHECK)
    with pytest.raises(HomeError, match="has no model on this host"):
        predict(cast.owners[0].home, plan.run, tmp_path / "new.log")


def test_what_was_never_closed_goes_a_week_after_its_deadline(cast: Cast, agents: list[Agent]) -> None:
    plan, home = cast.spec(Protocol.LOCAL, backend=PLAIN), cast.owners[0].home
    do(plan, agents, Phase.CHECK)
    (home.spool / ("ab" * 16)).mkdir()
    store = OrderStore(home.state_path)
    delete_what_is_over(home, store, plan.spec.deadline + GRACE_SECONDS - 1)
    assert home.run_directory(plan.run).exists()
    assert not any(home.spool.iterdir())
    delete_what_is_over(home, store, plan.spec.deadline + GRACE_SECONDS + 1)
    assert not home.run_directory(plan.run).exists()
    store.close()


def test_the_model_of_a_finished_run_is_never_swept_away(cast: Cast, finished: Plan) -> None:
    home = cast.owners[0].home
    store = OrderStore(home.state_path)
    delete_what_is_over(home, store, finished.spec.deadline + 10 * GRACE_SECONDS)
    store.close()
    assert (home.run_directory(finished.run) / "model.safetensors").exists()
