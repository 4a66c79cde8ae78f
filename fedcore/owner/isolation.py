"""Work in a process of its own: forked, limited in memory and time, without a network where the kernel allows.

Who can see what: the forked process has the rows and, for first-party protection, the run's key. It runs fedcore's
own code only. It inherits no open file or socket of the worker, cannot gain privileges, dies with the worker,
reaches nobody in its own network namespace, and opens no file of the host but its spool and what its work names
(Landlock), so not the signing key, the journal, the policy or another dataset. Where the kernel lacks one of
these, a warning says so and the work goes on; a third party's plugins, which get none of its keys, are in
processes of their own (`fedcore.owner.confined`).

The process ends with `os._exit`; its exit status names the refusal code, and nothing else comes back.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from fedcore.owner.confined import kernel, system_calls
from fedcore.owner.confined.calling import LAUNCHER, PluginStopped
from fedcore.plugin_api.models import TrainingDiverged
from fedcore.plugin_api.pipeline import InvalidPipeline
from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.plugin_api.readers import UnreadableDataset
from fedcore.plugin_api.registry import PluginError
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 1.0
FIRST_STATUS: Final = 64
"""Exit statuses from here on count the refusal codes in their order; 0 is success."""

_CODES: Final = tuple(RefusalCode)
_OPEN_FILES: Final = 512
_MOST_OPEN_FILES: Final = 65_536
_PR_SET_PDEATHSIG: Final = 1
_FULL_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
_libc: Final = ctypes.CDLL(None, use_errno=True)


class WorkFailed(Exception):
    """The work ended with this refusal code; the detail, but for `why`, is in the log of the process that did it."""

    def __init__(self, code: RefusalCode, why: str = "") -> None:
        super().__init__(f"{code}: {why}" if why else code.value)
        self.code = code


class WorkLost(Exception):
    """The process was killed from outside: the work may be done again."""


@dataclass(frozen=True)
class Limits:
    """What one piece of work may use: MiB of memory on top of the warmed worker, seconds by clock and of CPU."""

    memory_mb: int
    seconds: int


@dataclass(frozen=True)
class Reach:
    """Which files and folders one piece of work may read, and which it may also write."""

    readable: tuple[Path, ...]
    writable: tuple[Path, ...]


def run_isolated(
    work: Callable[[], None],
    limits: Limits,
    heartbeat: Callable[[], None] | None = None,
    reach: Reach | None = None,
) -> None:
    """Do `work` in a forked process and wait for it; `heartbeat` is called about once a second meanwhile.

    With `reach` no other file can be opened, as far as the kernel gives the means.
    The calling process must have no other threads that matter to the work (a prefork child, a command).
    Raises `WorkFailed` with the code that the work ended with, and `WorkLost` when it was killed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_the_worker(work, limits, reach, parent)
    timely = False
    try:
        timely = _watch(pid, limits.seconds, heartbeat)
    finally:
        status = _reap(pid)
    _raise_for(status, timely)


def refusal_of(error: BaseException) -> RefusalCode:
    """The code that may leave the host for an error inside the work. Anything unexpected is `step_failed`."""
    match error:
        case WireError() | WorkFailed() | PluginStopped():
            return error.code
        case UnreadableDataset():
            return RefusalCode.DATASET_UNREADABLE
        case InvalidOptions() | InvalidPipeline():
            return RefusalCode.INVALID_OPTIONS
        case PluginError():
            return RefusalCode.PLUGIN_MISSING
        case TrainingDiverged():
            return RefusalCode.NOT_FINITE
        case MemoryError():
            return RefusalCode.RESOURCE_LIMIT
        case RuntimeError() if "can't allocate memory" in str(error):
            # torch has no class of its own for memory that runs out on the CPU.
            return RefusalCode.RESOURCE_LIMIT
        case OSError() if error.errno in _FULL_DISK:
            return RefusalCode.STORAGE_FAILED
        case _:
            return RefusalCode.STEP_FAILED


def die_with_parent(parent: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process `how` when the process `parent` ends (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), how)


def leave_network() -> bool:
    """Move this process into a network namespace of its own, without any interface. False where that is denied."""
    if sys.platform != "linux":
        return False
    return any(
        _libc.unshare(flags) == 0
        for flags in (kernel.CLONE_NEWNET, kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET)
    )


def _be_the_worker(work: Callable[[], None], limits: Limits, reach: Reach | None, parent: int) -> NoReturn:
    status = FIRST_STATUS + _CODES.index(RefusalCode.INTERNAL)
    try:
        die_with_parent(parent)
        _confine(limits)
        if reach is not None:
            _stay_within(reach)
        work()
        status = 0
    except BaseException as error:
        code = refusal_of(error)
        status = FIRST_STATUS + _CODES.index(code)
        logger.error("Work ended with %s", code, exc_info=error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _confine(limits: Limits) -> None:
    os.setpgid(0, 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    _close_inherited(_log_files() | _launcher())
    if sys.platform == "linux":
        _libc.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if not leave_network():
        logger.warning(
            "The kernel gives no network namespace of its own: plugins here can reach the network."
        )
    kernel.limit(resource.RLIMIT_CORE, 0)
    kernel.limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    kernel.limit(resource.RLIMIT_CPU, limits.seconds, limits.seconds + 5)
    kernel.limit(resource.RLIMIT_AS, kernel.address_space() + limits.memory_mb * 1024 * 1024)


def _stay_within(reach: Reach) -> None:
    try:
        kernel.reach_only(reach.readable, reach.writable)
        system_calls.refuse_to_host_code()
    except kernel.NotGiven as error:
        logger.warning("The kernel does not give %s: work here can open files of the host.", error.args[1])


def _close_inherited(keep: set[int]) -> None:
    """Close everything but the standard streams and `keep`: above all the sockets to the broker."""
    first = 3
    for number in sorted(keep):
        os.closerange(first, number)
        first = max(first, number + 1)
    os.closerange(first, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], _MOST_OPEN_FILES))


def _log_files() -> set[int]:
    loggers = [logging.getLogger(), *(found for found in logging.Logger.manager.loggerDict.values())]
    handlers = {handler for found in loggers for handler in getattr(found, "handlers", ())}
    streams = (handler.stream for handler in handlers if isinstance(handler, logging.FileHandler))
    return {stream.fileno() for stream in streams if stream is not None}


def _launcher() -> set[int]:
    return set() if LAUNCHER.descriptor is None else {LAUNCHER.descriptor}


def _watch(pid: int, seconds: float, heartbeat: Callable[[], None] | None) -> bool:
    """Wait until the process has ended. False when it took longer than `seconds`."""
    deadline = time.monotonic() + seconds
    with _ending_of(pid) as ended:
        while (left := deadline - time.monotonic()) > 0:
            if ended(min(HEARTBEAT_SECONDS, left)):
                return True
            if heartbeat is not None:
                heartbeat()
    return False


@contextmanager
def _ending_of(pid: int) -> Iterator[Callable[[float], bool]]:
    """A function that waits up to some seconds for the end of a child, and tells whether it came."""
    if hasattr(os, "pidfd_open"):
        descriptor = os.pidfd_open(pid)
        try:
            yield lambda seconds: bool(select.select([descriptor], [], [], seconds)[0])
        finally:
            os.close(descriptor)
        return

    def polled(seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        return True

    yield polled


def _reap(pid: int) -> int:
    """The exit status of the process; it is killed if it still runs, with all that it has started."""
    _kill_group(pid)
    return os.waitpid(pid, 0)[1]


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue  # It has ended, or has not yet made its group.


def _raise_for(status: int, timely: bool) -> None:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if not timely or number == signal.SIGXCPU:
            raise WorkFailed(RefusalCode.RESOURCE_LIMIT)
        raise WorkLost(f"killed by signal {number}")
    left = os.WEXITSTATUS(status)
    if left == 0:
        return
    place = left - FIRST_STATUS
    if 0 <= place < len(_CODES):
        raise WorkFailed(_CODES[place])
    raise WorkLost(f"exit status {left}")
