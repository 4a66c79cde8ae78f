"""Orders: what the coordinator asks of an owner host, phase by phase.

An order carries the evidence that the host needs to decide alone: the scientist's signed run spec, the
scientist's signed access request, and the signed reports of the other owners. The coordinator's own
signature only proves who sent it.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from fedcore.wire.access import Grant
from fedcore.wire.encoding import Digest, Label, Message, Name, PublicKey, Seconds
from fedcore.wire.signing import WIRE_VERSION, Signed, SignedMessage, WireVersion

OrderId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
MAXIMUM_ARTEFACT_BYTES = 4 * 1024**3


class Phase(StrEnum):
    """The steps of a run at an owner host, in their order."""

    CHECK = "check"
    OFFER = "offer"
    SHARE = "share"
    CONFIRM = "confirm"
    SUMMARISE = "summarise"
    SETTLE = "settle"
    PREPARE = "prepare"
    DEAL = "deal"
    TRAIN = "train"
    EVALUATE = "evaluate"
    CLOSE = "close"


class PluginPin(Message):
    """A plugin as the run requires it: its group, name, version and the digest of its installed files."""

    group: Name
    name: Name
    version: Label
    digest: Digest


class ArtefactRef(Message):
    """Bytes in transit: what they are, their SHA-256 and size, and to whom they are sealed.

    `audience` is a host's signing key, or nothing when the coordinator reads them. `part` numbers the parts of
    one artefact from 0.
    """

    role: Name
    part: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    digest: Digest
    size: Annotated[int, Field(ge=0, le=MAXIMUM_ARTEFACT_BYTES)]
    audience: PublicKey | None = None


class Order(SignedMessage):
    """Do this phase of this run. `step` is the pipeline's step that is fitted, `round` its round.

    `evidence` holds signed reports of the preceding phase; `artefacts` names bytes that come from the
    coordinator itself (a pooled model). `keep` belongs to `close`: whether the run's key stays, for
    predictions with the finished model, or is destroyed; `deleted` belongs to it too: the digests of this host's
    artefacts that the coordinator has deleted, so that the signed order is the host's receipt.
    """

    KIND: ClassVar[str] = "order"

    version: WireVersion = WIRE_VERSION
    id: OrderId
    phase: Phase
    step: Annotated[int, Field(ge=0, le=31)] = 0
    round: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    audience: PublicKey
    run: Digest
    spec: Signed
    grant: Grant | None
    pins: Annotated[tuple[PluginPin, ...], Field(max_length=128)]
    evidence: Annotated[tuple[Signed, ...], Field(max_length=128)] = ()
    artefacts: Annotated[tuple[ArtefactRef, ...], Field(max_length=10_000)] = ()
    keep: bool = False
    deleted: Annotated[tuple[Digest, ...], Field(max_length=10_000)] = ()
    issued_at: Seconds
    expires_at: Seconds


def order_id(run: str, phase: Phase, step: int, round: int, audience: str) -> str:
    """The identity of an order: the same for every delivery and every re-issue of the same work."""
    identity = f"{run}/{phase}/{step}/{round}/{audience}"
    return hashlib.sha256(identity.encode()).hexdigest()[:32]
