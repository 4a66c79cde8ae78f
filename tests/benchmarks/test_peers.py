"""Peers that a benchmark installs for itself: apart from all else, and named where they cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.benchmark import PeerAbsent


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What venv and pip were asked; they make the folder, and pip fails for a package `nowhere`."""
    commands: list[list[str]] = []

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if "--target" in command:
            Path(command[command.index("--target") + 1]).mkdir(parents=True)
        elif "venv" in command:
            Path(command[-1]).mkdir(parents=True, exist_ok="--clear" in command)
        failed = any(word.startswith("nowhere") for word in command)
        return subprocess.CompletedProcess(command, int(failed), "", "Collecting\nNo matching distribution\n")

    monkeypatch.setattr(peers, "PEERS", tmp_path)
    monkeypatch.setattr(peers.subprocess, "run", pip)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return commands


def test_a_peer_is_installed_once_and_takes_the_place_of_nothing(
    asked: list[list[str]], tmp_path: Path
) -> None:
    for _ in range(2):
        peers.with_peer(["rival==1.0", "its_part==2.0"])
    assert len(asked) == 1
    assert asked[0][-2:] == ["rival==1.0", "its_part==2.0"]
    assert "--no-deps" in asked[0]
    assert sys.path.count(str(tmp_path / "rival-1.0+its_part-2.0")) == 1
    assert sys.path[-1] == str(tmp_path / "rival-1.0+its_part-2.0")


def test_a_peer_that_cannot_be_had_is_named_with_the_reason(asked: list[list[str]], tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(
            PeerAbsent, match=r"nowhere==1\.0 cannot be installed \(No matching distribution\)"
        ):
            peers.with_peer(["nowhere==1.0"])
        for folder in tmp_path.iterdir():
            folder.rmdir()
    assert len(asked) == 2, "it is tried again"


def test_an_environment_of_a_peer_is_made_once_with_just_what_is_named(
    asked: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (peers.peer_python(["rival==1.0", "its_part==2.0"]) for _ in range(2))
    assert first == second
    making, installing = asked
    assert making[:4] == [sys.executable, "-m", "venv", "--clear"]
    assert installing[0] == f"{making[4]}/bin/python"
    assert installing[-2:] == ["rival==1.0", "its_part==2.0"]
    assert "--no-deps" in installing
    assert first.parents[2] == tmp_path
    assert first.parents[1].is_dir()
    assert capsys.readouterr().out.count("making an environment for rival==1.0") == 1


def test_other_requirements_have_another_environment(asked: list[list[str]]) -> None:
    assert peers.peer_python(["rival==1.0", "part==2.0"]) != peers.peer_python(["rival==1.0", "part==2.1"])
    assert len(asked) == 4


def test_an_environment_that_cannot_be_made_is_named_with_the_reason_and_tried_again(
    asked: list[list[str]],
) -> None:
    for _ in range(2):
        with pytest.raises(PeerAbsent, match=r"nowhere==1\.0 cannot be installed .*; allow pip to reach"):
            peers.peer_python(["nowhere==1.0"])
    assert len(asked) == 4
