"""What the policy decides on, and what it answers: frozen values without behaviour of their own.

Signatures are verified before facts are made: those on the order, on the run spec inside it, and on the
access request inside its grant; `spec` and `request` are what these signed texts say.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from fedcore.owner.config import Config
from fedcore.owner.limits import Limits
from fedcore.plugin_api.backends import BackendStatus, KeyHolders, Leak
from fedcore.wire.access import AccessRequest
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Order, Phase, PluginPin
from fedcore.wire.spec import Protocol, RunSpec


class Role(StrEnum):
    """As what this host takes part in a run: with data of its own, as its reference host, or as its dealer."""

    OWNER = "owner"
    REFERENCE = "reference"
    DEALER = "dealer"


@dataclass(frozen=True)
class Allowed:
    """Every rule allows the order."""


@dataclass(frozen=True)
class Refused:
    """A rule refuses. `code` may leave the host; `why` (rule, subject, fix) stays in journal and log."""

    code: RefusalCode
    why: str


Decision = Allowed | Refused


class Done(NamedTuple):
    """An order that this host has answered with `done`, in one run."""

    phase: Phase
    step: int = 0
    round: int = 0


@dataclass(frozen=True)
class BackendFacts:
    """What the run's encryption backend declares."""

    renames_only: bool
    key_holders: KeyHolders
    leakage: frozenset[Leak]
    minimum_owners: int
    status: BackendStatus
    shares: bool


@dataclass(frozen=True)
class PluginFacts:
    """What is installed here of what the run uses.

    `pins` identify the installed plugins, `character_steps` names the pipeline's steps whose tokens are pieces of
    words, and `fitted` maps the places of its fitted steps, in order, to their number of rounds. `unbounded` says why
    nothing bounds what the run would tell of a row, and is empty where its epsilon is kept.
    """

    pins: tuple[PluginPin, ...]
    character_steps: tuple[str, ...]
    fitted: tuple[tuple[int, int], ...]
    backend: BackendFacts
    unbounded: str = ""


@dataclass(frozen=True)
class DatasetFacts:
    """The dataset as it lies on the disk now: the digest that is its version, its number of rows, and of classes."""

    version: str
    rows: int
    classes: int = 2


@dataclass(frozen=True)
class LedgerFacts:
    """What the privacy ledger says.

    `held` is why it reserves nothing, and empty where it does; `receipt_age` is how many seconds ago a peer confirmed
    that it is current, `None` where none has. `grant_micro` and `dataset_micro` are the epsilon, in millionths, that
    grant and dataset have cost once this run is booked; `None` where that has no bound, or nothing limits it.
    """

    held: str = ""
    receipt_age: int | None = None
    grant_micro: int | None = None
    dataset_micro: int | None = None


class Ruling(StrEnum):
    """What was decided about a grant on this host. The last two are final."""

    CONFIRMED = "confirmed"
    REFUSED = "refused"
    REVOKED = "revoked"

    @property
    def is_final(self) -> bool:
        return self is not Ruling.CONFIRMED


@dataclass(frozen=True)
class GrantFacts:
    """What this host holds of a grant: the narrowest limits that it was ever told or that a person here has set.

    `scientist` is the key that signed the request when this host first saw it, at `received_at`. `character_steps`
    names the steps of the requested pipelines whose tokens are pieces of words, where a backend that was asked for
    merely renames tokens.
    """

    scientist: str
    limits: Limits
    ruling: Ruling | None
    received_at: int
    character_steps: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Everything that a decision depends on, for one order.

    `order_signer` signed the order. `request` is the access request of the order's grant, `None` where it has no
    grant. `held` is what this host has kept of that grant, `Refused` where it can be none of this host's. `plugins`
    is `Refused` where a plugin of the run is missing or its options are invalid; `dataset` likewise where it cannot
    be read, and `None` where there is none of this name, as at a reference host. `releases_spent` counts the other
    runs that this grant has covered; `counted` says that this run is counted already; `ledger` says what the privacy
    ledger knows besides. `policy` is `None` where `owner.toml` is missing or broken. `now` is this host's clock.
    """

    order: Order
    order_signer: str
    spec: RunSpec
    request: AccessRequest | None
    held: GrantFacts | Refused | None
    host: str
    role: Role
    policy: Config | None
    now: int
    dataset: DatasetFacts | Refused | None
    plugins: PluginFacts | Refused
    releases_spent: int
    counted: bool
    done: frozenset[Done]
    ledger: LedgerFacts = LedgerFacts()

    @property
    def scientist(self) -> str:
        """The key that signed the run spec."""
        return self.order.spec.signer

    @property
    def key_is_agreed(self) -> bool:
        """Whether the owners of this run agree on a key: for the backend, or to seal what is summed over owners."""
        if self.spec.protocol is Protocol.LOCAL or isinstance(self.plugins, Refused):
            return False
        return self.plugins.backend.key_holders is KeyHolders.OWNERS or bool(self.plugins.fitted)
