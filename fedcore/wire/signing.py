"""Signed messages: the exact bytes that were signed travel, are verified, and are stored.

The signature covers the kind of message and the text (`fedcore/<kind>/v1`, a zero byte, the text), so that
a signature on one kind of message is worth nothing on another. Nothing is re-serialised: whoever passes
a signed message on passes on the same text.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated, ClassVar, Final, Self, TypeVar

from pydantic import Field

from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import MAXIMUM_MESSAGE_BYTES, Message, PublicKey, WireError
from fedcore.wire.keys import SigningKey, verify

WIRE_VERSION: Final = 1
WireVersion = Annotated[int, Field(ge=WIRE_VERSION, le=WIRE_VERSION)]
"""The version of a message: the number itself. A `Literal` would also take `true`, which equals 1."""


class SignedMessage(Message):
    """Base class of what people and hosts sign; `KIND` keeps signatures on different messages apart."""

    KIND: ClassVar[str]

    def signed_by(self, key: SigningKey) -> Signed:
        """This message as it travels, signed with `key`."""
        text = self.encode()
        signature = key.sign(signed_bytes(self.KIND, text))
        return Signed(text=text, signer=key.public, signature=base64.b64encode(signature).decode("ascii"))


SomeMessage = TypeVar("SomeMessage", bound=SignedMessage)


class Signed(Message):
    """A signed message as it travels: the text, who signed it, and the signature.

    The signature is 64 bytes in base64, whose last character has four unused bits: only the one spelling in
    which they are zero is accepted, so that nobody can write the same message in two ways.
    """

    text: Annotated[str, Field(max_length=MAXIMUM_MESSAGE_BYTES)]
    signer: PublicKey
    signature: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{85}[AQgw]==$")]

    @property
    def digest(self) -> str:
        """SHA-256 of the signed text, in hexadecimal: the identity of the message."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def open(self, expected: type[SomeMessage], signer: str | None = None) -> SomeMessage:
        """Verify the signature, then read the text as a message of type `expected`.

        `signer` is the only key that is accepted, where it is known beforehand. Raises `WireError` with
        `unknown_signer`, `bad_signature`, or the codes of `Message.parse`.
        """
        if signer is not None and signer != self.signer:
            raise WireError(RefusalCode.UNKNOWN_SIGNER, f"{expected.KIND} signed by {self.signer}")
        signature = base64.b64decode(self.signature)
        if not verify(self.signer, signature, signed_bytes(expected.KIND, self.text)):
            raise WireError(RefusalCode.BAD_SIGNATURE, f"{expected.KIND} claimed by {self.signer}")
        return expected.parse(self.text)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an envelope from a request's body; the text inside stays unread until `open`."""
        return cls.parse(data, limit=2 * MAXIMUM_MESSAGE_BYTES)


def signed_bytes(kind: str, text: str) -> bytes:
    """What the signature of a message covers."""
    return f"fedcore/{kind}/v{WIRE_VERSION}".encode() + b"\0" + text.encode()
