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
from tests.owner.cast import Cast, Owner, Plan
from tests.owner.scripted import Site

pytestmark = pytest.mark.processes


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
                    parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                    arguments[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
                except (FileNotFoundError, ProcessLookupError):
                    continue
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return {pid: arguments[pid] for pid in found}

    def worker_main(self) -> int:
        return min(pid for pid, text in self.descendants().items() if "fedcore.owner.worker" in text)

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
    plan, owner = cast.spec(Protocol.LOCAL), cast.owners[0]
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
    plan, owner = cast.spec(Protocol.LOCAL), cast.owners[0]
    ask(plan, owner, Phase.CHECK)
    ask(plan, owner, Phase.TRAIN)
    password = (owner.home.broker / "password").read_bytes().strip()
    processes = host.descendants()
    assert len(processes) >= 4
    for pid in processes:
        shown = (Path("/proc") / str(pid) / "cmdline").read_bytes() + (Path("/proc") / str(pid) / "environ").read_bytes()
        assert password not in shown
    assert host.stop() == 0
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), 10)
    for path in owner.home.log.iterdir():
        assert password not in path.read_bytes()


def test_killed_workers_cost_time_and_nothing_else(cast: Cast, host: Host) -> None:
    plan, owner = cast.spec(Protocol.LOCAL, training=Training(epochs=400, batch_size=8)), cast.owners[0]
    ask(plan, owner, Phase.CHECK)
    order = plan.order(Phase.TRAIN, owner)
    spool = owner.home.spool_directory(order.open(Order).id)
    claim = spool / "shard-0.claim"
    until(claim.exists)
    first = host.worker_main()
    os.kill(first, signal.SIGKILL)
    until(lambda: host.worker_main() != first)
    until(claim.exists)
    os.killpg(host.worker_main(), signal.SIGKILL)
    plan.cast.coordinator.wait_for([plan.order(Phase.CLOSE, owner)], 60)
    assert plan.cast.coordinator.report_on(order).status is Status.FAILED


def test_a_forked_process_that_is_killed_is_forked_again(cast: Cast, host: Host) -> None:
    plan, owner = cast.spec(Protocol.LOCAL, training=Training(epochs=20, batch_size=8)), cast.owners[0]
    ask(plan, owner, Phase.CHECK)
    order = plan.order(Phase.TRAIN, owner)
    before = set(host.descendants())
    until(lambda: set(host.descendants()) - before)
    for pid in set(host.descendants()) - before:
        os.kill(pid, signal.SIGKILL)
    report = cast.coordinator.wait_for([order], 120)[0]
    assert report.status is Status.DONE


def test_a_killed_agent_takes_its_worker_with_it_and_the_next_one_goes_on(cast: Cast, host: Host) -> None:
    plan, owner = cast.spec(Protocol.LOCAL, training=Training(epochs=60, batch_size=8)), cast.owners[0]
    ask(plan, owner, Phase.CHECK)
    order = plan.order(Phase.TRAIN, owner)
    until((owner.home.spool_directory(order.open(Order).id) / "shard-0.claim").exists)
    worker = host.worker_main()
    host.process.kill()
    host.process.wait()
    until(lambda: not _runs(worker), 30)
    host.process = Host.start(owner).process
    report = cast.coordinator.wait_for([order], 120)[0]
    assert report.status is Status.DONE
    with sqlite3.connect(owner.home.state_path) as database:
        assert database.execute("SELECT count(*) FROM orders WHERE report IS NULL").fetchone() == (0,)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
