"""Where a secret could lie, how each place is searched, and how something is put there to see the search find it."""

from __future__ import annotations

import html
import json
import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from tests.faults.visiting import Piece, Visitor, error_replies, pages_of
from tests.faults.watching import Seen

HERE: Final = Path(__file__).resolve().parents[2]
"""Where the processes of a federation are started."""


@dataclass
class Searched:
    """All that is looked through: directories, what was seen of processes, replies and pages."""

    root: Path
    kept: Path
    temporary: Path
    seen: Seen = field(default_factory=Seen)
    replies: list[Piece] = field(default_factory=list)
    pages: list[Piece] = field(default_factory=list)

    @property
    def coordinator(self) -> Path:
        return self.root / "cloud-house" / "home"

    @property
    def homes(self) -> list[Path]:
        """The coordinator's, and those of the hosts."""
        return [path for path in sorted(self.root.glob("*/home")) if path.is_dir()]

    @property
    def hosts(self) -> list[Path]:
        return [home for home in self.homes if (home / "owner.toml").exists()]


@dataclass(frozen=True)
class Place:
    """One kind of place. `proof` are words that stand there, without which it would be another place.

    `plant` puts a canary there, into a copy, and says in which pieces it must be found.
    """

    name: str
    pieces: Callable[[Searched], Iterable[Piece]]
    plant: Callable[[Searched, str], Iterable[str]]
    proof: tuple[str, ...] = ()


# -- files


def read(paths: Iterable[Path]) -> Iterator[Piece]:
    for path in paths:
        if path.is_file():
            yield str(path), path.read_bytes()


def planted(path: Path, canary: str) -> list[str]:
    """The canary at the end of a file, within a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(f"\n2026-01-01 WARNING: it was {canary}.\n".encode())
    return [str(path)]


def logs(searched: Searched) -> Iterator[Piece]:
    rows = {"access.log", "today.log"}
    return read(path for path in searched.root.rglob("*.log*") if path.name not in rows)


def plant_in_logs(searched: Searched, canary: str) -> list[str]:
    found = [name for name, _ in logs(searched)]
    host = searched.hosts[0].parent
    return [
        *(planted(Path(name), canary)[0] for name in found),
        *planted(host / "log" / "host.log.1", canary),
    ]


def broker_files(searched: Searched) -> Iterator[Piece]:
    own = {"password", "broker.conf"}
    folders = [home / "broker" for home in searched.homes]
    return read(path for folder in folders for path in folder.rglob("*") if path.name not in own)


def plant_in_brokers(searched: Searched, canary: str) -> list[str]:
    return [
        name
        for home in searched.homes
        for name in planted(next((home / "broker").rglob("*.incr.aof")), canary)
    ]


def artefacts(searched: Searched) -> Iterator[Piece]:
    """Every artefact that has lain at the coordinator, also those that were deleted, and parts of uploads."""
    yield from read(searched.kept.iterdir())
    yield from read((searched.coordinator / "artefacts").iterdir())


def plant_in_artefacts(searched: Searched, canary: str) -> list[str]:
    new, old = searched.coordinator / "artefacts" / "5f0c.part", next(searched.kept.iterdir())
    return [*planted(new, canary), *planted(old, canary)]


def coordinators_files(searched: Searched) -> Iterator[Piece]:
    """All of the coordinator's files but its own keys, as they are on the disk: also what a database has freed."""
    home = searched.coordinator
    own = {home / "keys" / name for name in ("signing.key", "django.key")}
    own |= {home / "broker" / name for name in ("password", "broker.conf")}
    return read(path for path in home.rglob("*") if path not in own)


def plant_in_coordinators_files(searched: Searched, canary: str) -> list[str]:
    home = searched.coordinator
    return [*planted(home / "coordinator.sqlite3.old", canary), *planted(home / "static" / "new.txt", canary)]


def core_files(searched: Searched) -> Iterator[Piece]:
    folders = (searched.root, searched.temporary, HERE)
    names = ("core", "core.*", "*.core", "vgcore.*")
    deep = [path for folder in folders[:2] for name in names for path in folder.rglob(name)]
    return read([*deep, *(path for name in names for path in HERE.glob(name))])


def temporary_files(searched: Searched) -> Iterator[Piece]:
    return read(searched.temporary.rglob("*"))


def spools(searched: Searched) -> Iterator[Piece]:
    folders = [home / name for home in searched.hosts for name in ("spool", "predictions", "outbox")]
    return read(path for folder in folders for path in folder.rglob("*"))


def plant_in_spools(searched: Searched, canary: str) -> list[str]:
    places = ("spool/0123/work.json", "spool/0123/.shard-0.json.7.part", "predictions/77/shard-0.safetensors")
    return [name for place in places for name in planted(searched.hosts[0] / place, canary)]


# -- databases


def rows_of(database: Path, tables: Iterable[str] = (), where: str = "") -> Iterator[Piece]:
    """Every column of every table, by its name, with all its values."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)
    connection.text_factory = bytes
    for table in tables or tables_of(connection):
        found = connection.execute(f'SELECT * FROM "{table}" {where}')
        columns, rows = [name for name, *_ in found.description], found.fetchall()
        for number, column in enumerate(columns):
            yield f"{table}.{column}", b"\0".join(_as_bytes(row[number]) for row in rows)
    connection.close()


def tables_of(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    names = [name.decode() if isinstance(name, bytes) else str(name) for (name,) in found]
    return [name for name in names if not name.startswith("sqlite_")]


def _as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def database(searched: Searched) -> Iterator[Piece]:
    return rows_of(searched.coordinator / "coordinator.sqlite3")


def plant_in_database(searched: Searched, canary: str) -> list[str]:
    """A row more in every table, with the canary in every column that may hold something else than a number."""
    with freed(searched.coordinator / "coordinator.sqlite3") as connection:
        names = [
            f"{table}.{column}"
            for table in tables_of(connection)
            for column in with_row(connection, table, canary)
        ]
    return names


def with_row(connection: sqlite3.Connection, table: str, canary: str) -> list[str]:
    """Add a row of the canary to a table; the columns that hold it now."""
    columns = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
    numbers = {name for _, name, kind, _, _, key in columns if key and kind.upper() == "INTEGER"}
    names = [name for _, name, *_ in columns]
    values = [2**40 if name in numbers else f"{canary}" for name in names]
    listed, marks = ", ".join(f'"{name}"' for name in names), ", ".join("?" * len(names))
    connection.execute(f'INSERT INTO "{table}" ({listed}) VALUES ({marks})', values)
    return [name for name in names if name not in numbers]


def freed(path: Path) -> sqlite3.Connection:
    """The copy of a database, without triggers and checks."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f'DROP TRIGGER "{name}"')
    return connection


def sent(searched: Searched) -> Iterator[Piece]:
    """What hosts have signed and sent, and what their journals say of it."""
    for home in searched.hosts:
        for name, content in rows_of(home / "state.sqlite", ("orders", "uploads")):
            if name in ("orders.report", "uploads.digest"):
                yield f"{home.parent.name}: {name}", content
        released = "WHERE kind IN ('release', 'report', 'grant')"
        for name, content in rows_of(home / "journal.sqlite", ("entries",), released):
            yield f"{home.parent.name}: {name}", content


def plant_in_sent(searched: Searched, canary: str) -> list[str]:
    home = searched.hosts[0]
    with freed(home / "state.sqlite") as state:
        state.execute("UPDATE orders SET report = report || ? WHERE report IS NOT NULL", (canary,))
    said = json.dumps({"order": "0" * 32, "code": canary})
    with freed(home / "journal.sqlite") as journal:
        journal.execute(
            "INSERT INTO entries VALUES (?, 0, 'release', ?, ?, ?)", (2**40, said, "a" * 64, "b" * 64)
        )
    return [f"{home.parent.name}: orders.report", f"{home.parent.name}: entries.content"]


# -- what was seen


def arguments(searched: Searched) -> Iterator[Piece]:
    return ((repr(one[:100]), one) for one in searched.seen.arguments)


def variables(searched: Searched) -> Iterator[Piece]:
    return ((repr(one[:100]), one) for one in searched.seen.variables)


def shown_by_a_process(searched: Searched, argument: str, variable: str) -> None:
    """A process of north's has a child with these."""
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()', {argument!r}], env={{'HOME': '/'"
    child += f", 'PASSWORD': {variable!r}}})"
    home = {"HOME": str(searched.root / "north-hospital")}
    process = subprocess.Popen([sys.executable, "-c", child], env=home, stdin=subprocess.PIPE)
    try:
        for _ in range(200):
            searched.seen.look_at_processes(searched.root)
            shown = b"".join(searched.seen.arguments | searched.seen.variables)
            if b"input()\0" + argument.encode() in shown and b"PASSWORD=" + variable.encode() in shown:
                return
            assert process.poll() is None
            os.sched_yield()
    finally:
        process.communicate(b"\n")


def plant_in_arguments(searched: Searched, canary: str) -> list[str]:
    shown_by_a_process(searched, f"--password={canary}", "nothing")
    return [name for name, content in arguments(searched) if f"--password={canary}".encode() in content]


def plant_in_variables(searched: Searched, canary: str) -> list[str]:
    shown_by_a_process(searched, "nothing", canary)
    return [name for name, content in variables(searched) if f"PASSWORD={canary}".encode() in content]


# -- what the coordinator answers


def plant_in_replies(searched: Searched, canary: str) -> list[str]:
    """An endpoint repeats what it was sent."""

    def repeat(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/schema":
            return httpx.Response(200, json={"paths": {"/api/runs/{run_id}": {"post": {}}}})
        return httpx.Response(400, json={"code": "invalid", "detail": request.content.decode()})

    http = httpx.Client(base_url="http://coordinator", transport=httpx.MockTransport(repeat))
    searched.replies.extend(error_replies(http, "token", "0" * 64, canary))
    return [f"POST /api/runs/{'0' * 64}: 400", "POST /api/host/orders: 400"]


def plant_in_pages(searched: Searched, canary: str) -> list[str]:
    """A page that is linked from another one shows it, as HTML shows it."""
    pages = {
        "/admin/": '<a href="/admin/run/7/">A run</a>',
        "/admin/run/7/": f'<p title="{html.escape(canary)}">A run</p>',
    }

    def show(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, html=pages[request.url.path])

    visitor = Visitor("http://coordinator", httpx.MockTransport(show))
    searched.pages.extend(pages_of(visitor, most=5))
    return ["/admin/run/7/"]


PLACES: Final = (
    Place(
        "the_database",
        database,
        plant_in_database,
        ("pooled", "second factor", "log_in", "olga"),
    ),
    Place(
        "the_coordinators_files",
        coordinators_files,
        plant_in_coordinators_files,
        ("SQLite format 3", "governance_auditentry"),
    ),
    Place("artefacts", artefacts, plant_in_artefacts, ("dtype",)),
    Place("brokers", broker_files, plant_in_brokers, ("fedcore.prepare", "fedcore.runs.train")),
    Place("logs", logs, plant_in_logs, ("Work ended with not_finite", "Not offered: [datasets.")),
    Place("arguments", arguments, plant_in_arguments, ("fedcore.owner.worker",)),
    Place("variables", variables, plant_in_variables, ("FEDCORE_OWNER_HOME=",)),
    Place(
        "error_replies",
        lambda searched: searched.replies,
        plant_in_replies,
        ("not_authenticated", "Wrong username"),
    ),
    Place("pages_and_reports", lambda searched: searched.pages, plant_in_pages, ("roc_auc", "</html>")),
    Place(
        "core_files",
        core_files,
        lambda searched, canary: planted(searched.hosts[0] / "core.4711", canary),
    ),
    Place(
        "temporary_files",
        temporary_files,
        lambda searched, canary: planted(searched.temporary / "fedcore-mock-x" / "sample.txt", canary),
    ),
    Place("spools", spools, plant_in_spools),
    Place("what_hosts_have_sent", sent, plant_in_sent, ("loss", "confusion", "artefacts")),
)


def canary() -> str:
    """A word that stands nowhere yet."""
    return f"canary-{secrets.token_hex(12)}"
