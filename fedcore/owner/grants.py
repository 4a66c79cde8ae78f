"""The grants that this host knows: the scientist's signed request, how far it goes, and what was decided here.

What holds, whatever the coordinator sends: a grant is known by the digest of its signed request, so neither the
scientist's key nor anything else that was asked for can be exchanged; its limits are the narrowest that this host
was ever told, so they are never widened again; and what was refused or revoked stays so, also in the database. Every
change is journalled: what lets more run before it counts, what lets less run as soon as it counts. So an older copy of
the file, restored from a backup, brings nothing back: at the start the journal is asked what it knows of more.
"""

from __future__ import annotations

import os
import pwd
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from pydantic import JsonValue

from fedcore.owner.facts import Ruling
from fedcore.owner.grant_past import Past, pasts
from fedcore.owner.held_grant import GrantError, HeldGrant, short
from fedcore.owner.journal import EntryKind, Journal
from fedcore.owner.limits import Limits
from fedcore.wire.access import AccessRequest, Grant, Standing
from fedcore.wire.signing import Signed

COORDINATOR: Final = "the coordinator"
"""Who revoked a grant that its owner ended in the coordinator's admin."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS grants (
    digest TEXT PRIMARY KEY CHECK (length(digest) = 64),
    request TEXT NOT NULL,
    told_limits TEXT NOT NULL,
    set_limits TEXT,
    received_at INTEGER NOT NULL,
    ruling TEXT CHECK (ruling IN ('confirmed', 'refused', 'revoked')),
    ruled_by TEXT NOT NULL DEFAULT '',
    ruled_at INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    standing TEXT,
    standing_at INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS recalled (
    digest TEXT PRIMARY KEY,
    limits TEXT,
    ruling TEXT,
    ruled_by TEXT NOT NULL,
    ruled_at INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS grants_are_never_removed BEFORE DELETE ON grants
    BEGIN SELECT RAISE(ABORT, 'a grant is never forgotten'); END;
CREATE TRIGGER IF NOT EXISTS requests_are_never_changed BEFORE UPDATE ON grants
    WHEN NEW.digest <> OLD.digest OR NEW.request <> OLD.request OR NEW.received_at <> OLD.received_at
    BEGIN SELECT RAISE(ABORT, 'the request of a grant is never changed'); END;
CREATE TRIGGER IF NOT EXISTS final_rulings_stay BEFORE UPDATE ON grants
    WHEN OLD.ruling IN ('refused', 'revoked') AND NEW.ruling IS NOT OLD.ruling
    BEGIN SELECT RAISE(ABORT, 'a grant that was refused or revoked stays so'); END;
"""
_SELECT: Final = (
    "SELECT digest, request, told_limits, set_limits, received_at, ruling, ruled_by, ruled_at, reason, standing,"
    " standing_at FROM grants"
)
_FEWEST_DIGITS: Final = 4
_BUSY_SECONDS: Final = 30


class GrantStore:
    """The host's grants in one SQLite file of mode 0600. Safe for several threads and processes of this host."""

    def __init__(self, path: Path, journal: Journal, clock: Callable[[], float] = time.time) -> None:
        """Open the grants, or make their file. Raises `GrantError`."""
        self.path = path
        self._journal = journal
        self._clock = clock
        self._lock = threading.Lock()
        with _as_grant_errors(path):
            path.touch(mode=0o600)
            self._database = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def recall(self) -> None:
        """Apply what the journal says and this file, perhaps an older copy of it, does not. Raises `JournalError`."""
        for digest, past in pasts(self._journal).items():
            with self._transaction() as database:
                known = _found(database, digest)
                if known is None:
                    limits = past.limits and past.limits.model_dump_json()
                    database.execute(
                        "INSERT OR REPLACE INTO recalled VALUES (?, ?, ?, ?, ?, ?)",
                        (digest, limits, past.ruling, past.by, past.at, past.reason),
                    )
                else:
                    _apply(database, known, past)

    # -- what the coordinator says

    def take(self, grant: Grant, request: AccessRequest) -> HeldGrant:
        """Take a grant in, or narrow what is known of it. `request` is its verified request.

        What somebody else has signed with the same text changes nothing: the grant stays the first one's.
        Raises `JournalError`, and then a new grant is not taken in.
        """
        digest = grant.request.digest
        told = Limits.of_grant(grant).within(Limits.of_request(request))
        known = self.find(digest)
        if known is not None and (known.signed != grant.request or not known.told.beyond(told)):
            return known
        with self._transaction() as database:
            before = _found(database, digest)
            if before is None:
                database.execute(
                    "INSERT INTO grants (digest, request, told_limits, received_at) VALUES (?, ?, ?, ?)",
                    (digest, grant.request.encode(), told.model_dump_json(), self._now()),
                )
                self._note(digest, "received", limits=told, scientist=grant.request.signer)
                _apply(database, _known(database, digest), _recalled(database, digest))
            else:
                narrower = before.told.within(told)
                database.execute(
                    "UPDATE grants SET told_limits = ? WHERE digest = ?", (narrower.model_dump_json(), digest)
                )
                self._note(digest, "narrowed", limits=narrower, by=COORDINATOR)
            return _known(database, digest)

    # -- what people on this host decide

    def confirm(self, digest: str, by: str, limits: Limits | None = None, reason: str = "") -> HeldGrant:
        """Let a grant take effect beyond the policy's ceilings, as far as `limits` or its own go.

        Raises `GrantError` for what was refused or revoked, and `JournalError`.
        """
        with self._transaction() as database:
            self._rule(database, digest, Ruling.CONFIRMED, by, reason, limits)
            held = _known(database, digest)
            self._note(digest, "confirmed", limits=held.limits, by=by, reason=reason)
            return held

    def tighten(self, digest: str, by: str, limits: Limits, reason: str = "") -> HeldGrant:
        """Narrow a grant on this host, whatever it is. Raises `GrantError` for what is over."""
        with self._transaction() as database:
            held = _open(database, digest)
            set_here = limits if held.set_here is None else held.set_here.within(limits)
            database.execute(
                "UPDATE grants SET set_limits = ? WHERE digest = ?", (set_here.model_dump_json(), digest)
            )
        self._note(digest, "tightened", limits=set_here, by=by, reason=reason)
        return self.held(digest)

    def refuse(self, digest: str, by: str, reason: str) -> HeldGrant:
        """End a grant that was never in force here. Raises `GrantError` where it is confirmed, or over."""
        with self._transaction() as database:
            if _open(database, digest).ruling is Ruling.CONFIRMED:
                raise GrantError(
                    f"Grant {short(digest)} is confirmed. Revoke it: `fedcore-owner grants revoke {short(digest)}`."
                )
            self._rule(database, digest, Ruling.REFUSED, by, reason)
        self._note(digest, "refused", by=by, reason=reason)
        return self.held(digest)

    def revoke(self, digest: str, by: str, reason: str = "") -> HeldGrant:
        """End a grant at once, for the next order and for work under way. Raises `GrantError` where it is over."""
        with self._transaction() as database:
            self._rule(database, digest, Ruling.REVOKED, by, reason)
        self._note(digest, "revoked", by=by, reason=reason)
        return self.held(digest)

    def _rule(
        self,
        database: sqlite3.Connection,
        digest: str,
        ruling: Ruling,
        by: str,
        reason: str,
        limits: Limits | None = None,
    ) -> None:
        held = _open(database, digest)
        set_here = held.set_here
        if limits is not None:
            set_here = limits if set_here is None else set_here.within(limits)
        database.execute(
            "UPDATE grants SET ruling = ?, ruled_by = ?, ruled_at = ?, reason = ?, set_limits = ? WHERE digest = ?",
            (ruling, by, self._now(), reason, set_here and set_here.model_dump_json(), digest),
        )

    # -- reading

    def find(self, digest: str) -> HeldGrant | None:
        with self._lock:
            return _found(self._database, digest)

    def held(self, digest: str) -> HeldGrant:
        """The grant with this digest. Raises `GrantError` if it is not known here."""
        with self._lock:
            return _known(self._database, digest)

    def all(self) -> list[HeldGrant]:
        """Every grant that this host knows, the newest first."""
        with self._lock:
            rows = self._database.execute(f"{_SELECT} ORDER BY received_at DESC, rowid DESC").fetchall()
        return [_from_row(row) for row in rows]

    def beginning_with(self, digits: str) -> HeldGrant:
        """The one grant whose digest begins with these digits. Raises `GrantError` for none, several, or too few."""
        start = digits.strip().lower()
        if len(start) < _FEWEST_DIGITS or set(start) - set("0123456789abcdef"):
            raise GrantError(
                f"{digits!r} is no beginning of a grant's digest. Give {_FEWEST_DIGITS} or more of its digits: "
                "`fedcore-owner grants list` shows them."
            )
        found = [held for held in self.all() if held.digest.startswith(start)]
        if len(found) != 1:
            rule = f"{len(found)} grants here begin with {digits!r}"
            raise GrantError(
                f"{rule}. Give the digits that `fedcore-owner grants list` shows, or more of them."
            )
        return found[0]

    def is_over(self, digest: str) -> bool:
        """Whether the grant was refused or revoked, now. Cheap enough to ask often."""
        with self._lock:
            row = self._database.execute("SELECT ruling FROM grants WHERE digest = ?", (digest,)).fetchone()
        return row is not None and row[0] is not None and Ruling(row[0]).is_final

    @property
    def revision(self) -> tuple[int, int]:
        """Another value after every change, by this process or any other."""
        with self._lock:
            (version,) = self._database.execute("PRAGMA data_version").fetchone()
            return int(version), self._database.total_changes

    # -- what the coordinator was told

    def note_standing(self, digest: str, standing: Standing, at: int, why: Sequence[str]) -> HeldGrant:
        """Keep what the coordinator is to be told of a grant from `at` on. Raises `JournalError`."""
        with self._transaction() as database:
            self._note(digest, "stands", standing=standing.value, why=list(why))
            database.execute(
                "UPDATE grants SET standing = ?, standing_at = ? WHERE digest = ?", (standing, at, digest)
            )
            return _known(database, digest)

    def _note(self, digest: str, event: str, *, limits: Limits | None = None, **more: JsonValue) -> None:
        said: dict[str, JsonValue] = {"grant": digest, "event": event, **more}
        if limits is not None:
            said["limits"] = limits.model_dump(mode="json")
        self._journal.append(EntryKind.GRANT, said)

    def _now(self) -> int:
        return int(self._clock())

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _as_grant_errors(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


@contextmanager
def _as_grant_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise GrantError(
            f"The grants in {path} cannot be used ({error}), and without them nothing runs. Make room on the disk, or "
            "restore the file and its mode."
        ) from error


def this_user() -> str:
    """The name of the operating system's user who runs this process, by its id: no variable can claim another."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def _found(database: sqlite3.Connection, digest: str) -> HeldGrant | None:
    row = database.execute(f"{_SELECT} WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else _from_row(row)


def _known(database: sqlite3.Connection, digest: str) -> HeldGrant:
    held = _found(database, digest)
    if held is None:
        raise GrantError(
            f"Grant {short(digest)} is not known here. `fedcore-owner grants list` shows those that are."
        )
    return held


def _recalled(database: sqlite3.Connection, digest: str) -> Past:
    row = database.execute(
        "SELECT limits, ruling, ruled_by, reason, ruled_at FROM recalled WHERE digest = ?", (digest,)
    ).fetchone()
    if row is None:
        return Past()
    limits, ruling, by, reason, at = row
    return Past(limits and Limits.model_validate_json(limits), ruling and Ruling(ruling), by, reason, at)


def _apply(database: sqlite3.Connection, known: HeldGrant, past: Past) -> None:
    """Narrow or end a grant as it was before."""
    if past.limits is not None and known.told.beyond(past.limits):
        narrower = known.told.within(past.limits).model_dump_json()
        database.execute("UPDATE grants SET told_limits = ? WHERE digest = ?", (narrower, known.digest))
    if past.ruling is not None and not known.is_over:
        database.execute(
            "UPDATE grants SET ruling = ?, ruled_by = ?, ruled_at = ?, reason = ? WHERE digest = ?",
            (past.ruling, past.by, past.at, past.reason, known.digest),
        )


def _open(database: sqlite3.Connection, digest: str) -> HeldGrant:
    held = _known(database, digest)
    if held.is_over:
        raise GrantError(
            f"Grant {short(digest)} was {held.ruling} by {held.ruled_by}, which is final. The scientist may ask anew."
        )
    return held


def _from_row(
    row: tuple[str, str, str, str | None, int, str | None, str, int, str, str | None, int],
) -> HeldGrant:
    (
        digest,
        request,
        told,
        set_here,
        received_at,
        ruling,
        ruled_by,
        ruled_at,
        reason,
        standing,
        standing_at,
    ) = row
    signed = Signed.from_bytes(request.encode())
    return HeldGrant(
        digest=digest,
        signed=signed,
        request=AccessRequest.parse(signed.text),
        told=Limits.model_validate_json(told),
        set_here=None if set_here is None else Limits.model_validate_json(set_here),
        received_at=received_at,
        ruling=None if ruling is None else Ruling(ruling),
        ruled_by=ruled_by,
        ruled_at=ruled_at,
        reason=reason,
        standing=None if standing is None else Standing(standing),
        standing_at=standing_at,
    )
