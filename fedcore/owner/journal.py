"""The journal: every order, decision and release of this host, in a chain that shows whether it was altered.

What holds: each entry carries the SHA-256 of its content and of the entry before it, so an entry that is
changed, removed or inserted later breaks the chain from there on, and the database refuses to update or
delete. An entry is on the disk before `append` returns; where it cannot be written, `JournalError` is raised,
and the caller must let nothing leave.

What does not hold by itself: whoever owns this host's files can cut entries off the end, or write a whole new chain.
So the last entry's number and digest stand in a file of their own, `journal.head`, and `verify` wants that entry
on the chain. The file may be a symbolic link to another disk, which whoever cuts the journal may not be able
to write; a digest that was noted down anywhere else does as well.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from pydantic import JsonValue

_FIRST: Final = "0" * 64
"""What stands in the first entry for the digest of the entry before."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entries (
    serial INTEGER PRIMARY KEY CHECK (serial > 0),
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    content TEXT NOT NULL,
    previous TEXT NOT NULL UNIQUE CHECK (length(previous) = 64),
    digest TEXT NOT NULL UNIQUE CHECK (length(digest) = 64)
) STRICT;
CREATE TRIGGER IF NOT EXISTS entries_are_never_changed BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS entries_are_never_removed BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
"""


class EntryKind(StrEnum):
    """What an entry records."""

    GRANT = "grant"
    ORDER = "order"
    DECISION = "decision"
    REPORT = "report"
    RELEASE = "release"
    PREDICTION = "prediction"
    EVENT = "event"


class JournalError(Exception):
    """The journal cannot be written or read. Nothing may leave the host until it can."""


class JournalBroken(JournalError):
    """The chain does not hold. `serial` is the first entry that does not fit."""

    def __init__(self, serial: int, rule: str) -> None:
        super().__init__(
            f"Journal entry {serial}: {rule}. The file was altered outside fedcore: keep a copy for an inquiry, and "
            "compare it with a backup."
        )
        self.serial = serial


@dataclass(frozen=True)
class Entry:
    """One entry. `at` is in seconds since 1970 by this host's clock; `content` is JSON text."""

    serial: int
    at: int
    kind: str
    content: str
    previous: str
    digest: str


class Journal:
    """The journal in one SQLite file of mode 0600. Safe for several threads and processes of this host."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Open the journal, or make it. Raises `JournalError`."""
        self.path = path
        self.head_path = path.with_suffix(".head")
        self._clock = clock
        self._lock = threading.Lock()
        with _as_journal_errors(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._database = sqlite3.connect(path, timeout=20, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def append(self, kind: EntryKind, content: Mapping[str, JsonValue]) -> Entry:
        """Write an entry durably, before whatever it records happens. Raises `JournalError`."""
        with self._lock, _as_journal_errors(self.path):
            text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            self._database.execute("BEGIN IMMEDIATE")
            try:
                entry = self._next(int(self._clock()), kind, text)
                self._database.execute(
                    "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)",
                    (entry.serial, entry.at, entry.kind, entry.content, entry.previous, entry.digest),
                )
                self._database.execute("COMMIT")
                self._keep_head(entry)
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        return entry

    @property
    def head(self) -> str:
        """The digest of the last entry; 64 zeros while there is none."""
        with self._lock, _as_journal_errors(self.path):
            return self._last()[1]

    def _keep_head(self, entry: Entry) -> None:
        """Note the last entry apart from the journal. A crash before it leaves an older one, which is on the chain."""
        target = Path(os.path.realpath(self.head_path))
        part = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{entry.serial} {entry.digest}\n")
        part.replace(target)

    def _kept_head(self) -> str | None:
        """The digest of the entry that was noted last; None where none was."""
        try:
            text = self.head_path.read_text()
        except FileNotFoundError:
            return None
        serial, _, digest = text.strip().partition(" ")
        return digest if serial.isdigit() else ""

    def entries(self, after: int = 0, kind: EntryKind | None = None) -> Iterator[Entry]:
        """The entries with a serial above `after`, in order, all or those of one kind. Raises `JournalError`."""
        serial = after
        while page := self._page(serial, kind):
            yield from page
            serial = page[-1].serial

    def verify(self, known_head: str | None = None) -> int:
        """Check the whole chain, and return its number of entries.

        The entry that stands in `journal.head`, and `known_head`, noted down earlier, must be on the chain. Raises
        `JournalBroken`.
        """
        with _as_journal_errors(self.path):
            wanted = {head for head in (known_head, self._kept_head()) if head not in (None, _FIRST)}
        serial, previous = 0, _FIRST
        for entry in self.entries():
            if entry.serial != serial + 1:
                raise JournalBroken(serial + 1, f"it is missing, the next is {entry.serial}")
            if entry.previous != previous:
                raise JournalBroken(entry.serial, "it does not follow the entry before it")
            if entry.digest != _digest_of(entry.serial, entry.at, entry.kind, entry.content, previous):
                raise JournalBroken(entry.serial, "its content does not fit its digest")
            serial, previous = entry.serial, entry.digest
            wanted.discard(previous)
        if wanted:
            raise JournalBroken(serial + 1, f"the entry with digest {wanted.pop()} is missing")
        return serial

    def _next(self, at: int, kind: str, content: str) -> Entry:
        serial, previous = self._last()
        digest = _digest_of(serial + 1, at, kind, content, previous)
        return Entry(serial + 1, at, str(kind), content, previous, digest)

    def _last(self) -> tuple[int, str]:
        row = self._database.execute(
            "SELECT serial, digest FROM entries ORDER BY serial DESC LIMIT 1"
        ).fetchone()
        return (0, _FIRST) if row is None else (int(row[0]), str(row[1]))

    def _page(self, after: int, kind: EntryKind | None, size: int = 500) -> list[Entry]:
        with self._lock, _as_journal_errors(self.path):
            rows = self._database.execute(
                "SELECT serial, at, kind, content, previous, digest FROM entries WHERE serial > ? "
                "AND kind = coalesce(?, kind) ORDER BY serial LIMIT ?",
                (after, kind, size),
            ).fetchall()
        return [Entry(*row) for row in rows]


@contextmanager
def _as_journal_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, ValueError, TypeError) as error:
        raise JournalError(
            f"The journal {path} cannot be used ({error}), and without it nothing may leave this host. Make room on "
            "the disk, or restore the file and its mode."
        ) from error


def _digest_of(serial: int, at: int, kind: str, content: str, previous: str) -> str:
    """SHA-256 over the previous digest and everything that the entry says, unambiguously."""
    text = json.dumps([previous, serial, at, str(kind), content], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
