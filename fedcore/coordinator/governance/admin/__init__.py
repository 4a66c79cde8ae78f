"""The admin of governance: `base` derives permissions from roles, the others show one subject each."""

from fedcore.coordinator.governance.admin import access, audit, catalogue, lockouts, notices, people

__all__ = ["access", "audit", "catalogue", "lockouts", "notices", "people"]
