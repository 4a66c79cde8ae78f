"""What has to hold before a web process answers anybody."""

from __future__ import annotations


def check_database() -> None:
    """Raise where the database would let entries of the audit be changed. Call it when Django is set up."""
    from fedcore.coordinator.governance.audit.checks import refuse_to_start_without_triggers

    refuse_to_start_without_triggers()
