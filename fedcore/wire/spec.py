"""The run spec: one training, from data to model, as the scientist signs it.

The digest of the signed text is the run's id. Owners receive the text unchanged, so that whatever runs is
what the scientist asked for, and whoever wants to change a word needs the scientist's key.
"""

from __future__ import annotations

import hashlib
import json
import re
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from fedcore.wire.encoding import LINES, ONE_LINE, Digest, Label, Message, Name, PublicKey, Seconds
from fedcore.wire.signing import WIRE_VERSION, SignedMessage, WireVersion


def _without_controls(value: JsonValue) -> JsonValue:
    """Texts of options are shown to the people who decide on them: none has control characters but lines and tabs."""
    match value:
        case str() if not _PRINTED.match(value):
            raise ValueError("An option's text has a control character.")
        case list():
            for item in value:
                _without_controls(item)
        case dict():
            for name, item in value.items():
                _without_controls(name)
                _without_controls(item)
    return value


_PRINTED: Final = re.compile(LINES)
Options = dict[
    Annotated[str, Field(max_length=63, pattern=ONE_LINE)],
    Annotated[JsonValue, AfterValidator(_without_controls)],
]
Nonce = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Protocol(StrEnum):
    """Who computes what. See the documentation's page on protocols."""

    LOCAL = "local"
    REFERENCE = "reference"
    POOLED = "pooled"
    SHARED = "shared"


class PluginChoice(Message):
    """A plugin by name, with its options."""

    name: Name
    options: Options = Field(default_factory=dict)


class Pipeline(Message):
    """Ordered preprocessing steps with their options."""

    steps: Annotated[tuple[PluginChoice, ...], Field(min_length=1, max_length=32)]

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the steps (sorted names, no spaces): the pipeline's identity."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class DatasetVersion(Message):
    """One version of one dataset at one owner host. `version` is the digest of schema and content."""

    host: PublicKey
    name: Name
    version: Digest


class EarlyStopping(Message):
    """Stop when the loss on rows kept back from training has not fallen by `minimum` for `patience` epochs."""

    patience: Annotated[int, Field(ge=1, le=1000)] = 3
    minimum: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1


class Training(Message):
    """How the model is trained: the same words as in a torch script.

    `optimiser` and `scheduler` name classes of `torch.optim` and `torch.optim.lr_scheduler`; `loss` is one of
    the model type's losses. `class_weights` is `"balanced"`, one weight per class, or nothing. What is
    left over of an epoch's rows belongs to its last batch, so no batch has fewer than `batch_size`.
    """

    optimiser: PluginChoice = PluginChoice(name="adam", options={"lr": 0.01})
    scheduler: PluginChoice | None = None
    loss: Name = "cross_entropy"
    class_weights: Literal["balanced"] | tuple[Annotated[float, Field(gt=0, le=1e6)], ...] | None = None
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 5
    early_stopping: EarlyStopping | None = None
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    precision: Literal["float32", "float64"] = "float32"


MicroEpsilon = Annotated[int, Field(gt=0, le=10**12)] | Literal["none"]
"""An epsilon in millionths, or `none`: no promise."""


def in_millionths(epsilon: float) -> int:
    """An epsilon that somebody asks for or sets, to the nearest millionth."""
    return round(epsilon * 1_000_000)


class Privacy(Message):
    """The privacy limit that the run asks for: `none`, or epsilon in millionths with its delta."""

    epsilon_micro: MicroEpsilon = "none"
    delta: Annotated[float, Field(ge=0, lt=1)] = 0.0


class RunSpec(SignedMessage):
    """Everything about one run. Signed by the scientist; its digest is the run's id."""

    KIND: ClassVar[str] = "run-spec"

    version: WireVersion = WIRE_VERSION
    title: Label
    purpose: Name
    datasets: Annotated[tuple[DatasetVersion, ...], Field(min_length=1, max_length=64)]
    first_rows: Annotated[int, Field(ge=1)] | None = None
    pipeline: Pipeline
    protocol: Protocol
    backend: PluginChoice
    model: PluginChoice
    training: Training = Training()
    privacy: Privacy = Privacy()
    minimum_owners: Annotated[int, Field(ge=1, le=64)] = 1
    reference_host: PublicKey | None = None
    dealer: PublicKey | None = None
    grants: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=64)]
    submitted_at: Seconds
    deadline: Seconds
    nonce: Nonce

    @model_validator(mode="after")
    def _consistent(self) -> RunSpec:
        if len(set(self.hosts)) != len(self.datasets):
            raise ValueError("A run takes one dataset of each owner: an owner host appears twice.")
        if len(self.grants) != len(self.datasets):
            raise ValueError("A run names one grant for each dataset, in the order of the datasets.")
        if (self.reference_host is not None) != (self.protocol is Protocol.REFERENCE):
            raise ValueError("A reference host belongs to the protocol `reference`, and to it alone.")
        if (self.dealer is not None) != (self.protocol is Protocol.SHARED):
            raise ValueError("A dealer belongs to the protocol `shared`, and to it alone.")
        if self.protocol is Protocol.SHARED and (len(self.hosts) < 2 or self.dealer in self.hosts):
            raise ValueError("Under `shared` two owners or more take part, and the dealer is another host.")
        if self.deadline <= self.submitted_at:
            raise ValueError("The deadline lies after the submission.")
        return self

    @property
    def hosts(self) -> tuple[str, ...]:
        """The signing keys of the owners that take part, in the order of the datasets."""
        return tuple(dataset.host for dataset in self.datasets)

    @property
    def members(self) -> tuple[str, ...]:
        """The signing keys of all hosts of the run: its owners, its reference host, its dealer."""
        others = (host for host in (self.reference_host, self.dealer) if host is not None)
        return (*self.hosts, *others)

    @property
    def compute_owners(self) -> tuple[str, ...]:
        """The owners that compute on shares under `shared`: the first two of the spec. Else nobody."""
        return self.hosts[:2] if self.protocol is Protocol.SHARED else ()

    def dataset_of(self, host: str) -> DatasetVersion | None:
        """The dataset that the owner host with this signing key brings, if it takes part."""
        return next((dataset for dataset in self.datasets if dataset.host == host), None)

    def grant_of(self, host: str) -> str | None:
        """The digest of the access request that covers this host's dataset, if it takes part."""
        return dict(zip(self.hosts, self.grants, strict=True)).get(host)
