"""The tables of governance: `people` (organisations, people, keys), `catalogue` (hosts, datasets) and `access`."""

from fedcore.coordinator.governance.access import (
    AccessRequest,
    Grant,
    HostStanding,
    Release,
    RequestState,
)
from fedcore.coordinator.governance.catalogue import Dataset, OwnerHost
from fedcore.coordinator.governance.people import Membership, Organisation, Person, PersonKey, Role

__all__ = [
    "AccessRequest",
    "Dataset",
    "Grant",
    "HostStanding",
    "Membership",
    "Organisation",
    "OwnerHost",
    "Person",
    "PersonKey",
    "Release",
    "RequestState",
    "Role",
]
