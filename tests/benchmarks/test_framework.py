"""How benchmarks are found, judged and reported; no benchmark of the product runs here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from benchmarks import __main__ as program
from benchmarks.benchmark import Benchmark, Comparison, Goal, PeerAbsent, best_seconds


class Example(Benchmark):
    name = "example"
    summary = "an example"
    goals: ClassVar = {"speed": Goal(10), "time": Goal(3, "s", at_least=False)}

    def __init__(self, *outcomes: float | Exception) -> None:
        self._outcomes = outcomes

    def measure(self) -> Iterator[Comparison]:
        for (name, goal), outcome in zip(self.goals.items(), self._outcomes, strict=False):
            if isinstance(outcome, Exception):
                raise outcome
            yield Comparison(name, {"ours": "2"}, outcome, goal)


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *outcomes: float | Exception) -> tuple[int, list[str]]:
    """The exit status, and the verdict of each row that was written."""
    monkeypatch.setattr(program, "discovered", lambda: {"example": Example(*outcomes)})
    monkeypatch.setattr(program, "RESULTS", folder / "results.json")
    status = program.main([])
    return status, [row["verdict"] for row in json.loads((folder / "results.json").read_text())["rows"]]


def test_goals_that_are_met_exit_0(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path, 10.0, 3.0) == (0, ["ok", "ok"])


def test_one_missed_goal_exits_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path, 9.99, 3.0) == (1, ["short", "ok"])
    assert run(monkeypatch, tmp_path, 10.0, 3.01) == (1, ["ok", "short"])


def test_a_value_that_is_no_number_is_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path, float("nan"), float("-inf")) == (1, ["short", "short"])


def test_an_absent_peer_is_short_and_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, 12.0, PeerAbsent("install the peer")) == (1, ["ok", "short"])
    assert "time | reason peer absent: install the peer | none | ≤ 3 s | SHORT" in capsys.readouterr().out


def test_a_benchmark_that_fails_is_short_and_shows_its_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, RuntimeError("broken")) == (1, ["short", "short"])
    captured = capsys.readouterr()
    assert "reason failed: broken" in captured.out
    assert "RuntimeError: broken" in captured.err


def test_a_comparison_that_is_never_made_is_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path, 12.0) == (1, ["ok", "short"])


def test_an_unknown_name_exits_2_with_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["no-such"]) == 2
    assert "There is no benchmark no-such. There are: " in capsys.readouterr().err


def test_the_benchmarks_of_the_package_are_found() -> None:
    assert "preprocess" in program.discovered()


def test_contestants_take_turns() -> None:
    turns: list[str] = []
    seconds = best_seconds([lambda: turns.append("a"), lambda: turns.append("b")], repeats=2)
    assert turns == ["a", "b", "a", "b"]
    assert len(seconds) == 2
