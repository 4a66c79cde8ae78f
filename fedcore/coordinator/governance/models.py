"""The tables of governance: `people` (organisations, people, keys), `catalogue` (hosts, datasets), `access` (requests,
grants), `thread` (what was said about a request) and `notices`."""

from fedcore.coordinator.governance.access import (
    UNDECIDED,
    AccessRequest,
    Grant,
    Proposal,
    Release,
    RequestState,
)
from fedcore.coordinator.governance.catalogue import Dataset, OwnerHost
from fedcore.coordinator.governance.notices import Notice
from fedcore.coordinator.governance.people import Membership, Organisation, Person, PersonKey, Role
from fedcore.coordinator.governance.thread import Said, ThreadEntry

__all__ = [
    "UNDECIDED",
    "AccessRequest",
    "Dataset",
    "Grant",
    "Membership",
    "Notice",
    "Organisation",
    "OwnerHost",
    "Person",
    "PersonKey",
    "Proposal",
    "Release",
    "RequestState",
    "Role",
    "Said",
    "ThreadEntry",
]
