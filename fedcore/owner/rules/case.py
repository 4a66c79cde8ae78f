"""What a rule is given, and how it answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fedcore.owner.config import Config, Dataset
from fedcore.owner.facts import Allowed, DatasetFacts, Decision, Facts, GrantFacts, PluginFacts, Refused
from fedcore.owner.limits import Limits
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
    """Work on data of this host: the dataset as the policy offers it, the run names it, and it lies on the disk.

    `grant` is what the order says, `held` what this host knows of the same grant.
    """

    offer: Dataset
    named: DatasetVersion
    found: DatasetFacts
    grant: Grant
    request: AccessRequest
    held: GrantFacts

    @property
    def limits(self) -> Limits:
        """How far the grant goes: what was asked for, granted, and is left of it on this host."""
        return granted_limits(self.request, self.grant, self.held)

    def organisation_of(self, host: str) -> str:
        """The organisation of a host of the run, as it is compared."""
        peer = self.policy.peer(host)
        name = self.policy.organisation if host == self.facts.host else peer.organisation if peer else host
        return compared(name)

    @property
    def subject(self) -> str:
        return f"[datasets.{self.named.name}]"

    @property
    def releases(self) -> int:
        """How many runs the grant covers here."""
        return covered_runs(self.limits, self.offer)


def compared(organisation: str) -> str:
    """The name as it is compared: case and spaces do not make another organisation."""
    return " ".join(organisation.casefold().split())


def granted_limits(request: AccessRequest, grant: Grant, held: GrantFacts) -> Limits:
    """The narrowest of what was asked for, what the order says was granted, and what this host knows."""
    return Limits.of_grant(grant).within(Limits.of_request(request)).within(held.limits)


def covered_runs(limits: Limits, offer: Dataset) -> int:
    """How many runs a grant with these limits covers here: no more than the policy allows."""
    return min(limits.releases, offer.releases)


def require(holds: bool, code: RefusalCode, why: str) -> Decision:
    return Allowed() if holds is True else Refused(code, why)


def listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
