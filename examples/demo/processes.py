"""Processes of the demonstration: started in groups of their own, watched, and stopped whatever happens."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from examples.demo.errors import DemoError
from examples.demo.settings import ROOT

STOP_SECONDS: Final = 20.0
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Process:
    """A running process, the organisation that it belongs to, and where its output goes: the log, from a place on."""

    name: str
    organisation: str
    popen: subprocess.Popen[bytes]
    log: Path
    begin: int

    @property
    def ended(self) -> bool:
        return self.popen.poll() is not None

    def poll(self, seconds: float) -> int | None:
        """The status of a process that ends within so many seconds, else None."""
        with suppress(subprocess.TimeoutExpired):
            return self.popen.wait(seconds)
        return None


@dataclass
class Processes:
    """All processes of a demonstration whose organisations live in `root`. Leaving the context stops them."""

    root: Path
    running: list[Process] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(
        self,
        name: str,
        organisation: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        show: bool = False,
    ) -> Process:
        """Start a process. Its output goes to `log`, or with `show` to this terminal."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            begin = output.tell()
            popen = subprocess.Popen(
                list(command),
                env=dict(environment),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=None if show else output,
                stderr=None if show else output,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        process = Process(name, organisation, popen, log, begin)
        self.running.append(process)
        return process

    def run(
        self, name: str, organisation: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> str:
        """Run a command to its end and return its output. Raises `DemoError` with its last lines if it fails."""
        return self.finish(self.start(name, organisation, command, environment, log))

    def finish(self, process: Process) -> str:
        """Wait for the end of a command, and return its output. Raises `DemoError` as `run` does."""
        status = process.popen.wait()
        self.running.remove(process)
        if status:
            raise failed(process)
        return process.log.read_bytes()[process.begin :].decode(errors="replace")

    def attend(self, process: Process) -> int:
        """Wait until a process ends, and return its status. Raises `DemoError` if another ends meanwhile."""
        while (status := process.poll(0.2)) is None:
            self.check(but=process)
        self.running.remove(process)
        return status

    def wait_until(self, what: str, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until `ready()`. Raises `DemoError` when a process has ended, or after so many seconds."""
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                logs = "\n".join(
                    f"--- {process.name}\n{last_lines(process.log, 12)}" for process in self.running
                )
                raise DemoError(
                    f"{what}: not within {seconds:.0f} seconds.",
                    "If this machine is busy, try again; else look at the processes' logs.",
                    logs,
                )
            time.sleep(0.2)

    def check(self, but: Process | None = None) -> None:
        """Raise `DemoError` if a process that should be running has ended. `but`: one that may end."""
        for process in self.running:
            if process is not but and process.ended:
                raise failed(process)

    def stop(self) -> None:
        """Stop all processes and those that they started: first politely, after some seconds for good."""
        # From here on a second Ctrl-C must not leave the rest behind.
        before = [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)]
        deadline = time.monotonic() + STOP_SECONDS
        for process in self.running:
            _signal(process, signal.SIGTERM)
        for process in self.running:
            with suppress(subprocess.TimeoutExpired):
                process.popen.wait(max(0.1, deadline - time.monotonic()))
            _signal(process, signal.SIGKILL)
            process.popen.wait()
        self.running.clear()
        self._kill_the_rest()
        for number, reaction in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, reaction)

    def _kill_the_rest(self) -> None:
        """Kill what left its process group, and wait until it is gone."""
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and (left := list(processes_at_home_in(self.root))):
            for found in left:
                with suppress(ProcessLookupError):
                    os.kill(found.pid, signal.SIGKILL)
            time.sleep(0.05)


@dataclass(frozen=True)
class Found:
    """A process of this machine: its number, the HOME in its environment, and the files that it holds open."""

    pid: int
    home: Path
    held: list[Path]


def processes_at_home_in(root: Path) -> Iterator[Found]:
    """The processes of this user whose HOME lies in `root`: those of a demonstration, and all that they started."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = folder.joinpath("environ").read_bytes().split(b"\0")
            home = next(
                (Path(os.fsdecode(item[5:])) for item in environment if item.startswith(b"HOME=")), None
            )
        except OSError:
            continue  # It has ended meanwhile, or belongs to somebody else.
        if home is not None and home.is_relative_to(root):
            yield Found(int(folder.name), home, list(_held_by(folder)))


def _held_by(process: Path) -> Iterator[Path]:
    """The files that a process holds open; one that it closes while they are listed is left out."""
    with suppress(OSError):
        for link in process.joinpath("fd").iterdir():
            with suppress(OSError):
                yield link.readlink()


def program(name: str) -> str:
    """The path of a command that was installed with fedcore. Raises `DemoError` if it is missing."""
    found = Path(sys.executable).with_name(name)
    if not found.exists():
        raise DemoError(f"The command {name} is not installed.", "Run `pip install -r requirements.txt`.")
    return str(found)


def failed(process: Process) -> DemoError:
    """The error for a process that has ended when it should not have."""
    return DemoError(
        f"The process “{process.name}” of {process.organisation} ended with status {process.popen.returncode}.",
        f"Its whole log is in {process.log}.",
        last_lines(process.log),
    )


def last_lines(log: Path, count: int = 25) -> str:
    """The last lines of a log."""
    with log.open(errors="replace") as file:
        return "".join(deque(file, count)).rstrip()


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def _signal(process: Process, number: signal.Signals) -> None:
    try:
        os.killpg(process.popen.pid, number)
    except ProcessLookupError:
        return


def _die_with_parent() -> None:
    """In the child: be stopped by the kernel when the demonstration ends, even if it is killed."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
