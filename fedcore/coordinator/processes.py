"""The coordinator's processes on a small machine: broker, web, worker, started and stopped together."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, Self

from fedcore.broker import embedded
from fedcore.wire.relay import MAXIMUM_FRAME_BYTES

logger = logging.getLogger(__name__)

ENDS_ALLOWED: Final = 5
"""How often a process may end by itself within a minute before everything is stopped."""

_MINUTE: Final = 60.0
_LOOK_EVERY: Final = 0.2
_LOOK_AT_BROKER_EVERY: Final = 2.0
_STOP_SECONDS: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None)


@dataclass(frozen=True)
class Command:
    """A process to run: what people call it, and its arguments."""

    name: str
    arguments: Sequence[str]


def web(host: str, port: int) -> Command:
    """The web process: one, since it waits for many hosts without a thread each."""
    options = ["--host", host, "--port", str(port), "--log-level", "warning", "--no-server-header"]
    # Long polls are still open when it stops, and their hosts ask again.
    options += ["--timeout-graceful-shutdown", "2"]
    # What the relay carries is sealed, so it does not compress, and is never longer than this.
    options += ["--ws-per-message-deflate", "false", "--ws-max-size", str(MAXIMUM_FRAME_BYTES)]
    return Command("web", [sys.executable, "-m", "uvicorn", "project.asgi:application", *options])


def worker(concurrency: int, schedule: Path) -> Command:
    """The Celery worker, with the clock of the periodic sweep inside."""
    options = [
        "--concurrency",
        str(concurrency),
        "--loglevel",
        "WARNING",
        "--beat",
        "--schedule",
        str(schedule),
    ]
    return Command("worker", [sys.executable, "-m", "celery", "-A", "project", "--quiet", "worker", *options])


def run_broker(directory: Path) -> None:
    """Run the embedded broker of `directory` until Ctrl-C or SIGTERM. Raises `BrokerError`."""
    with _StopEvent() as stop, embedded(directory):
        stop.wait()


def run_together(commands: Sequence[Command], broker: Path | None, folder: Path) -> str | None:
    """Run all until Ctrl-C or SIGTERM, then stop them in order, the broker last.

    A process that ends by itself is started again: the database is the truth, so nothing is lost. One that ends
    `ENDS_ALLOWED` times within a minute stops everything; then its name is returned, else None. Raises
    `BrokerError`.
    """
    with _StopEvent() as stop, ExitStack() as stack:
        kept = stack.enter_context(_KeptBroker(broker)) if broker is not None else None
        running = [stack.enter_context(_Running(command, folder)) for command in commands]
        while not stop.wait(_LOOK_EVERY):
            if kept is not None:
                kept.look()
            for process in running:
                if process.look():
                    return process.command.name
    return None


class _KeptBroker:
    """The embedded broker, started again where somebody has killed it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._looked_at = 0.0

    def __enter__(self) -> Self:
        self._broker = embedded(self._directory)
        return self

    def __exit__(self, *exception: object) -> None:
        self._broker.stop()

    def look(self) -> None:
        if time.monotonic() - self._looked_at < _LOOK_AT_BROKER_EVERY:
            return
        self._looked_at = time.monotonic()
        if not self._broker.is_alive():
            logger.warning("The broker does not answer: it is started again.")
            self._broker.stop()
            self._broker = embedded(self._directory)


class _Running:
    """One process, in a session of its own: Ctrl-C reaches the parent alone, which then stops it in order."""

    def __init__(self, command: Command, folder: Path) -> None:
        self.command = command
        self._folder = folder
        self._ends: list[float] = []

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill_group()
            self._process.wait()

    def look(self) -> bool:
        """Start the process again where it has ended; whether it ended too often for that."""
        if self._process.poll() is None:
            return False
        self._kill_group()
        now = time.monotonic()
        self._ends = [*(end for end in self._ends if now - end < _MINUTE), now]
        logger.warning("The %s process ended with status %s.", self.command.name, self._process.returncode)
        if len(self._ends) >= ENDS_ALLOWED:
            return True
        self._start()
        return False

    def _start(self) -> None:
        self._process = subprocess.Popen(
            list(self.command.arguments),
            cwd=self._folder,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )

    def _kill_group(self) -> None:
        """End what a killed process left behind, such as the pool of a Celery worker."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent is gone, so that killing it leaves nothing behind."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class _StopEvent:
    """An event that SIGINT and SIGTERM set; the former reactions return at the end."""

    def __enter__(self) -> threading.Event:
        event = threading.Event()

        def react(number: int, frame: FrameType | None) -> None:
            event.set()

        self._former = {number: signal.signal(number, react) for number in (signal.SIGINT, signal.SIGTERM)}
        return event

    def __exit__(self, *exception: object) -> None:
        for number, reaction in self._former.items():
            signal.signal(number, reaction)
