"""The tables of governance: `people` (organisations, people, keys), `catalogue` (hosts, datasets), `access` and
`dry_runs`."""

from fedcore.coordinator.governance.access import AccessRequest, Grant, Release, RequestState
from fedcore.coordinator.governance.catalogue import (
    Dataset,
    DatasetVersion,
    MockSample,
    OwnerHost,
    Sensitivity,
)
from fedcore.coordinator.governance.dry_runs import DryRun, DryRunState
from fedcore.coordinator.governance.people import Membership, Organisation, Person, PersonKey, Role

__all__ = [
    "AccessRequest",
    "Dataset",
    "DatasetVersion",
    "DryRun",
    "DryRunState",
    "Grant",
    "Membership",
    "MockSample",
    "Organisation",
    "OwnerHost",
    "Person",
    "PersonKey",
    "Release",
    "RequestState",
    "Role",
    "Sensitivity",
]
