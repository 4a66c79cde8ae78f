"""The coordinator's own tests on the database servers that it supports beside SQLite.

Each server gets a database of its own, which is deleted at the end. The chosen tests are those of everything that
locks, counts, orders or stores: requests and decisions, runs, orders, reports, artefacts, and whole runs.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.xdist_group("services")]

ROOT: Final = Path(__file__).resolve().parents[2]
SECONDS: Final = 400
CHOSEN: Final = (
    *("test_requests.py", "test_decisions.py", "test_catalogue.py", "runs/test_submission.py"),
    *("runs/test_host_orders.py", "runs/test_host_reports.py", "runs/test_host_artefacts.py"),
    *("runs/test_advance.py", "runs/test_flow_of_runs.py"),
    *("audit/test_append_only.py", "audit/test_recording.py", "audit/test_chain.py"),
    *("audit/test_what_is_recorded.py", "audit/test_command.py"),
)
LEFT_OUT: Final = "mutated or options or refused_with or twice_at_each_stage"
"""Many messages that are refused before a database is asked, and what whole runs show as well."""


@pytest.fixture
def name() -> str:
    return f"fedcore_{secrets.token_hex(6)}"


@pytest.fixture
def postgresql(name: str) -> Iterator[str]:
    import psycopg

    def connect() -> Any:
        return psycopg.connect(host="127.0.0.1", user="postgres", autocommit=True, connect_timeout=3)

    yield from _address(connect, psycopg.Error, f"postgres://postgres@127.0.0.1:5432/{name}", name)


@pytest.fixture
def mariadb(name: str) -> Iterator[str]:
    import pymysql

    def connect() -> Any:
        return pymysql.connect(host="127.0.0.1", user="root", autocommit=True, connect_timeout=3)

    yield from _address(connect, pymysql.Error, f"mysql://root@127.0.0.1:3306/{name}", name)


def test_the_coordinator_works_on_postgresql(postgresql: str, tmp_path: Path) -> None:
    _run_the_coordinators_tests(postgresql, tmp_path)


def test_the_coordinator_works_on_mariadb(mariadb: str, tmp_path: Path) -> None:
    _run_the_coordinators_tests(mariadb, tmp_path)


def _run_the_coordinators_tests(address: str, tmp_path: Path) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "BROKER_URL"))}
    environment = kept | {"DATABASE_URL": address, "FEDCORE_DATA_DIR": str(tmp_path / "data")}
    files = [f"tests/coordinator/{name}" for name in CHOSEN]
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", "--create-db", "-k", f"not ({LEFT_OUT})"]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", *files, *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    assert " passed" in found.stdout


def _address(connect: Callable[[], Any], error: type[Exception], address: str, name: str) -> Iterator[str]:
    """The address for `DATABASE_URL`. Whatever was made under it is gone afterwards, also when a test was killed."""
    server = address.split("@")[1].split("/")[0]
    try:
        connection = connect()
    except error as reason:
        pytest.skip(f"No database server answers at {server}: {reason}")
    with connection:
        yield address
    with connect() as again, again.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS test_{name}")
