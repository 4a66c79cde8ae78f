"""Reports: what an owner host answers to an order. Signed by the host, and evidence for the other owners.

A refusal or failure carries a code of `fedcore.wire.codes` and nothing else: no text of the host's own.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from fedcore.wire.catalogue import ColumnKind, MockRef, Sensitivity
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import Digest, Label, Message, Name, Prose, PublicKey, Remark, Seconds
from fedcore.wire.orders import ArtefactRef, OrderId, Phase
from fedcore.wire.signing import WIRE_VERSION, SignedMessage, WireVersion

Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
Base64 = Annotated[str, Field(max_length=4096, pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class Status(StrEnum):
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class Checked(Message):
    """The host takes part. `rows` is rounded as its policy says."""

    type: Literal["checked"] = "checked"
    rows: Count


class Offered(Message):
    """An ephemeral X25519 key for the agreement of the run's key."""

    type: Literal["offered"] = "offered"
    ephemeral: PublicKey


class SealedShare(Message):
    """A contribution to the run's key, sealed to one other owner."""

    to: PublicKey
    sealed: Base64


class Shared(Message):
    """Contributions to the run's key, one for each other owner, bound to the transcript."""

    type: Literal["shared"] = "shared"
    transcript: Digest
    shares: Annotated[tuple[SealedShare, ...], Field(max_length=64)]


class Confirmed(Message):
    """Proof (HMAC-SHA256) that the host holds the run's key."""

    type: Literal["confirmed"] = "confirmed"
    proof: Digest


class Summarised(Message):
    """One round of a fitted step; the summary is the report's artefact, sealed under the run's key."""

    type: Literal["summarised"] = "summarised"


class Settled(Message):
    """The digest of the fitted state that this host computed from all summaries."""

    type: Literal["settled"] = "settled"
    state: Digest


class Prepared(Message):
    """The protected training rows are in the report's artefacts (role `features`, or `shares` under `shared`)."""

    type: Literal["prepared"] = "prepared"
    rows: Count
    columns: Count
    plaintext_bytes: Count


class Dealt(Message):
    """The dealer's correlated randomness is in the report's artefacts (role `dealt`), sealed to the compute owners."""

    type: Literal["dealt"] = "dealt"


class TrainingCurve(Message):
    """Loss and accuracy on the training batches: one value for every `every` steps, their mean, in order.

    An owner host takes so many steps together that enough rows stand behind each value.
    """

    every: Annotated[int, Field(ge=1)]
    loss: Annotated[tuple[float, ...], Field(max_length=5000)]
    accuracy: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(max_length=5000)]
    epochs: Annotated[int, Field(ge=0)]
    steps: Annotated[int, Field(ge=0)]


class Trained(Message):
    """The host has trained the model. Under `reference` it is in the artefacts, sealed to each owner.

    In a run with an epsilon it says nothing about rows: `rows` is 0, and there is no curve.
    """

    type: Literal["trained"] = "trained"
    rows: Count
    curve: TrainingCurve | None


class Spent(Message):
    """The privacy that a run has cost at a host: epsilon in millionths at this delta, and the mechanisms in words."""

    epsilon_micro: Annotated[int, Field(gt=0, le=10**12)]
    delta: Annotated[float, Field(ge=0, lt=1)]
    mechanisms: Annotated[tuple[Label, ...], Field(min_length=1, max_length=16)]


class Evaluated(Message):
    """Integer score histograms by class over the rows that this host kept back.

    `histograms[c][k][b]` counts rows of class `k` whose score for class `c` fell into bin `b` (edges in
    `fedcore.plugin_api.evaluation`); with two classes only `c` = 1 is given. `confusion[k][p]` counts rows of
    class `k` predicted as `p`. With `spent` the counts have noise; without it no epsilon bounds what they tell.
    """

    type: Literal["evaluated"] = "evaluated"
    rows: Count
    histograms: Annotated[tuple[tuple[tuple[Count, ...], ...], ...], Field(min_length=1, max_length=64)]
    confusion: Annotated[tuple[tuple[Count, ...], ...], Field(min_length=2, max_length=64)]
    spent: Spent | None = None


class Closed(Message):
    """Temporary files are deleted; `kept` says whether key and model stay for predictions."""

    type: Literal["closed"] = "closed"
    kept: bool


Result = Annotated[
    Checked
    | Offered
    | Shared
    | Confirmed
    | Summarised
    | Settled
    | Prepared
    | Dealt
    | Trained
    | Evaluated
    | Closed,
    Field(discriminator="type"),
]
RESULT_TYPES: dict[Phase, type[Message]] = {
    Phase.CHECK: Checked,
    Phase.OFFER: Offered,
    Phase.SHARE: Shared,
    Phase.CONFIRM: Confirmed,
    Phase.SUMMARISE: Summarised,
    Phase.SETTLE: Settled,
    Phase.PREPARE: Prepared,
    Phase.DEAL: Dealt,
    Phase.TRAIN: Trained,
    Phase.EVALUATE: Evaluated,
    Phase.CLOSE: Closed,
}


class Report(SignedMessage):
    """The answer to one order. `seconds` holds wall times by stage, for the comparison report."""

    KIND: ClassVar[str] = "report"

    version: WireVersion = WIRE_VERSION
    order: OrderId
    run: Digest
    phase: Phase
    step: Annotated[int, Field(ge=0, le=31)] = 0
    round: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    status: Status
    code: RefusalCode | None = None
    result: Result | None = None
    artefacts: Annotated[tuple[ArtefactRef, ...], Field(max_length=10_000)] = ()
    seconds: dict[Name, Annotated[float, Field(ge=0, le=1e9)]] = Field(default_factory=dict)
    finished_at: Seconds

    @model_validator(mode="after")
    def _consistent(self) -> Report:
        if self.status is Status.DONE:
            if type(self.result) is not RESULT_TYPES[self.phase] or self.code is not None:
                raise ValueError("A report that is done carries the result of its phase, and no code.")
        elif self.code is None or self.result is not None or self.artefacts:
            raise ValueError("A report that is refused or failed carries a code, and nothing else.")
        return self


class DatasetOffer(Message):
    """What the catalogue may know of one dataset: description, terms and schema, never rows.

    A column without a kind holds text. Everything that its owner does not say is empty.
    """

    name: Name
    version: Digest
    title: Label
    description: Annotated[Prose, Field(max_length=4000)] = ""
    reader: Name
    columns: Annotated[tuple[Name, ...], Field(min_length=1, max_length=256)]
    column_kinds: dict[Name, ColumnKind] = Field(default_factory=dict)
    column_notes: dict[Name, Remark] = Field(default_factory=dict)
    classes: Annotated[tuple[Name, ...], Field(max_length=64)]
    rows: Count
    licence: Remark = ""
    terms: Annotated[Prose, Field(max_length=4000)] = ""
    sensitivity: Sensitivity = Sensitivity.CONFIDENTIAL
    price: Remark = ""
    contact: Remark = ""
    retention: date | None = None
    mock: MockRef | None = None

    @model_validator(mode="after")
    def _columns_are_known(self) -> DatasetOffer:
        if (self.column_kinds.keys() | self.column_notes.keys()) - set(self.columns):
            raise ValueError("Kinds and notes belong to columns of the dataset.")
        return self


class Announcement(SignedMessage):
    """The datasets that a host offers now, by name and version, and the plugins that it has installed."""

    KIND: ClassVar[str] = "announcement"

    version: WireVersion = WIRE_VERSION
    datasets: Annotated[tuple[DatasetOffer, ...], Field(max_length=1000)]
    announced_at: Seconds
