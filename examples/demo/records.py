"""The records that nobody can alter unnoticed: the owners' ledgers and journals, and the coordinator's audit."""

from __future__ import annotations

import sys
from typing import Final

from examples.demo.coordinator import environment_of
from examples.demo.organisations import Organisation
from examples.demo.processes import Process
from examples.demo.stage import Stage
from examples.demo.telling import shortened

OF_HOSTS: Final = ("ledger", "journal")


def show_ledger(stage: Stage) -> None:
    """What the first owner's data has cost in privacy, and what is left."""
    stage.show_at_host(stage.cast.owners[0], "ledger", "show", "--last", "0")


def verify(stage: Stage) -> None:
    """Check every record with the command of whoever keeps it. Raises `DemoError` if one is broken."""
    checks = [
        (owner, f"fedcore-owner {record} verify", stage.start_at_host(owner, record, "verify"))
        for owner in stage.cast.owners
        for record in OF_HOSTS
    ]
    house = stage.cast.operator
    checks.append((house, "manage.py audit verify", _start_audit(stage, house)))
    for organisation, command, process in checks:
        output = shortened(stage.processes.finish(process)).splitlines()
        stage.teller.does(organisation.title, f"{command:<29}{output[0]}")


def _start_audit(stage: Stage, house: Organisation) -> Process:
    command, log = [sys.executable, "manage.py", "audit", "verify"], house.log / "audit-verify.log"
    environment = environment_of(house)
    return stage.processes.start("manage.py audit verify", house.name, command, environment, log)
