"""A host as it runs: agent, broker and worker processes. They share work, survive kills, and stop together."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedcore.owner.orders import OrderStore
from fedcore.wire.orders import Order, Phase
from fedcore.wire.reports import Report, Status
from fedcore.wire.spec import Protocol, Training
from tests.owner.cast import PLAIN, Cast, Owner, Plan
from tests.owner.scripted import Site

pytestmark = pytest.mark.processes

LONG = Training(epochs=6, batch_size=8)
"""A training that takes some seconds: long enough to kill what does it."""


@dataclass
class Host:
    """One owner's host as processes."""

    owner: Owner
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, owner: Owner) -> Host:
        environment = {name: value for name, value in os.environ.items() if name != "BROKER_URL"}
        command = [sys.executable, "-m", "fedcore.owner.cli", "run", "--home", str(owner.home.path)]
        return cls(owner, subprocess.Popen(command, env=environment, start_new_session=True))

    def descendants(self) -> dict[int, str]:
        """The processes that this host has started, with their arguments."""
        parents: dict[int, int] = {}
        arguments: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = _parent_of(int(entry.name))
                    arguments[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
                except (FileNotFoundError, ProcessLookupError):
                    continue
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return {pid: arguments[pid] for pid in found}

    def worker_main(self) -> int | None:
        """The worker's first process, which the agent has started."""
        return next(
            (
                pid
                for pid, text in self.descendants().items()
                if "fedcore.owner.worker" in text and _parent_of(pid) == self.process.pid
            ),
            None,
        )

    def forked(self) -> list[int]:
        """The processes that do the work: forked by the worker's processes, which its first process has forked."""
        main, pids = self.worker_main(), self.descendants()
        pool = {pid for pid in pids if _parent_of(pid) == main}
        return [pid for pid in pids if _parent_of(pid) in pool]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


@pytest.fixture
def cast(tmp_path: Path) -> Iterator[Cast]:
    cast = Cast(tmp_path)
    site = Site(cast.coordinator)
    cast.url = site.url
    yield cast.settle_in(["north"], rows=6000)
    site.close()


@pytest.fixture
def host(cast: Cast) -> Iterator[Host]:
    host = Host.start(cast.owners[0])
    yield host
    if host.process.poll() is None:
        host.stop()


def until(holds: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.02)


def ask(plan: Plan, owner: Owner, phase: Phase) -> Report:
    return plan.cast.coordinator.wait_for([plan.order(phase, owner)], 120)[0]


def test_two_worker_processes_share_the_work_of_one_dataset(cast: Cast, host: Host) -> None:
    plan, owner = cast.spec(Protocol.LOCAL, backend=PLAIN), cast.owners[0]
    for phase in (Phase.CHECK, Phase.TRAIN, Phase.EVALUATE):
        report = ask(plan, owner, phase)
        assert (report.status, report.code) == (Status.DONE, None)
    store = OrderStore(owner.home.state_path)
    shares = store.shares(report.order)
    store.close()
    assert len(shares) >= 2
    assert len({share.worker for share in shares}) == 2
    assert cast.coordinator.announcements.keys() == {owner.key}


def test_no_secret_is_in_any_process_or_log_and_one_signal_stops_everything(cast: Cast, host: Host) -> None:
    plan, owner = cast.spec(Protocol.LOCAL, backend=PLAIN), cast.owners[0]
    ask(plan, owner, Phase.CHECK)
    ask(plan, owner, Phase.TRAIN)
    password = (owner.home.broker / "password").read_bytes().strip()
    processes = host.descendants()
    assert len(processes) >= 4
    for pid in processes:
        for shown in ("cmdline", "environ"):
            assert password not in (Path("/proc") / str(pid) / shown).read_bytes()
    assert host.stop() == 0
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), 10)
    for path in owner.home.log.iterdir():
        assert password not in path.read_bytes()


def test_a_killed_worker_is_started_again_and_its_work_is_done(cast: Cast, host: Host) -> None:
    plan, owner = cast.spec(Protocol.LOCAL, backend=PLAIN, training=LONG), cast.owners[0]
    ask(plan, owner, Phase.CHECK)
    order = plan.order(Phase.TRAIN, owner)
    until((owner.home.spool_directory(order.open(Order).id) / "shard-0.claim").exists)
    worker = host.worker_main()
    assert worker is not None
    os.killpg(worker, signal.SIGKILL)
    assert cast.coordinator.wait_for([order], 120)[0].status is Status.DONE
    assert host.worker_main() not in (None, worker)


def test_a_forked_process_that_is_killed_is_forked_again(cast: Cast, host: Host) -> None:
    plan, owner = cast.spec(Protocol.LOCAL, backend=PLAIN, training=LONG), cast.owners[0]
    ask(plan, owner, Phase.CHECK)
    order = plan.order(Phase.TRAIN, owner)
    until(lambda: host.forked())
    for pid in host.forked():
        os.kill(pid, signal.SIGKILL)
    report = cast.coordinator.wait_for([order], 120)[0]
    assert report.status is Status.DONE


def test_a_killed_agent_takes_its_worker_with_it_and_the_next_one_goes_on(cast: Cast, host: Host) -> None:
    plan, owner = cast.spec(Protocol.LOCAL, backend=PLAIN, training=LONG), cast.owners[0]
    ask(plan, owner, Phase.CHECK)
    order = plan.order(Phase.TRAIN, owner)
    until((owner.home.spool_directory(order.open(Order).id) / "shard-0.claim").exists)
    worker = host.worker_main()
    assert worker is not None
    host.process.kill()
    host.process.wait()
    until(lambda: not _runs(worker), 30)
    host.process = Host.start(owner).process
    report = cast.coordinator.wait_for([order], 120)[0]
    assert report.status is Status.DONE
    with sqlite3.connect(owner.home.state_path) as database:
        assert database.execute("SELECT count(*) FROM orders WHERE report IS NULL").fetchone() == (0,)


def _runs(pid: int) -> bool:
    return _status_of(pid)[0] not in ("Z", "gone")


def _parent_of(pid: int) -> int:
    return int(_status_of(pid)[1])


def _status_of(pid: int) -> list[str]:
    """State and parent of a process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["gone", "0"]
