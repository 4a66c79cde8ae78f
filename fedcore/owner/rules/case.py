"""What a rule is given, and how it answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fedcore.owner.config import Config, Dataset
from fedcore.owner.facts import Allowed, DatasetFacts, Decision, Facts, PluginFacts, Refused
from fedcore.wire.access import AccessRequest, Grant
from fedcore.wire.codes import RefusalCode
from fedcore.wire.spec import DatasetVersion


@dataclass(frozen=True)
class Case:
    """An order, and the policy of the host that decides on it."""

    facts: Facts
    policy: Config


@dataclass(frozen=True)
class Work(Case):
    """An order to do something, and what is installed here to do it with."""

    plugins: PluginFacts


@dataclass(frozen=True)
class OwnerWork(Work):
    """Work on data of this host: the dataset as the policy offers it, the run names it, and it lies on the disk."""

    offer: Dataset
    named: DatasetVersion
    found: DatasetFacts
    grant: Grant
    request: AccessRequest

    @property
    def subject(self) -> str:
        return f"[datasets.{self.named.name}]"

    @property
    def releases(self) -> int:
        """How many runs the grant covers."""
        return covered_runs(self.request, self.grant, self.offer)


def covered_runs(request: AccessRequest, grant: Grant, offer: Dataset) -> int:
    """How many runs a grant covers here: the least of what was asked, granted, and allowed by the policy."""
    return min(request.releases, grant.releases, offer.releases)


def require(holds: bool, code: RefusalCode, why: str) -> Decision:
    return Allowed() if holds is True else Refused(code, why)


def listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
