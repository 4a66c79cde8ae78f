"""The owner's directory: for its owner alone, and for one agent at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fedcore.owner.home import Home, HomeError
from fedcore.wire.keys import KeyFileError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "north")
    home.create()
    return home


def test_directories_are_for_their_owner_alone(home: Home) -> None:
    for directory in (home.path, home.keys, home.runs, home.spool, home.broker, home.log):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_keys_are_made_on_first_use_and_stay_the_same(home: Home) -> None:
    assert list(home.keys.iterdir()) == []
    card, split_key = home.card, home.split_key
    again = Home(home.path)
    assert (again.card, again.split_key) == (card, split_key)
    assert len(split_key) == 32
    assert {path.name: path.stat().st_mode & 0o777 for path in home.keys.iterdir()} == {
        "signing.key": 0o600,
        "sealing.key": 0o600,
        "split.key": 0o600,
    }


@pytest.mark.parametrize("name", ["signing_key", "sealing_key", "split_key"])
def test_a_key_that_others_may_read_is_refused(home: Home, name: str) -> None:
    getattr(home, name)
    path = home.keys / f"{name.removesuffix('_key')}.key"
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        getattr(Home(home.path), name)


def test_a_split_key_that_was_cut_is_refused_and_not_replaced(home: Home) -> None:
    home.split_key  # noqa: B018
    (home.keys / "split.key").write_bytes(b"short")
    with pytest.raises(KeyFileError, match="Restore it from a backup"):
        Home(home.path).split_key  # noqa: B018


def test_a_home_that_others_may_enter_is_refused(home: Home) -> None:
    home.path.chmod(0o750)
    for use in (home.check, home.create):
        with pytest.raises(HomeError, match=f"chmod 700 {home.path}"):
            use()


def test_a_home_that_was_not_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="fedcore-owner init"):
        Home(tmp_path / "nowhere").check()


@pytest.mark.parametrize("name", ["../keys", "", "a" * 63, "A" * 64, "a" * 64 + "\n", "/etc/passwd"])
def test_no_name_from_a_message_becomes_another_path(home: Home, name: str) -> None:
    for directory in (home.run_directory, home.spool_directory):
        with pytest.raises(ValueError, match="neither a digest nor the id"):
            directory(name)


def test_runs_and_orders_have_directories_of_their_own(home: Home) -> None:
    assert home.run_directory("a" * 64) == home.runs / ("a" * 64)
    assert home.spool_directory("b" * 32) == home.spool / ("b" * 32)


def test_one_home_has_one_agent(home: Home) -> None:
    with (
        home.only_agent(),
        pytest.raises(HomeError, match="one home has one agent"),
        Home(home.path).only_agent(),
    ):
        pytest.fail("two agents run on one home")
    with home.only_agent():
        pass


def test_the_lock_of_a_killed_agent_is_free(home: Home) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from fedcore.owner.home import Home;"
        "Home(Path(sys.argv[1])).only_agent().__enter__(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(home.path)], timeout=60, check=False)
    assert killed.returncode == -9
    with home.only_agent():
        pass
