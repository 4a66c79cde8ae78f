"""Work runs in a process of its own: limits hold, a kill is noticed, and nothing of the worker is inherited."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from fedcore.owner.confined import kernel
from fedcore.owner.confined.reach import host_code, sparing
from fedcore.owner.isolation import Limits, Reach, WorkFailed, WorkLost, refusal_of, run_isolated
from fedcore.plugin_api.models import TrainingDiverged
from fedcore.plugin_api.readers import UnreadableDataset
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError

PLENTY = Limits(memory_mb=512, seconds=30)


def test_work_runs_in_another_process_and_leaves_its_files(tmp_path: Path) -> None:
    run_isolated(lambda: (tmp_path / "pid").write_text(str(os.getpid())) and None, PLENTY)
    assert int((tmp_path / "pid").read_text()) != os.getpid()


def test_an_error_becomes_a_code_and_its_text_stays(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise UnreadableDataset("line 7 of good.txt")

    with pytest.raises(WorkFailed) as failure:
        run_isolated(work, PLENTY)
    assert failure.value.code is RefusalCode.DATASET_UNREADABLE
    assert "line 7" not in str(failure.value)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WireError(RefusalCode.STATE_MISMATCH, ""), RefusalCode.STATE_MISMATCH),
        (TrainingDiverged("step 3"), RefusalCode.NOT_FINITE),
        (MemoryError(), RefusalCode.RESOURCE_LIMIT),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), RefusalCode.RESOURCE_LIMIT),
        (OSError(errno.ENOSPC, "full"), RefusalCode.STORAGE_FAILED),
        (ZeroDivisionError(), RefusalCode.STEP_FAILED),
        (SystemExit(0), RefusalCode.STEP_FAILED),
    ],
)
def test_every_error_has_a_code(error: BaseException, code: RefusalCode) -> None:
    def work() -> None:
        raise error

    with pytest.raises(WorkFailed) as failure:
        run_isolated(work, PLENTY)
    assert failure.value.code is refusal_of(error) is code


def test_a_killed_process_is_lost_and_not_failed() -> None:
    with pytest.raises(WorkLost):
        run_isolated(lambda: os.kill(os.getpid(), signal.SIGKILL), PLENTY)


def test_a_kill_from_outside_is_noticed_at_once(tmp_path: Path) -> None:
    def work() -> None:
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(60)

    def kill() -> None:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    started = time.monotonic()
    with pytest.raises(WorkLost):
        run_isolated(work, PLENTY)
    killer.join()
    assert time.monotonic() - started < 20


def test_too_much_memory_is_a_resource_limit() -> None:
    with pytest.raises(WorkFailed) as failure:
        run_isolated(lambda: bytearray(1024**3) and None, Limits(memory_mb=256, seconds=30))
    assert failure.value.code is RefusalCode.RESOURCE_LIMIT


def test_too_much_time_is_a_resource_limit_even_asleep() -> None:
    with pytest.raises(WorkFailed) as failure:
        run_isolated(lambda: time.sleep(60), Limits(memory_mb=256, seconds=1))
    assert failure.value.code is RefusalCode.RESOURCE_LIMIT


def test_the_heart_beats_while_the_work_goes_on() -> None:
    beats: list[float] = []
    run_isolated(lambda: time.sleep(1.5), PLENTY, lambda: beats.append(time.monotonic()))
    assert beats


def test_open_sockets_of_the_worker_are_not_inherited() -> None:
    ours, theirs = socket.socketpair()

    def work() -> None:
        os.write(theirs.fileno(), b"x")

    with pytest.raises(WorkFailed):
        run_isolated(work, PLENTY)
    ours.setblocking(False)
    with pytest.raises(BlockingIOError):
        ours.recv(1)


@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")
def test_the_network_is_out_of_reach() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        try:
            socket.create_connection(listener_address, timeout=2)
        except OSError:
            return
        raise WireError(RefusalCode.CONFLICT, "the network was reached")

    listener_address = listener.getsockname()
    run_isolated(work, PLENTY)
    listener.settimeout(0.2)
    with pytest.raises(TimeoutError):
        listener.accept()
    socket.create_connection(listener_address, timeout=2).close()
    assert listener.accept(), "from this process it can be reached"
    listener.close()


def test_what_the_work_has_started_ends_with_it(tmp_path: Path) -> None:
    def work() -> None:
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        (tmp_path / "child").write_text(str(child))

    run_isolated(work, PLENTY)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(kernel.landlock_version() < 1, reason="the kernel has no Landlock")
def test_work_opens_what_it_names_and_nothing_else_of_the_host(tmp_path: Path) -> None:
    home = tmp_path / "home"
    spool = home / "spool" / "order"
    spool.mkdir(parents=True)
    given = [home / "good.txt", home / "keys" / "split.key", home / "runs" / "run" / "run.key"]
    hidden = [home / "keys" / "signing.key", home / "journal.sqlite", home / "owner.toml", home / "other.txt"]
    for path in (*given, *hidden):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    reach = Reach((*host_code(home), *given), (spool,))

    def work() -> None:
        import fractions  # noqa: F401  (what is imported late is in reach)

        assert [path.read_text() for path in given] == ["x"] * len(given)
        (spool / "result").write_text("done")
        for path in hidden:
            with pytest.raises(PermissionError):
                path.read_text()
        for path in (*given, home / "new"):
            with pytest.raises(PermissionError):
                path.write_text("y")
        with pytest.raises(PermissionError):
            socket.socket()

    run_isolated(work, PLENTY, reach=reach)
    assert (spool / "result").read_text() == "done"
    run_isolated(lambda: hidden[0].read_text() and None, PLENTY)


def test_a_folder_of_python_that_holds_the_home_is_shown_without_it(tmp_path: Path) -> None:
    for name in ("library/package", "library/inner/home/keys", "library/inner/other"):
        (tmp_path / name).mkdir(parents=True)
    shown = sparing(
        [tmp_path / "library", tmp_path / "library/inner/home/keys"], tmp_path / "library/inner/home"
    )
    assert shown == [tmp_path / "library/inner/other", tmp_path / "library/package"]
