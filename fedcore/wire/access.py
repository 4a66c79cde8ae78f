"""Access requests, signed by the scientist, and the grants that owners answer with.

The digest of the signed request identifies the grant. A grant can only narrow a request: an owner host
takes the smaller of both limits, so a coordinator that widens a grant gains nothing.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from fedcore.wire.encoding import Label, Message, Name, Prose, Seconds
from fedcore.wire.signing import WIRE_VERSION, Signed, SignedMessage, WireVersion
from fedcore.wire.spec import DatasetVersion, Nonce, Pipeline, Privacy, Protocol

Releases = Annotated[int, Field(ge=1, le=1_000_000)]


class AccessRequest(SignedMessage):
    """What a scientist asks of one owner: one dataset version, for what, how, how often, until when.

    `download` asks for leave to fetch the merged pseudonymised dataset, not only the model. What was
    handed over cannot be called back.
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
    nonce: Nonce


class Grant(Message):
    """An owner's answer to a request, as the coordinator recorded it. Limits are at most the request's."""

    request: Signed
    releases: Releases
    expires_at: Seconds
    download: bool
