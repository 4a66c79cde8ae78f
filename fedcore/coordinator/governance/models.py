"""The tables of governance: `people` (organisations, people, keys), `catalogue` (hosts, datasets), `access`, and
`audit.entries`.
"""

from fedcore.coordinator.governance.access import AccessRequest, Grant, Release, RequestState
from fedcore.coordinator.governance.audit.entries import AuditAddress, AuditEntry, AuditHead
from fedcore.coordinator.governance.catalogue import Dataset, OwnerHost
from fedcore.coordinator.governance.people import Membership, Organisation, Person, PersonKey, Role

__all__ = [
    "AccessRequest",
    "AuditAddress",
    "AuditEntry",
    "AuditHead",
    "Dataset",
    "Grant",
    "Membership",
    "Organisation",
    "OwnerHost",
    "Person",
    "PersonKey",
    "Release",
    "RequestState",
    "Role",
]
