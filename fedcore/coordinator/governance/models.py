"""The tables of governance: `people` (organisations, people, keys), `logins` and `second_factor` (how people come in),
`lockouts`, `catalogue` (hosts, datasets) and `access`."""

from fedcore.coordinator.governance.access import AccessRequest, Grant, Release, RequestState
from fedcore.coordinator.governance.catalogue import Dataset, OwnerHost
from fedcore.coordinator.governance.lockouts import Lockout
from fedcore.coordinator.governance.logins import ApiToken, StoredSession
from fedcore.coordinator.governance.people import Membership, Organisation, Person, PersonKey, Role
from fedcore.coordinator.governance.second_factor import SecondFactor

__all__ = [
    "AccessRequest",
    "ApiToken",
    "Dataset",
    "Grant",
    "Lockout",
    "Membership",
    "Organisation",
    "OwnerHost",
    "Person",
    "PersonKey",
    "Release",
    "RequestState",
    "Role",
    "SecondFactor",
    "StoredSession",
]
