"""One federation of real processes for all tests that need one; every test leaves it working."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedcore.client import RunPlan
from tests.faults.federation import Federation, federation
from tests.faults.vault import install_reader
from tests.owner.cast import attack_lines, benign_lines

CANARY = "kanarienvogel7c1f"
"""A word in the rows of both owners, in training rows and in held-out ones. It must be found nowhere else."""


@dataclass
class Running:
    """The federation, Sam's two plans (each owner alone, and all together), and the grants that cover them."""

    federation: Federation
    local: RunPlan
    pooled: RunPlan
    grants: list[str]

    def submit(self, plan: RunPlan, seconds: int = 300) -> str:
        return self.federation.submit(plan, self.grants, seconds)


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """A directory for temporary files of its own; its path is short, as sockets need it."""
    folder, before = Path(tempfile.mkdtemp(prefix="faults-")), tempfile.tempdir
    tempfile.tempdir = str(folder)  # The tests look for a broker's socket where the processes put it.
    try:
        yield folder
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("federation")
    install_reader(place / "site")
    with temporary_directory() as temporary:
        variables = {"TMPDIR": str(temporary), "PYTHONPATH": str(place / "site")}
        with federation(place / "f", variables=variables) as found:
            found.make_hosts()
            for owner in found.cast.owners:
                log = owner.directory / "access.log"
                log.write_text(log.read_text().replace("GET /", f"GET /{CANARY}/", 200))
            for name, lines in (("good", benign_lines(400, 1)), ("bad", attack_lines(200, 2))):
                (found.north.directory / f"vault-{name}.txt").write_text(lines.replace("q=", f"q={CANARY}"))
            found.start_all()
            pooled = found.plan()
            local = pooled.as_local()
            yield Running(found, local, pooled, found.grants(pooled, local))
