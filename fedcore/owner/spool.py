"""The spool: where agent and workers meet. One directory for each order, all files of mode 0600.

For task N of an order there are `shard-N.safetensors` (the payload) and `shard-N.json` (the facts, written
last: where they are, the task is done), `shard-N.claim` (a worker is at it; touched about once a second),
`shard-N.refused` (a code: the work will not succeed), `shard-N.why` (a reason for the host's own journal) and
`shard-N.lost` (the process was killed: do it again). Every file is written to a temporary name, synced and renamed,
so a reader never sees half of one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from fedcore.owner.description import Finished, Work
from fedcore.wire.codes import RefusalCode
from fedcore.wire.keys import SECRET_FILE_MODE

STALE_SECONDS: Final = 5.0
"""A claim that was not touched for so long belongs to a worker that is gone."""

_BLOCK: Final = 1024 * 1024
_LONGEST_REASON: Final = 1000


@dataclass(frozen=True)
class Progress:
    """What the spool says of an order's tasks, by number."""

    finished: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    claimed: frozenset[int] = frozenset()
    stale: frozenset[int] = frozenset()


class OrderSpool:
    """The directory of one order."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def work_path(self) -> Path:
        return self.directory / "work.json"

    @property
    def artefacts(self) -> Path:
        """Where the bytes lie that the order's report names, each under its digest."""
        return self.directory / "artefacts"

    @property
    def inputs(self) -> Path:
        """Where bytes lie that the workers read and that belong to this order alone."""
        return self.directory / "inputs"

    def payload_path(self, task: int) -> Path:
        return self._path(task, "safetensors")

    def begin(self, work: Work) -> None:
        """Describe the work. Finished tasks of the same description are kept; of another, everything goes."""
        text = work.model_dump_json().encode()
        if self.work_path.exists() and self.work_path.read_bytes() != text:
            self.forget_tasks()
        make_directory(self.directory)
        for task in range(work.tasks):
            self._path(task, "lost").unlink(missing_ok=True)
            self._path(task, "refused").unlink(missing_ok=True)
            self._path(task, "why").unlink(missing_ok=True)
        write_file(self.work_path, text)

    def work(self) -> Work | None:
        """The description, or None when the order is over and its files are gone."""
        try:
            return Work.model_validate_json(self.work_path.read_bytes())
        except FileNotFoundError:
            return None

    def claim(self, task: int) -> bool:
        """Take the task for this process. False when it is finished, or another process is at it."""
        path = self._path(task, "claim")
        if self._path(task, "json").exists():
            return False
        text = json.dumps({"pid": os.getpid()}).encode()
        try:
            with open_new(path) as file:
                file.write(text)
        except FileExistsError:
            if _age(path) < STALE_SECONDS:
                return False
            write_file(path, text)
        except FileNotFoundError:
            return False
        return True

    def touch(self, task: int) -> None:
        """Say that the worker is alive and still at the task."""
        try:
            os.utime(self._path(task, "claim"))
        except FileNotFoundError:
            return  # The order is over: its files are gone.

    def finish(self, task: int, payload: bytes, finished: Finished) -> None:
        """Store a task's payload and then its facts."""
        write_file(self.payload_path(task), payload)
        write_file(self._path(task, "json"), finished.model_dump_json().encode())
        self._path(task, "claim").unlink(missing_ok=True)

    def explain(self, task: int, why: str) -> None:
        """Say why the task is about to end, for the host's own journal: which plugin was stopped, and what it did."""
        self._mark(task, "why", why[:_LONGEST_REASON].encode())

    def refuse(self, task: int, code: RefusalCode) -> None:
        """Say that the task ended with this code."""
        self._mark(task, "refused", code.value.encode())
        self._path(task, "claim").unlink(missing_ok=True)

    def lose(self, task: int) -> None:
        """Say that the task's process was killed."""
        self._path(task, "claim").unlink(missing_ok=True)
        self._mark(task, "lost", b"")

    def reset(self, task: int) -> None:
        """Forget a lost task's traces, so that it can be claimed again."""
        for suffix in ("lost", "claim"):
            self._path(task, suffix).unlink(missing_ok=True)

    def progress(self) -> Progress:
        """How far the tasks are."""
        found: dict[str, set[int]] = {
            suffix: set() for suffix in ("json", "refused", "lost", "claim", "stale")
        }
        for task, suffix, path in self._task_files():
            if suffix in found:
                found[suffix].add(task)
            if suffix == "claim" and _age(path) > STALE_SECONDS:
                found["stale"].add(task)
        done, refused, lost, claimed, stale = map(frozenset, found.values())
        return Progress(done, refused, lost, claimed, stale)

    def finished(self, task: int) -> Finished:
        """The facts of a finished task."""
        return Finished.model_validate_json(self._path(task, "json").read_bytes())

    def refusal(self, task: int) -> tuple[RefusalCode, str]:
        """The code that the task ended with, and why, if the host's own journal is to say more."""
        why = self._path(task, "why")
        reason = why.read_text("utf-8", "replace") if why.exists() else ""
        return RefusalCode(self._path(task, "refused").read_text()), reason

    def keep_artefact(self, data: bytes) -> str:
        """Store bytes that a report will name; the name is their SHA-256."""
        digest = hashlib.sha256(data).hexdigest()
        make_directory(self.artefacts)
        write_file(self.artefacts / digest, data)
        return digest

    def keep_input(self, name: str, data: bytes) -> Path:
        """Store bytes for the workers to read, under a name of this host's choice. After a power cut they may be gone:
        what is begun again makes them again."""
        path = self.inputs / name
        make_directory(path.parent)
        write_file(path, data, durably=False)
        return path

    def forget_inputs(self) -> None:
        """Delete what the workers had to read for this order."""
        shutil.rmtree(self.inputs, ignore_errors=True)

    def forget_tasks(self) -> None:
        """Delete the work's description and everything that the workers wrote; artefacts stay."""
        self.work_path.unlink(missing_ok=True)
        for _, _, path in self._task_files():
            path.unlink(missing_ok=True)

    def delete(self) -> None:
        """Delete the whole directory."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _mark(self, task: int, suffix: str, data: bytes) -> None:
        try:
            write_file(self._path(task, suffix), data)
        except FileNotFoundError:
            return  # The order is over: its directory is gone, and nobody waits.

    def _path(self, task: int, suffix: str) -> Path:
        return self.directory / f"shard-{task}.{suffix}"

    def _task_files(self) -> Iterator[tuple[int, str, Path]]:
        if not self.directory.is_dir():
            return
        with os.scandir(self.directory) as entries:
            for entry in entries:
                stem, _, suffix = entry.name.partition(".")
                number = stem.removeprefix("shard-")
                if stem != number and number.isdigit():
                    yield int(number), suffix, Path(entry.path)


def make_directory(path: Path) -> None:
    """Make a directory that only the host's own user can enter."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)


def write_file(path: Path, data: bytes, durably: bool = True) -> None:
    """Write a file of mode 0600 so that it is there whole or not at all, `durably` also after a power cut."""
    with replacing(path, durably) as file:
        file.write(data)


@contextmanager
def replacing(path: Path, durably: bool = True) -> Iterator[BinaryIO]:
    """A file of mode 0600 that takes the place of `path` when the block ends well, and vanishes when not."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.part")
    try:
        with open_new(temporary) as file:
            yield file
            file.flush()
            if durably:
                os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def open_new(path: Path) -> BinaryIO:
    """A new file of mode 0600, open to write. Raises `FileExistsError`."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_FILE_MODE), "wb")


def digest_of(path: Path) -> str:
    """SHA-256 of a file, read block by block."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
