"""An append-only table whose entries are chained by their digests: the form of the privacy ledger's file.

What holds: each entry carries the SHA-256 of everything that it says and of the entry before it, so an entry that is
changed, removed, moved or inserted later breaks the chain from there on, and the database refuses to update or
delete. An entry is on the disk when its transaction has ended. One entry of a kind is about one subject, once.

What does not hold: whoever owns this host's files can cut entries off the end, put an older copy back, or write a
whole new chain. That is what a counter kept elsewhere and the receipts of other hosts are for.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

FIRST: Final = "0" * 64
"""What stands in the first entry for the digest of the entry before."""

_BUSY_SECONDS: Final = 30
_COLUMNS: Final = "serial, at, kind, subject, grant_digest, dataset, content, previous, digest"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entries (
    serial INTEGER PRIMARY KEY CHECK (serial > 0),
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    grant_digest TEXT NOT NULL,
    dataset TEXT NOT NULL,
    content TEXT NOT NULL,
    previous TEXT NOT NULL UNIQUE CHECK (length(previous) = 64),
    digest TEXT NOT NULL UNIQUE CHECK (length(digest) = 64),
    UNIQUE (kind, subject)
) STRICT;
CREATE INDEX IF NOT EXISTS entries_of_grant ON entries (grant_digest);
CREATE INDEX IF NOT EXISTS entries_of_dataset ON entries (dataset);
CREATE TRIGGER IF NOT EXISTS entries_are_never_changed BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS entries_are_never_removed BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""


class Head(NamedTuple):
    """An entry by its place and its digest, which stands for it and all before it."""

    serial: int
    digest: str


@dataclass(frozen=True)
class Entry:
    """One entry. `at` is in seconds since 1970 by this host's clock; `content` is JSON text, which `said` reads."""

    serial: int
    at: int
    kind: str
    subject: str
    grant: str
    dataset: str
    content: str
    previous: str
    digest: str

    @property
    def head(self) -> Head:
        return Head(self.serial, self.digest)

    @property
    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.content)
        return found

    @property
    def due_digest(self) -> str:
        """SHA-256 over the previous digest and everything that the entry says, unambiguously."""
        parts = (self.previous, self.serial, self.at, self.kind, self.subject, self.grant, self.dataset)
        text = json.dumps([*parts, self.content], ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


class ChainBroken(Exception):
    """The chain does not hold. `serial` is the first entry that does not fit."""

    def __init__(self, serial: int, rule: str) -> None:
        super().__init__(f"Ledger entry {serial}: {rule}")
        self.serial = serial


class Chain:
    """The table in one SQLite file of mode 0600. Safe for several threads and processes of this host."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it. Raises `sqlite3.Error` or `OSError`."""
        self._lock = threading.RLock()
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._database = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Nobody else writes until the end, and what was written is on the disk then, or none of it."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def append(
        self,
        at: int,
        kind: str,
        subject: str,
        content: Mapping[str, Any],
        grant: str = "",
        dataset: str = "",
        serial: int | None = None,
    ) -> Entry:
        """Write an entry; call it in a transaction. `serial` leaves out numbers before it, which are lost."""
        last = self.head()
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        entry = Entry(serial or last.serial + 1, at, kind, subject, grant, dataset, text, last.digest, FIRST)
        values = (*(getattr(entry, name) for name in _FIELDS), entry.due_digest)
        with self._lock:
            self._database.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        return Entry(*values)

    def head(self) -> Head:
        """The last entry; serial 0 and zeros while there is none."""
        found = self._rows("ORDER BY serial DESC LIMIT 1")
        return found[0].head if found else Head(0, FIRST)

    def find(self, kind: str, subject: str) -> Entry | None:
        found = self._rows("WHERE kind = ? AND subject = ?", kind, subject)
        return found[0] if found else None

    def at(self, serial: int) -> Entry | None:
        found = self._rows("WHERE serial = ?", serial)
        return found[0] if found else None

    def of(self, kind: str, grant: str | None = None, dataset: str | None = None) -> list[Entry]:
        """The entries of this kind, in order; of one grant or dataset where that is given."""
        conditions, values = ["kind = ?"], [kind]
        for column, value in (("grant_digest", grant), ("dataset", dataset)):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)
        return self._rows(f"WHERE {' AND '.join(conditions)} ORDER BY serial", *values)

    def entries(self, after: int = 0, page: int = 500) -> Iterator[Entry]:
        """All entries with a serial above `after`, in order."""
        serial = after
        while found := self._rows("WHERE serial > ? ORDER BY serial LIMIT ?", serial, page):
            yield from found
            serial = found[-1].serial

    def verify(self, known: Head | None = None) -> int:
        """Check the whole chain, and return its number of entries.

        With `known`, noted down earlier, it must also be on the chain, or be accepted as lost. Raises `ChainBroken`.
        """
        before, count, known_found = Head(0, FIRST), 0, known is None or known.serial == 0
        for entry in self.entries():
            lost = lost_before(entry)
            if entry.serial != before.serial + 1 and lost != (before.serial + 1, entry.serial - 1):
                raise ChainBroken(before.serial + 1, f"it is missing, the next is {entry.serial}.")
            if entry.previous != before.digest:
                raise ChainBroken(entry.serial, "it does not follow the entry before it.")
            if entry.digest != entry.due_digest:
                raise ChainBroken(entry.serial, "its content does not fit its digest.")
            before, count = entry.head, count + 1
            known_found = (
                known_found or known == entry.head or (known is not None and known in given_up(entry))
            )
        if known is not None and not known_found:
            raise ChainBroken(known.serial, f"the entry with digest {known.digest} is missing.")
        return count

    def select(self, statement: str, *values: str | int) -> list[Any]:
        """The rows that a query finds, also in tables that are no part of the chain."""
        with self._lock:
            return self._database.execute(statement, values).fetchall()

    def _rows(self, condition: str, *values: str | int) -> list[Entry]:
        # Conditions are those of this file; what comes from outside is always a value.
        statement = f"SELECT {_COLUMNS} FROM entries {condition}"  # noqa: S608
        return [Entry(*row) for row in self.select(statement, *values)]


_FIELDS: Final = tuple(name for name in Entry.__dataclass_fields__ if name != "digest")
ACCEPTED: Final = "accepted"
"""The kind of entry by which a person goes on although entries are lost."""


def lost_before(entry: Entry) -> tuple[int, int] | None:
    """The first and last serial that this entry says are lost, if it is one that says so."""
    if entry.kind != ACCEPTED:
        return None
    first, last = entry.said["missing"]
    return int(first), int(last)


def given_up(entry: Entry) -> list[Head]:
    """The heads of a lost history that this entry gives up."""
    return [Head(*found) for found in entry.said["heads"]] if entry.kind == ACCEPTED else []
