"""The life of an order on this host: claimed, reserved, perhaps held, stored, released.

Up to *reserved* a crash means that the work is done again. From *stored* on the answer exists: only the stored
bytes are ever sent, however often the order is delivered. An answer that a person must release first is *held*: its
bytes exist as well, but are not sent until the person has let them go; refused, they are dropped for good. What an
order costs is booked in the privacy ledger before it is reserved here, and the ledger books a run once however often
it is asked.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from fedcore.owner.facts import Done
from fedcore.wire.orders import Order, Phase
from fedcore.wire.reports import Report, Status
from fedcore.wire.signing import Signed

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY,
    run TEXT NOT NULL,
    phase TEXT NOT NULL,
    step INTEGER NOT NULL,
    round INTEGER NOT NULL,
    life TEXT NOT NULL,
    signed TEXT NOT NULL,
    status TEXT,
    report TEXT,
    received_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS orders_of_run ON orders (run);
CREATE TABLE IF NOT EXISTS uploads (
    order_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (order_id, digest)
) STRICT;
CREATE TABLE IF NOT EXISTS shares_of_work (
    order_id TEXT NOT NULL,
    shard INTEGER NOT NULL,
    worker INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    PRIMARY KEY (order_id, shard)
) STRICT;
"""
_BUSY_SECONDS: Final = 30


class Life(StrEnum):
    """How far an order is."""

    CLAIMED = "claimed"
    RESERVED = "reserved"
    HELD = "held"
    STORED = "stored"
    RELEASED = "released"


@dataclass(frozen=True)
class StoredOrder:
    """An order as the host keeps it. `report` is the answer's exact text, from *stored* on."""

    id: str
    run: str
    phase: Phase
    life: Life
    signed: Signed
    status: Status | None
    report: Signed | None


@dataclass(frozen=True)
class ShareOfWork:
    """Which worker process did which part of an order's work."""

    shard: int
    worker: int
    rows: int


class OrderStore:
    """The agent's database of orders. May be used from several threads."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def claim(self, order: Order, signed: Signed, now: int) -> StoredOrder:
        """Take an order in, or find it. Another text of the same work replaces one that is not yet stored."""
        with self._transaction() as database:
            database.execute(
                "INSERT INTO orders (id, run, phase, step, round, life, signed, received_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET signed = excluded.signed"
                " WHERE life IN ('claimed', 'reserved')",
                (
                    order.id,
                    order.run,
                    order.phase,
                    order.step,
                    order.round,
                    Life.CLAIMED,
                    signed.encode(),
                    now,
                ),
            )
            return _order(database, order.id)

    def reserve(self, order: str) -> None:
        """Note that the work is decided for, and booked."""
        with self._transaction() as database:
            database.execute(
                "UPDATE orders SET life = ? WHERE id = ? AND life = ?", (Life.RESERVED, order, Life.CLAIMED)
            )

    def store(self, order: str, report: Signed, status: Status, held: bool = False) -> StoredOrder:
        """Keep the answer, `held` until a person lets it go. The first one stays: a second one is dropped."""
        with self._transaction() as database:
            database.execute(
                "UPDATE orders SET life = ?, report = ?, status = ? WHERE id = ? AND report IS NULL",
                (Life.HELD if held else Life.STORED, report.encode(), status, order),
            )
            return _order(database, order)

    def let_go(self, order: str) -> bool:
        """Let a held answer leave. False where it is not held (any more)."""
        with self._transaction() as database:
            changed = database.execute(
                "UPDATE orders SET life = ? WHERE id = ? AND life = ?", (Life.STORED, order, Life.HELD)
            )
            return changed.rowcount == 1

    def replace_held(self, order: str, report: Signed, status: Status) -> bool:
        """Answer otherwise instead of with what is held, which never left. False where it is not held (any more)."""
        with self._transaction() as database:
            changed = database.execute(
                "UPDATE orders SET life = ?, report = ?, status = ? WHERE id = ? AND life = ?",
                (Life.STORED, report.encode(), status, order, Life.HELD),
            )
            return changed.rowcount == 1

    def held(self) -> list[StoredOrder]:
        """The answers that wait for a person, oldest first."""
        with self._lock:
            rows = self._database.execute(f"{_SELECT} WHERE life = ? ORDER BY rowid", (Life.HELD,)).fetchall()
        return [_from_row(row) for row in rows]

    def note_upload(self, order: str, digest: str) -> None:
        """Record that the coordinator has these bytes of an order's answer."""
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO uploads VALUES (?, ?)", (order, digest))

    def uploads(self, run: str) -> frozenset[str]:
        """The digests of all that this host has uploaded in a run."""
        with self._lock:
            rows = self._database.execute(
                "SELECT digest FROM uploads JOIN orders ON orders.id = uploads.order_id WHERE orders.run = ?",
                (run,),
            ).fetchall()
        return frozenset(str(digest) for (digest,) in rows)

    def withdraw(self, order: str, refusal: Signed) -> StoredOrder:
        """Keep a refusal in the place of an answer that was not released: its grant was revoked meanwhile."""
        with self._transaction() as database:
            database.execute(
                "UPDATE orders SET report = ?, status = ? WHERE id = ? AND life = ?",
                (refusal.encode(), Status.REFUSED, order, Life.STORED),
            )
            return _order(database, order)

    def release(self, order: str) -> None:
        """Note that the coordinator has the answer."""
        with self._transaction() as database:
            database.execute(
                "UPDATE orders SET life = ? WHERE id = ? AND life = ?", (Life.RELEASED, order, Life.STORED)
            )

    def released(self) -> list[tuple[str, str]]:
        """The orders whose answer the coordinator has, and the digest of each answer."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id, report FROM orders WHERE life = ? ORDER BY rowid", (Life.RELEASED,)
            ).fetchall()
        return [(str(order), Signed.from_bytes(report.encode()).digest) for order, report in rows]

    def find(self, order: str) -> StoredOrder | None:
        with self._lock:
            row = self._database.execute(f"{_SELECT} WHERE id = ?", (order,)).fetchone()
        return None if row is None else _from_row(row)

    def unfinished(self) -> list[StoredOrder]:
        """Orders that are not yet released, oldest first: what a restarted agent goes on with."""
        with self._lock:
            rows = self._database.execute(
                f"{_SELECT} WHERE life <> ? ORDER BY rowid", (Life.RELEASED,)
            ).fetchall()
        return [_from_row(row) for row in rows]

    def of_run(self, run: str) -> list[StoredOrder]:
        with self._lock:
            rows = self._database.execute(f"{_SELECT} WHERE run = ? ORDER BY rowid", (run,)).fetchall()
        return [_from_row(row) for row in rows]

    def done(self, run: str) -> frozenset[Done]:
        """What this host has answered with `done` in the run; what is held is not answered yet."""
        with self._lock:
            rows = self._database.execute(
                "SELECT phase, step, round FROM orders WHERE run = ? AND status = ? AND life <> ?",
                (run, Status.DONE, Life.HELD),
            ).fetchall()
        return frozenset(Done(Phase(phase), step, round) for phase, step, round in rows)

    def is_closing(self, run: str) -> bool:
        """Whether an order to close the run has arrived."""
        with self._lock:
            found = self._database.execute(
                "SELECT 1 FROM orders WHERE run = ? AND phase = ?", (run, Phase.CLOSE)
            ).fetchone()
        return found is not None

    def note_share(self, order: str, share: ShareOfWork) -> None:
        """Record which worker process did which part of an order."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO shares_of_work VALUES (?, ?, ?, ?)",
                (order, share.shard, share.worker, share.rows),
            )

    def shares(self, order: str) -> list[ShareOfWork]:
        """Who did what of an order's work."""
        with self._lock:
            rows = self._database.execute(
                "SELECT shard, worker, rows FROM shares_of_work WHERE order_id = ? ORDER BY shard", (order,)
            ).fetchall()
        return [ShareOfWork(*row) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


def report_of(stored: StoredOrder) -> Report | None:
    """The content of a stored answer, which this host signed itself."""
    return None if stored.report is None else stored.report.open(Report)


_SELECT: Final = "SELECT id, run, phase, life, signed, status, report FROM orders"


def _order(database: sqlite3.Connection, order: str) -> StoredOrder:
    row = database.execute(f"{_SELECT} WHERE id = ?", (order,)).fetchone()
    if row is None:
        raise KeyError(f"Order {order} is not known here: claim it first.")
    return _from_row(row)


def _from_row(row: tuple[str, ...]) -> StoredOrder:
    id, run, phase, life, signed, status, report = row
    return StoredOrder(
        id,
        run,
        Phase(phase),
        Life(life),
        Signed.from_bytes(signed.encode()),
        Status(status) if status else None,
        Signed.from_bytes(report.encode()) if report else None,
    )
