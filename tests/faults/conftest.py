"""One federation of real processes for all tests that need one; every test leaves it working."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fedcore.client import RunPlan
from tests.faults.federation import Federation, federation

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


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with federation(tmp_path_factory.mktemp("federation") / "f") as found:
        found.make_hosts()
        for owner in found.cast.owners:
            log = owner.directory / "access.log"
            log.write_text(log.read_text().replace("GET /", f"GET /{CANARY}/", 200))
        found.start_all()
        pooled = found.plan()
        local = pooled.as_local()
        yield Running(found, local, pooled, found.grants(pooled, local))
