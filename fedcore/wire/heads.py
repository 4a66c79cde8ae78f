"""Heads of privacy ledgers, and receipts for them: how hosts keep each other from going back.

A host signs how far its ledger has come, with a nonce. Each host that pins it remembers the highest serial that it has
seen signed, and answers with what it remembers, in a receipt for this nonce. Whoever carries the messages can hold
them back, and neither forge nor replay them: a receipt holds the asking host's own signature on what is remembered.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from fedcore.wire.encoding import LARGEST_INTEGER, Digest, Seconds
from fedcore.wire.signing import WIRE_VERSION, Signed, SignedMessage, WireVersion
from fedcore.wire.spec import Nonce


class LedgerHead(SignedMessage):
    """How far a host's ledger has come: the serial and digest of its last entry. Signed by the host."""

    KIND: ClassVar[str] = "ledger-head"

    version: WireVersion = WIRE_VERSION
    serial: Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
    digest: Digest
    nonce: Nonce
    at: Seconds


class HeadReceipt(SignedMessage):
    """An answer to one signed head (`asked` is its digest): the highest head of its signer that this host has seen."""

    KIND: ClassVar[str] = "head-receipt"

    version: WireVersion = WIRE_VERSION
    asked: Digest
    latest: Signed
    at: Seconds
