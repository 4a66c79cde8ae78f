"""Organisations share no directory, key, broker or process, and work is done by workers alone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis.exceptions import AuthenticationError

from examples.demo.checks import check_separation
from examples.demo.errors import DemoError
from examples.demo.organisations import Organisation
from fedcore.broker import broker_url
from fedcore.owner.celery_app import make_app
from fedcore.owner.home import Home
from tests.faults.conftest import Running
from tests.faults.federation import Federation, broker_at, pids_below

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("federation")]


def test_no_two_organisations_share_a_directory_a_key_or_a_broker(running: Running) -> None:
    assert "4 brokers" in check_separation(running.federation.cast)


@pytest.mark.parametrize("name", ["signing.key", "sealing.key", "split.key"])
def test_a_key_that_two_hosts_share_is_noticed(running: Running, name: str) -> None:
    north, south = running.federation.cast.owners
    copied = in_place(north.home / "keys" / name, south.home / "keys" / f"copy-of-{name}")
    with copied, pytest.raises(DemoError, match="share the key"):
        check_separation(running.federation.cast)


def test_a_directory_that_others_may_enter_is_noticed(running: Running) -> None:
    north = running.federation.north.directory
    north.chmod(0o750)
    try:
        with pytest.raises(DemoError, match="open to others"):
            check_separation(running.federation.cast)
    finally:
        north.chmod(0o700)


def test_a_file_that_two_organisations_hold_open_is_noticed(running: Running) -> None:
    federation = running.federation
    north, south = federation.cast.owners
    environment = south.environment()
    command = ["tail", "-f", str(north.home / "owner.toml")]
    process = federation.processes.start("tail", south.name, command, environment, south.log / "tail.log")
    try:
        federation.until("the file is open", lambda: holds(process.popen.pid, north.home / "owner.toml"), 20)
        with pytest.raises(DemoError, match="holds"):
            check_separation(federation.cast)
    finally:
        federation.kill(process)


def test_each_broker_knows_only_its_own_password(running: Running) -> None:
    brokers = {name: home / "broker" for name, home in homes(running.federation).items()}
    assert len({broker_url(directory) for directory in brokers.values()}) == len(brokers)
    for name, directory in brokers.items():
        for other, stranger in brokers.items():
            password = (stranger / "password").read_text()
            connection = broker_at(directory, password)
            if other == name:
                assert connection.ping()
            else:
                with pytest.raises(AuthenticationError):
                    connection.ping()


def test_everything_that_an_organisation_keeps_is_for_its_own_user_alone(running: Running) -> None:
    for home in homes(running.federation).values():
        for path in (home, home / "keys", home / "broker"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
        for path in [*home.rglob("*.key"), home / "broker" / "password"]:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_tasks_are_never_run_where_they_are_asked_for(running: Running) -> None:
    from project.celery import app as coordinator_app

    apps = [coordinator_app, *(make_app(Home(host.home).broker) for host in running.federation.cast.hosts)]
    for app in apps:
        assert app.conf.task_always_eager is False
    for pid in pids_below(running.federation.root):
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"ALWAYS_EAGER" not in environment


def test_two_worker_processes_of_one_owner_share_the_work_of_one_dataset(running: Running) -> None:
    federation = running.federation
    agent = federation.hosts[federation.north.name].popen.pid
    for _ in range(5):
        run = running.submit(running.pooled)
        assert federation.finish(run)["state"] == "finished"
        shares = shares_of(federation.north, run, "prepare")
        assert len(shares) >= 2
        assert all(rows > 0 for _, rows in shares)
        assert agent not in {worker for worker, _ in shares}
        if len({worker for worker, _ in shares}) >= 2:
            return
    raise AssertionError(f"one process did everything: {shares}")


def test_without_a_worker_nothing_is_computed(running: Running) -> None:
    federation = running.federation
    with federation.held("fedcore.owner.worker", federation.cast.owners):
        run = running.submit(running.pooled)
        federation.until(
            "the run waits", lambda: federation.session("sam").run(run)["phase"] == "prepare", 60
        )
        for owner in federation.cast.owners:
            assert shares_of(owner, run, "prepare") == []
    assert federation.finish(run)["state"] == "finished"


@contextmanager
def in_place(source: Path, target: Path) -> Iterator[None]:
    shutil.copy(source, target)
    try:
        yield
    finally:
        target.unlink()


def holds(pid: int, path: Path) -> bool:
    return any(Path(os.readlink(link)) == path for link in Path(f"/proc/{pid}/fd").iterdir())


def homes(federation: Federation) -> dict[str, Path]:
    return {some.name: some.home for some in (federation.cast.operator, *federation.cast.hosts)}


def shares_of(owner: Organisation, run: str, phase: str) -> list[tuple[int, int]]:
    """Which worker process did how many rows of a phase of a run."""
    database = sqlite3.connect(f"file:{owner.home / 'state.sqlite'}?mode=ro", uri=True)
    query = "SELECT worker, rows FROM shares_of_work JOIN orders ON id = order_id WHERE run = ? AND phase = ?"
    found = database.execute(query, (run, phase)).fetchall()
    database.close()
    return found
