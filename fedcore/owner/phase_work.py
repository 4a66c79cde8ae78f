"""What a phase is given and what it answers; the means of this host that phases use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fedcore.owner.booking import Booking
from fedcore.owner.config import Config, Dataset
from fedcore.owner.coordinator_api import CoordinatorApi, CoordinatorRefused
from fedcore.owner.datasets import Datasets
from fedcore.owner.evidence import Evidence
from fedcore.owner.facts import Role
from fedcore.owner.grants import GrantStore
from fedcore.owner.home import Home
from fedcore.owner.isolation import WorkFailed
from fedcore.owner.orders import OrderStore
from fedcore.owner.run_folder import RunFolder
from fedcore.owner.shards import Bell
from fedcore.owner.spool import OrderSpool
from fedcore.plugin_api.pipeline import BuiltPipeline
from fedcore.plugin_api.registry import Registry
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import Message, WireError
from fedcore.wire.orders import ArtefactRef, Order
from fedcore.wire.spec import RunSpec


class HostStopping(Exception):
    """The agent stops while work is under way: the order stays reserved, and is done again by the next agent."""


@dataclass(frozen=True)
class Outcome:
    """What a phase has come to: the report's result, and artefacts that lie in the order's spool.

    `rows` is the number of rows that stand behind it, or None where it says nothing about rows. What is `held` waits
    for a person before it leaves.
    """

    result: Message
    artefacts: tuple[ArtefactRef, ...] = ()
    rows: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    held: bool = False


@dataclass(frozen=True)
class Means:
    """What this host has to work with, for one order."""

    home: Home
    policy: Config
    registry: Registry
    datasets: Datasets
    store: OrderStore
    grants: GrantStore
    booking: Booking
    api: CoordinatorApi
    bell: Bell
    stopping: threading.Event


@dataclass(frozen=True)
class PhaseWork:
    """One allowed order, with all that its phase needs."""

    means: Means
    order: Order
    spec: RunSpec
    role: Role
    host: str
    evidence: Evidence
    folder: RunFolder
    spool: OrderSpool
    key_is_agreed: bool

    @property
    def run(self) -> str:
        return self.order.run

    @property
    def roster(self) -> tuple[str, ...]:
        """The owners of the run, in the order of the spec."""
        return self.spec.hosts

    @property
    def offer(self) -> Dataset:
        """What the policy says of the run's dataset at this host."""
        return self.means.policy.datasets[self.dataset_name]

    @property
    def dataset_name(self) -> str:
        dataset = self.spec.dataset_of(self.host)
        if dataset is None:
            raise LookupError("This host brings no dataset to the run.")
        return dataset.name

    def go_on(self) -> None:
        """Raise `HostStopping`, or `WorkFailed` where the run was closed (`cancelled`) or its grant revoked
        (`grant_revoked`) while this is under way."""
        if self.means.stopping.is_set():
            raise HostStopping
        if self.means.store.is_closing(self.run):
            raise WorkFailed(RefusalCode.CANCELLED)
        if self.order.grant is not None and self.means.grants.is_over(self.order.grant.request.digest):
            raise WorkFailed(RefusalCode.GRANT_REVOKED)

    def pipeline(self) -> BuiltPipeline:
        """The run's pipeline, for its structure: it holds no key."""
        return BuiltPipeline(self.means.registry, self.spec.pipeline, self.spec.backend)

    def download(self, ref: ArtefactRef) -> Path:
        """The bytes of an artefact that another side has made, in this order's spool. Raises `WireError`."""
        path = self.spool.inputs / ref.digest
        try:
            self.means.api.download(self.order.id, ref, path)
        except CoordinatorRefused as error:
            raise WireError(
                RefusalCode.ARTEFACT_INVALID, f"{ref.digest} cannot be fetched: {error}"
            ) from None
        return path


Carry = Callable[[PhaseWork], Outcome]
"""Carries out one phase. Raises `WireError` or `WorkFailed` with a code, anything else being unexpected."""
