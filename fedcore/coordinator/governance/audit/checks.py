"""Looking for the triggers: after migrations, in `manage.py check --database default`, and when a process starts."""

from __future__ import annotations

import logging
from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import DatabaseError, connections

from fedcore.coordinator.governance.audit import triggers
from fedcore.coordinator.governance.audit.entries import AuditEntry, AuditHead

logger = logging.getLogger(__name__)


@register(Tags.database)
def check_triggers(databases: Any = None, **context: Any) -> list[CheckMessage]:
    """`governance.W001` where the database would let entries of the audit be changed.

    No error: that would stop `migrate`, which puts the triggers back.
    """
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        absent = triggers.missing(connection)
        if absent and triggers.TABLE in connection.introspection.table_names():
            found.append(
                Warning(
                    f"The table {triggers.TABLE} lacks the triggers {', '.join(absent)}.",
                    hint="Run `python manage.py migrate`, which puts them back, and `python manage.py audit verify`.",
                    id="governance.W001",
                )
            )
    return found


def put_back(sender: Any, using: str, verbosity: int = 1, **context: Any) -> None:
    """After every migration: the triggers are there, also where a table was rewritten, and so is the first head."""
    connection = connections[using]
    installed = triggers.install(connection)
    if (
        triggers.TABLE in connection.introspection.table_names()
        and not AuditEntry.objects.using(using).exists()
    ):
        # Made here and not by the first who appends: several would, and wait for each other in a circle.
        AuditHead.objects.using(using).get_or_create(pk=1)
    if installed and verbosity >= 1:
        logger.info("Triggers of the audit made: %s", ", ".join(installed))


def refuse_to_start_without_triggers(**context: Any) -> None:
    """Raise `TriggersMissing`. A database that does not answer, or has no tables yet, is no reason not to start.

    Whoever starts then still records nothing before the triggers were seen: the first entry looks for them.
    """
    connection = connections["default"]
    try:
        absent = triggers.missing(connection)
        if absent and triggers.TABLE in connection.introspection.table_names():
            raise triggers.TriggersMissing(absent)
    except DatabaseError as error:
        logger.warning("The audit's triggers could not be looked for: %s", error)
    finally:
        if not connection.in_atomic_block:
            connection.close()


def end_worker_without_triggers(**context: Any) -> None:
    """The same for a Celery worker, whose signals log errors and go on."""
    try:
        refuse_to_start_without_triggers()
    except triggers.TriggersMissing as error:
        raise SystemExit(str(error)) from None
