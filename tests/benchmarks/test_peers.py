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
    """What pip was asked; it makes the folder, and fails for a package `nowhere`."""
    commands: list[list[str]] = []

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        Path(command[command.index("--target") + 1]).mkdir(parents=True)
        failed = any("nowhere" in word for word in command)
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
