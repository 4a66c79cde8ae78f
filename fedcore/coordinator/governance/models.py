"""The tables of governance: `people` (organisations, people, keys), `logins` and `second_factor` (how people come in),
`lockouts`, `catalogue` (hosts, datasets), `access` (requests, grants), `thread` (what was said about a request),
`dry_runs`, `heads` (of the owners' ledgers), `notices` and `audit.entries`."""

from fedcore.coordinator.governance.access import (
    UNDECIDED,
    AccessRequest,
    Grant,
    HostStanding,
    Proposal,
    Release,
    RequestState,
)
from fedcore.coordinator.governance.audit.entries import AuditAddress, AuditEntry, AuditHead
from fedcore.coordinator.governance.catalogue import (
    Dataset,
    DatasetVersion,
    MockSample,
    OwnerHost,
    Sensitivity,
)
from fedcore.coordinator.governance.dry_runs import DryRun, DryRunState
from fedcore.coordinator.governance.heads import HostHead, HostHeadReceipt
from fedcore.coordinator.governance.lockouts import Lockout
from fedcore.coordinator.governance.logins import ApiToken, StoredSession
from fedcore.coordinator.governance.notices import Notice
from fedcore.coordinator.governance.people import Membership, Organisation, Person, PersonKey, Role
from fedcore.coordinator.governance.second_factor import SecondFactor
from fedcore.coordinator.governance.thread import Said, ThreadEntry

__all__ = [
    "UNDECIDED",
    "AccessRequest",
    "ApiToken",
    "AuditAddress",
    "AuditEntry",
    "AuditHead",
    "Dataset",
    "DatasetVersion",
    "DryRun",
    "DryRunState",
    "Grant",
    "HostHead",
    "HostHeadReceipt",
    "HostStanding",
    "Lockout",
    "Membership",
    "MockSample",
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
    "SecondFactor",
    "Sensitivity",
    "StoredSession",
    "ThreadEntry",
]
