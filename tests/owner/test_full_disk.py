"""On a full or read-only disk nothing leaves, and when there is room again the host goes on: real file systems."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from fedcore.owner.confined import kernel
from fedcore.owner.journal import EntryKind, Journal, JournalError
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Status
from fedcore.wire.spec import Protocol
from tests.owner.cast import Cast
from tests.owner.playing import do

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts of one's own are Linux's")


def on_a_disk_of_its_own(folder: Path, mib: int, work: Callable[[Path], None]) -> None:
    """Do `work` in a process that has a small file system, in memory, mounted at `folder`."""
    folder.mkdir()
    uid, gid = os.getuid(), os.getgid()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS, "namespaces of its own")
            kernel.be_mapped(uid, gid)
            kernel.mount("disk", str(folder), "tmpfs", data=f"size={mib}m,mode=0700")
            work(folder)
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def fill(path: Path) -> None:
    """Write until there is no room left at all."""
    for size in (2**20, 2**12, 1):
        with path.open("ab", buffering=0) as file:
            try:
                while file.write(bytes(size)):
                    continue
            except OSError:
                continue


def test_an_entry_that_does_not_fit_is_an_error_and_the_chain_holds(tmp_path: Path) -> None:
    def work(disk: Path) -> None:
        with Journal(disk / "journal.sqlite") as journal:
            journal.append(EntryKind.EVENT, {"first": True})
            fill(disk / "ballast")
            with pytest.raises(JournalError, match=r"nothing may leave this host\. Make room"):
                journal.append(EntryKind.EVENT, {"text": "x" * 1_000_000})
            (disk / "ballast").unlink()
            count = journal.verify()
            journal.append(EntryKind.EVENT, {"last": True})
            assert journal.verify() == count + 1

    on_a_disk_of_its_own(tmp_path / "disk", 2, work)


def test_a_read_only_journal_is_an_error(tmp_path: Path) -> None:
    def work(disk: Path) -> None:
        Journal(disk / "journal.sqlite").close()
        kernel.make_read_only(str(disk))
        with pytest.raises(JournalError), Journal(disk / "journal.sqlite") as journal:
            journal.append(EntryKind.EVENT, {})

    on_a_disk_of_its_own(tmp_path / "disk", 2, work)


def test_nothing_leaves_from_a_full_disk_and_with_room_the_host_goes_on(
    tmp_path: Path, warmed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedcore.owner.agent._PAUSE_SECONDS", 0.01)

    def work(disk: Path) -> None:
        cast = Cast(disk).settle_in(["north", "south"], rows=120)
        agents = [owner.agent() for owner in cast.owners]
        plan = cast.spec(Protocol.LOCAL)
        do(plan, agents, Phase.CHECK)
        order = plan.order(Phase.TRAIN, cast.owners[0])
        before = len(cast.coordinator.every_report)
        fill(disk / "ballast")
        with suppress(
            OSError, sqlite3.OperationalError, JournalError
        ):  # It may not even be able to be claimed.
            agents[0].handle(order)
        assert len(cast.coordinator.every_report) == before
        assert not cast.coordinator.artefacts
        (disk / "ballast").unlink()
        agents[0].handle(order)
        assert cast.coordinator.report_on(order).status is Status.DONE
        assert agents[0].journal.verify() > 0

    on_a_disk_of_its_own(tmp_path / "disk", 16, work)


def test_no_agent_works_on_a_read_only_disk(tmp_path: Path, warmed: None) -> None:
    def work(disk: Path) -> None:
        cast = Cast(disk).settle_in(["north"], rows=20)
        cast.owners[0].agent().close()
        kernel.make_read_only(str(disk))
        with pytest.raises((OSError, sqlite3.OperationalError, JournalError)):
            cast.owners[0].agent()
        assert not cast.coordinator.every_report

    on_a_disk_of_its_own(tmp_path / "disk", 16, work)
