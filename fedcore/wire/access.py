"""Access requests, signed by the scientist, the grants that owners answer with, and what hosts make of these.

The digest of the signed request identifies the grant. A grant can only narrow a request: an owner host
takes the smaller of both limits, so a coordinator that widens a grant gains nothing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from fedcore.wire.encoding import Digest, Label, Message, Name, Prose, PublicKey, Seconds
from fedcore.wire.signing import WIRE_VERSION, Signed, SignedMessage, WireVersion
from fedcore.wire.spec import DatasetVersion, MicroEpsilon, Nonce, Pipeline, Privacy, Protocol

Releases = Annotated[int, Field(ge=1, le=1_000_000)]


class AccessRequest(SignedMessage):
    """What a scientist asks of one owner: one dataset version, for what, how, how often, until when.

    `download` asks for leave to fetch the merged pseudonymised dataset, not only the model. What was
    handed over cannot be called back. `replaces` names an earlier request, by its digest, that this one stands in for:
    people read it, it gives no leave and ends none.
    """

    KIND: ClassVar[str] = "access-request"

    version: WireVersion = WIRE_VERSION
    dataset: DatasetVersion
    purpose: Name
    reason: Annotated[Prose, Field(max_length=2000)] = ""
    organisation: Label
    pipelines: Annotated[tuple[Pipeline, ...], Field(min_length=1, max_length=16)]
    protocols: Annotated[tuple[Protocol, ...], Field(min_length=1)]
    backends: Annotated[tuple[Name, ...], Field(min_length=1, max_length=16)]
    models: Annotated[tuple[Name, ...], Field(min_length=1, max_length=16)]
    privacy: Privacy = Privacy()
    releases: Releases
    minimum_owners: Annotated[int, Field(ge=1, le=64)] = 1
    download: bool = False
    expires_at: Seconds
    replaces: Digest | None = None
    nonce: Nonce


class Grant(Message):
    """An owner's answer to a request, as the coordinator recorded it. Limits are at most the request's.

    Every limit is required: a grant that leaves one out is malformed, never unlimited.
    """

    request: Signed
    protocols: Annotated[tuple[Protocol, ...], Field(min_length=1)]
    backends: Annotated[tuple[Name, ...], Field(min_length=1, max_length=16)]
    models: Annotated[tuple[Name, ...], Field(min_length=1, max_length=16)]
    epsilon_micro: MicroEpsilon
    releases: Releases
    minimum_owners: Annotated[int, Field(ge=1, le=64)]
    expires_at: Seconds
    download: bool

    @classmethod
    def of(cls, request: Signed, **narrower: Any) -> Self:
        """The grant of all that the signed request asks for, but for the limits in `narrower`. Raises `WireError`."""
        asked = request.open(AccessRequest)
        limits = {
            "protocols": asked.protocols,
            "backends": asked.backends,
            "models": asked.models,
            "epsilon_micro": asked.privacy.epsilon_micro,
            "releases": asked.releases,
            "minimum_owners": asked.minimum_owners,
            "expires_at": asked.expires_at,
            "download": asked.download,
        }
        return cls(request=request, **(limits | narrower))


class GrantNotice(SignedMessage):
    """What the coordinator tells a host of one grant on its data: how far it goes now, or that it is revoked.

    A host takes the narrowest that it was ever told, so an old notice that comes again changes nothing.
    """

    KIND: ClassVar[str] = "grant-notice"

    version: WireVersion = WIRE_VERSION
    audience: PublicKey
    grant: Grant
    revoked: bool = False


class Standing(StrEnum):
    """How a grant stands at the owner's host, which has the last word."""

    IN_FORCE = "in_force"
    WAITING = "waiting"
    REFUSED = "refused"
    REVOKED = "revoked"


class GrantStanding(SignedMessage):
    """What an owner's host says of one grant, by the digest of its request. Signed by the host.

    `waiting`: a person must act on the host, because it goes beyond the policy's ceilings, say. `decided_at` is when
    the host came to it; a later one replaces it, but nothing follows on `revoked`.
    """

    KIND: ClassVar[str] = "grant-standing"

    version: WireVersion = WIRE_VERSION
    request: Digest
    standing: Standing
    decided_at: Seconds
