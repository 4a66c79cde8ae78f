"""What tests of the audit need: entries that were made, and a way around the model that only an attacker takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from fedcore.coordinator.governance.audit import verifying
from fedcore.coordinator.governance.audit.triggers import TABLE
from fedcore.coordinator.governance.models import AuditEntry
from fedcore.coordinator.identity import coordinator_key
from tests.coordinator.runs.conftest import pooled, rung, world

__all__ = ["pooled", "rung", "world"]


@pytest.fixture
def sql() -> Callable[..., int]:
    """Runs a statement on the table of entries, and says how many rows it changed."""

    def run(statement: str, *values: Any) -> int:
        with connection.cursor() as cursor:
            cursor.execute(statement.replace("TABLE", TABLE), values)
            return int(cursor.rowcount)

    return run


@pytest.fixture
def verified() -> Callable[..., verifying.Verified]:
    """Verifies with the coordinator's key."""

    def verify(known_head: str | None = None, start: int = 1) -> verifying.Verified:
        return verifying.verify({coordinator_key().public}, known_head, start)

    return verify


@pytest.fixture
def since() -> Callable[..., list[AuditEntry]]:
    """The entries that were made since the fixture was asked for."""
    after = AuditEntry.objects.order_by("serial").values_list("serial", flat=True).last() or 0

    def found(**filters: Any) -> list[AuditEntry]:
        return list(AuditEntry.objects.filter(serial__gt=after, **filters).order_by("serial"))

    return found
