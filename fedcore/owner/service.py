"""`fedcore-owner run`: broker, worker and agent of one small host, started together and stopped together.

Who can see what: the worker gets its home by an environment variable and reads the broker's password from its
file; no secret is in an argument or variable of any process. With `BROKER_URL` set no broker is started.
Whatever ends, also by `kill -9`, the others do not stay behind: the worker ends with the agent, a dead worker
is started again, and a broker that stayed is taken over by the next start.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from types import FrameType
from typing import Final, Self

from fedcore.broker import embedded
from fedcore.owner.agent import Agent
from fedcore.owner.celery_app import CeleryBell, make_app
from fedcore.owner.console import visible
from fedcore.owner.coordinator_api import CoordinatorApi
from fedcore.owner.home import Home

logger = logging.getLogger(__name__)

STOP_SECONDS: Final = 2.0
_CHECK_SECONDS: Final = 0.25
_BROKER_CHECK_SECONDS: Final = 2.0
_FIRST_BACKOFF: Final = 0.5
_LONGEST_BACKOFF: Final = 30.0
_STEADY_SECONDS: Final = 60.0
_PASSED_ON: Final = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "BROKER_URL",
)


def run(home: Home) -> None:
    """Run the host until SIGINT or SIGTERM. Everything that was started has stopped when this returns.

    Raises `HomeError` if another agent runs on this home, `ConfigError` and `BrokerError`.
    """
    home.create()
    policy = home.load_config()
    stopping = threading.Event()
    with home.only_agent(), _log_of(home), _stopped_by_signals(stopping), Broker(home) as broker:
        worker = WorkerProcess(home, policy.worker.processes)
        api = CoordinatorApi(policy.coordinator.url, home.signing_key, stopping)
        agent = Agent(home, api, CeleryBell(make_app(home.broker), home.spool), stopping)
        working = threading.Thread(target=_run_agent, args=(agent, stopping), name="agent")
        try:
            worker.start()
            working.start()
            logger.info("Host %s is up.", home.card.fingerprint)
            while not stopping.wait(_CHECK_SECONDS):
                worker.check()
                broker.check()
        finally:
            stopping.set()
            api.close()
            worker.stop()
            if working.ident is not None:
                working.join()


class Broker:
    """The embedded broker, started again when it dies. With `BROKER_URL` there is none to look after."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._broker = embedded(home.broker)
        self._checked_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._broker.stop()

    def check(self) -> None:
        """Start the broker again if it does not answer; what it had queued is on the disk, or is rung for again."""
        due = time.monotonic() - self._checked_at > _BROKER_CHECK_SECONDS
        if not due or os.environ.get("BROKER_URL"):
            return
        self._checked_at = time.monotonic()
        if not self._broker.is_alive():
            logger.error("The broker does not answer; starting it again.")
            self._broker.stop()
            self._broker = embedded(self._home.broker)


class WorkerProcess:
    """The host's Celery worker as a process of its own, started again when it dies."""

    def __init__(self, home: Home, processes: int) -> None:
        self._home = home
        self._processes = processes
        self._process: subprocess.Popen[bytes] | None = None
        self._backoff = _FIRST_BACKOFF
        self._started_at = 0.0
        self._not_before = 0.0

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        log = os.open(
            self._home.log / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        try:
            self._process = subprocess.Popen(
                _worker_command(self._processes),
                env=_worker_environment(self._home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the agent, which stops the worker in its turn.
            )
        finally:
            os.close(log)
        self._started_at = time.monotonic()

    def check(self) -> None:
        """Start the worker again if it has died, each time after a longer pause if it dies soon."""
        if self._process is None or self._process.poll() is None:
            return
        now = time.monotonic()
        if not self._not_before:
            steady = now - self._started_at > _STEADY_SECONDS
            self._backoff = _FIRST_BACKOFF if steady else min(_LONGEST_BACKOFF, 2 * self._backoff)
            self._not_before = now + self._backoff
            logger.error(
                "The worker ended with status %s; starting it again. See %s.",
                self._process.returncode,
                self._home.log / "worker.log",
            )
        if now >= self._not_before:
            self._kill_group(signal.SIGKILL)
            self._not_before = 0.0
            self.start()

    def stop(self) -> None:
        """End the worker and all its processes."""
        if self._process is None:
            return
        # One SIGTERM waits for tasks under way; SIGQUIT gives them up, and the next agent has them done again.
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            logger.info("The worker is slow to stop and is killed; what it was at is done again.")
        self._kill_group(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def _kill_group(self, how: signal.Signals) -> None:
        if self._process is not None:
            try:
                os.killpg(self._process.pid, how)
            except (ProcessLookupError, PermissionError):
                return  # Nothing of it is left.


def _worker_command(processes: int) -> list[str]:
    return [
        *(sys.executable, "-m", "celery", "--app", "fedcore.owner.worker", "worker"),
        *("--concurrency", str(processes), "--loglevel", "INFO"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]


def _worker_environment(home: Home) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        **passed_on,
        "FEDCORE_OWNER_HOME": str(home.path),
        "FEDCORE_OWNER_AGENT": str(os.getpid()),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
    }


def _run_agent(agent: Agent, stopping: threading.Event) -> None:
    try:
        agent.run()
    except Exception:
        logger.exception("The agent failed, so the host stops")
    finally:
        stopping.set()


@contextmanager
def _stopped_by_signals(stopping: threading.Event) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handling in former.items():
            signal.signal(number, handling)


class PlainFormatter(logging.Formatter):
    """Messages may hold what others wrote: nothing in them moves the cursor or looks like an entry of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return "\n    ".join(visible(line) for line in super().formatMessage(record).split("\n"))


@contextmanager
def _log_of(home: Home) -> Iterator[None]:
    """The agent's own log: to the screen, and to a file that only this user can read."""
    path = home.log / "agent.log"
    path.touch(mode=0o600)
    handlers: list[logging.Handler] = [
        logging.StreamHandler(),
        RotatingFileHandler(path, maxBytes=16 * 1024 * 1024, backupCount=3),
    ]
    root = logging.getLogger()
    for handler in handlers:
        handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
