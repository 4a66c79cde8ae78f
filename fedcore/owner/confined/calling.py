"""Calling plugins in confined processes: how the host starts them, what it sends, and what it makes of their end."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fedcore.owner.confined.frames import ERROR, Frame, PipeClosed, receive, send
from fedcore.owner.confined.layers import NAMES, SCRATCH
from fedcore.owner.confined.reach import SYSTEM_FILES, SYSTEM_LIBRARIES, package_folders, python_paths
from fedcore.plugin_api.models import TrainingDiverged
from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.plugin_api.readers import UnreadableDataset
from fedcore.plugin_api.registry import AllowedDistribution, PluginError, top_level_names
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError

LARGEST_ANSWER: Final = 2**30
"""Bytes of one answer of a confined process, at most; none is larger than the memory that the process may use."""

MOMENT_ANSWERS: Final[Mapping[str, int]] = {
    "start": 64 * 2**10,
    "describe": 2**20,
    "options": 2**20,
    "verdict": 64 * 2**10,
    "shards": 32 * 2**20,
    "read": 64 * 2**10,
    "mock": 16 * 2**20,
}
"""Bytes of an answer at most, by the call: those that the agent itself asks for, and that are small by their nature."""

_CODES: Final = frozenset(
    {RefusalCode.NOT_FINITE, RefusalCode.ARTEFACT_INVALID, RefusalCode.INVALID_OPTIONS}
    | {RefusalCode.DATASET_EMPTY, RefusalCode.DATASET_UNREADABLE, RefusalCode.STATE_MISMATCH}
)
"""The codes that a plugin may end an order with; any other becomes `step_failed`."""

_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "TZ")
_START: Final = """
import sys, json
sys.path[:] = json.loads(sys.argv[2])
from fedcore.owner.confined.launcher import main
main(int(sys.argv[1]))
"""


class PluginStopped(Exception):
    """A confined plugin was stopped, or could not be confined. `code` may leave the host; the text names the plugin."""

    def __init__(self, code: RefusalCode, text: str, missing: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.missing = missing


@dataclass(frozen=True)
class Terms:
    """On what terms third-party plugins run: MiB and seconds at most, files that stay hidden, and whether the
    kernel must give every layer of the confinement (`needed`)."""

    memory_mb: int
    seconds: int
    hidden: Path
    needed: bool = True
    layers: frozenset[str] = NAMES


class Launcher:
    """One launcher process, started when it is first needed, and again if it has died. Safe for several threads.

    A process that is forked after the start shares it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    @property
    def descriptor(self) -> int | None:
        """The open file by which this process asks; a forked process that asks must keep it."""
        return None if self._socket is None else self._socket.fileno()

    def start(self) -> None:
        """Start the process if it does not run."""
        with self._lock:
            if self._socket is None:
                self._socket = _started()

    def preload(self, libraries: Iterable[str]) -> None:
        """Have these libraries loaded before the next process is forked."""
        self._ask(json.dumps({"preload": sorted(libraries)}).encode(), [])

    def fork(self, distribution: str, data: int, leash: int) -> None:
        """Have a process for this distribution forked, which serves at the other ends of these."""
        self._ask(json.dumps({"distribution": distribution}).encode(), [data, leash])

    def stop(self) -> None:
        """Let the process end; confined processes end with it."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _ask(self, message: bytes, descriptors: list[int]) -> None:
        for _ in range(2):
            self.start()
            try:
                with self._lock:
                    assert self._socket is not None
                    socket.send_fds(self._socket, [message], descriptors)
                return
            except (BrokenPipeError, ConnectionResetError, ConnectionRefusedError):
                self.stop()
        raise PluginStopped(
            RefusalCode.WORKER_LOST, "The launcher of confined processes ends as soon as it starts."
        )


LAUNCHER: Final = Launcher()
"""The launcher of this process and of those that it forks."""


@dataclass
class Child:
    """One confined process with the plugins of one distribution. Not for several threads at once."""

    distribution: AllowedDistribution
    terms: Terms
    files: tuple[Path, ...] = ()
    _data: int = field(init=False)
    _leash: int = field(init=False)

    def __post_init__(self) -> None:
        ours, theirs = socket.socketpair()
        leash, held = socket.socketpair()
        with theirs, held:
            self._data, self._leash = ours.detach(), leash.detach()
            try:
                LAUNCHER.fork(self.distribution.name, theirs.fileno(), held.fileno())
            except BaseException:
                self.close()
                raise
        self._exchange(Frame("start", facts=self._order()), "its package")

    def call(self, asked: Frame, plugin: str) -> Frame:
        """The answer to a call. Raises what the plugin failed with, and `PluginStopped` where it was stopped."""
        return self._exchange(asked, plugin)

    def close(self) -> None:
        """End the process, if it has not ended."""
        for descriptor in (self._data, self._leash):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._data = self._leash = -1

    def _exchange(self, asked: Frame, plugin: str) -> Frame:
        subject = f"Plugin {plugin} of distribution {self.distribution.name}"
        try:
            send(self._data, asked)
            answer = receive(self._data, self._most(asked.call))
        except PipeClosed:
            raise self._ended(subject) from None
        except (WireError, ValueError) as error:
            self.close()
            raise PluginStopped(
                RefusalCode.PLUGIN_CONFINED, f"{subject} broke the form of answers: {error}"
            ) from None
        if answer.call == ERROR:
            raise _error_of(subject, plugin, answer.facts)
        return answer

    def _most(self, call: str) -> int:
        return min(MOMENT_ANSWERS.get(call, LARGEST_ANSWER), self.terms.memory_mb * 2**20)

    def _ended(self, subject: str) -> PluginStopped:
        said = b""
        while part := os.read(self._leash, 4096):
            said += part
        self.close()
        outcome = json.loads(said) if said else {"code": RefusalCode.WORKER_LOST, "why": "was lost"}
        text = f"{subject} {printable(outcome['why'])}."
        return PluginStopped(RefusalCode(outcome["code"]), text, "missing" in outcome)

    def _order(self) -> dict[str, Any]:
        return {
            "distribution": {
                "name": self.distribution.name,
                "version": self.distribution.version,
                "digest": self.distribution.digest,
            },
            "readable": [str(path) for path in (*readable_by(self.distribution, self.terms), *self.files)],
            "memory_mb": self.terms.memory_mb,
            "seconds": self.terms.seconds,
            "needed": self.terms.needed,
            "layers": sorted(self.terms.layers),
        }


def readable_by(distribution: AllowedDistribution, terms: Terms) -> list[Path]:
    """What a process with this distribution's plugins can read: Python, its libraries, and the distribution.

    Raises `PluginStopped` where the host's own directory lies in there.
    """
    own = [Path(folder) for folder in package_folders(top_level_names(distribution.name))]
    found = [*map(Path, (*SYSTEM_LIBRARIES, *SYSTEM_FILES)), *python_paths(), *own]
    hidden = os.path.realpath(terms.hidden)
    for path in found:
        if Path(hidden).is_relative_to(os.path.realpath(path)):
            raise PluginStopped(
                RefusalCode.PLUGIN_CONFINED,
                f"Distribution {distribution.name} cannot be confined: the host's directory {hidden} lies in {path}, "
                "where Python looks for packages. Move it to another place.",
                missing=True,
            )
    return [path for path in found if os.path.exists(path)]


@contextmanager
def calling(distribution: AllowedDistribution, terms: Terms, files: tuple[Path, ...] = ()) -> Iterator[Child]:
    """A confined process for as long as the block lasts."""
    child = Child(distribution, terms, files)
    try:
        yield child
    finally:
        child.close()


def printable(text: str) -> str:
    """The text without control characters but line breaks: it goes to logs, and comes from nobody that is trusted."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def _error_of(subject: str, plugin: str, facts: Any) -> Exception:
    said: Mapping[str, Any] = facts if isinstance(facts, dict) else {}
    text = f"{subject}: {printable(str(said.get('text', ''))[:4000])}"
    match said.get("kind"):
        case "options":
            problems = said.get("problems")
            told = problems.items() if isinstance(problems, dict) else [("options", text)]
            return InvalidOptions(
                plugin, {printable(str(option)): printable(str(problem)) for option, problem in told}
            )
        case "unreadable":
            return UnreadableDataset(text)
        case "plugin":
            return PluginError(text)
        case "diverged":
            return TrainingDiverged(text)
        case "memory":
            return PluginStopped(RefusalCode.RESOURCE_LIMIT, f"{subject} needs more memory than it may use.")
        case "wire" if said.get("code") in _CODES:
            return WireError(RefusalCode(said["code"]), text)
        case _:
            return PluginStopped(RefusalCode.STEP_FAILED, text)


def _started() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path = [entry or os.getcwd() for entry in sys.path]
    command = [sys.executable, "-I", "-c", _START, str(theirs.fileno()), json.dumps(path)]
    with theirs:
        subprocess.Popen(
            command,
            env=_clean_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    return ours


def _clean_environment() -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    one_thread = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
    )
    scratch = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"), SCRATCH)
    return passed_on | one_thread | scratch | {"FEDCORE_CONFINED": "1"}
