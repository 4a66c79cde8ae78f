"""A channel between the two compute owners of a run: sealed end to end, over a relay that only carries bytes.

What holds: each side sends a hello, a fresh X25519 key (RFC 7748) in a message that its host signs (Ed25519), bound to
run, sender and receiver. A key for each direction comes from both of these keys by HKDF-SHA256 (RFC 5869), bound to a
transcript of both hellos. Frames are sealed with ChaCha20-Poly1305 (RFC 8439); the nonce is the frame's number, and
run, number and what the header says besides are authenticated with it. A frame that was altered, repeated, left out,
moved, or sealed for another run or another way is refused. A frame is sealed once and kept until the peer has
acknowledged it, so that after a lost connection the same bytes are sent again: no nonce is ever used for two frames.

Who can see what: the two owners see the frames. The coordinator sees who talks to whom in which run, when, how often,
and the sizes; it can hold frames back, and so end a run. The private ephemeral keys are deleted as soon as the
channel's keys are derived, so a host that is broken into later gives no past frame away. A new hello in a channel that
has begun ends it: what a dealer has dealt serves once, so a side that was started anew cannot go on.
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from typing import ClassVar, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fedcore.wire.agreement import pair_key
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import Digest, PublicKey, WireError
from fedcore.wire.keys import SigningKey, encode_key
from fedcore.wire.signing import WIRE_VERSION, Signed, SignedMessage, WireVersion

_HEADER: Final = struct.Struct(">QQ?")
"""A frame's number, how many frames of the peer its sender had opened, and whether it is the sender's last."""
_NONCE: Final = struct.Struct(">4xQ")
_TAG_BYTES: Final = 16
FRAME_OVERHEAD: Final = _HEADER.size + _TAG_BYTES
"""By how many bytes a sealed frame is longer than what it carries."""


class Hello(SignedMessage):
    """The fresh X25519 key with which a host opens the channel of a run to one peer."""

    KIND: ClassVar[str] = "relay"

    version: WireVersion = WIRE_VERSION
    run: Digest
    sender: PublicKey
    receiver: PublicKey
    ephemeral: PublicKey


class Opened(NamedTuple):
    """What a frame carried, and whether it is the peer's last."""

    data: bytes
    is_last: bool


class Channel:
    """One host's end of the channel of a run. Frames of both ways are numbered from 0."""

    def __init__(self, run: str, key: SigningKey, peer: str) -> None:
        """`key` signs this host's hello; `peer` is the other host's signing key, as it is pinned here."""
        self._run, self._own, self._peer = run, key.public, peer
        self._ephemeral: X25519PrivateKey | None = X25519PrivateKey.generate()
        public = encode_key(self._ephemeral.public_key().public_bytes_raw())
        self.hello = Hello(run=run, sender=key.public, receiver=peer, ephemeral=public).signed_by(key)
        """What the peer has to be given."""
        self._greeted_with: str | None = None
        self._context = bytes.fromhex(run)
        self._kept: deque[bytes] = deque()
        self.sent = 0
        """How many frames were sealed."""
        self.acknowledged = 0
        """How many of them the peer has opened, as far as this side knows."""
        self.received = 0
        """How many frames of the peer were opened."""
        self.told = 0
        """Of how many of them the peer knows, once all that was sealed has reached it."""
        self.peer_has_ended = False

    @property
    def is_open(self) -> bool:
        """Whether the peer's hello has come, so that frames can be sealed and opened."""
        return self._greeted_with is not None

    @property
    def unacknowledged(self) -> int:
        """How many sealed frames are kept for the case that they must be sent again."""
        return len(self._kept)

    def greet(self, hello: Signed) -> None:
        """Take the peer's hello; the same one may come again after a lost connection.

        Raises `WireError` (`key_agreement_failed`) for one that is not the peer's for this run and this host, and for
        another than the first.
        """
        said = self._verified(hello)
        if self._greeted_with is not None:
            if hello.digest != self._greeted_with:
                raise self._disagreement("has greeted anew, so the process that held its keys is gone")
            return
        assert self._ephemeral is not None
        transcript = _transcript(self._run, hello, self.hello)
        try:
            keys = [
                pair_key(self._ephemeral, said.ephemeral, transcript, f"relay/{sender}/{receiver}")
                for sender, receiver in ((self._own, self._peer), (self._peer, self._own))
            ]
        except WireError as error:
            raise self._disagreement(f"has sent no usable hello: {error.detail}") from None
        self._sealing, self._opening = map(ChaCha20Poly1305, keys)
        self._greeted_with, self._ephemeral = hello.digest, None

    def seal(self, data: bytes | memoryview, is_last: bool = False) -> None:
        """Seal the next frame. It is kept, for `frame`, until the peer has acknowledged it."""
        header = _HEADER.pack(self.sent, self.received, is_last)
        sealed = self._sealing.encrypt(_NONCE.pack(self.sent), data, self._context + header)
        self._kept.append(header + sealed)
        self.sent += 1
        self.told = self.received

    def frame(self, number: int) -> bytes:
        """The sealed frame of this number, as it was sealed. Raises `IndexError` for one that is not kept."""
        if number < self.acknowledged:
            raise IndexError(number)
        return self._kept[number - self.acknowledged]

    def open(self, frame: bytes) -> Opened:
        """Open the peer's next frame. Raises `WireError` (`artefact_invalid`)."""
        if len(frame) < FRAME_OVERHEAD:
            raise self._broken("is too short")
        number, acknowledged, is_last = _HEADER.unpack_from(frame)
        if number != self.received or self.peer_has_ended:
            raise self._broken(f"came as number {number}: one was repeated, left out or moved")
        header, sealed = frame[: _HEADER.size], memoryview(frame)[_HEADER.size :]
        try:
            data = self._opening.decrypt(_NONCE.pack(number), sealed, self._context + header)
        except InvalidTag:
            raise self._broken("does not open: it was altered, or is not of this channel") from None
        self.check_count(acknowledged)
        while self.acknowledged < acknowledged:
            self._kept.popleft()
            self.acknowledged += 1
        self.received += 1
        self.peer_has_ended = is_last
        return Opened(data, is_last)

    def check_count(self, received: int) -> None:
        """Raise `WireError` (`artefact_invalid`) unless the peer can have opened so many frames and needs none before.

        Outside of a sealed frame such a number is the relay's word only: it decides from where frames are sent again,
        and never which are forgotten.
        """
        if not self.acknowledged <= received <= self.sent:
            raise self._broken(f"says that {received} frames came, of {self.acknowledged} to {self.sent}")

    def _verified(self, hello: Signed) -> Hello:
        try:
            said = hello.open(Hello, signer=self._peer)
        except WireError as error:
            raise self._disagreement(f"has sent no hello of its own: {error.detail}") from None
        if (said.run, said.sender, said.receiver) != (self._run, self._peer, self._own):
            raise self._disagreement("has sent a hello for another run or another host")
        return said

    def _disagreement(self, what: str) -> WireError:
        return WireError(RefusalCode.KEY_AGREEMENT_FAILED, f"{self._peer} {what}")

    def _broken(self, what: str) -> WireError:
        return WireError(RefusalCode.ARTEFACT_INVALID, f"frame {self.received} of {self._peer} {what}")


def _transcript(run: str, *hellos: Signed) -> str:
    """SHA-256 over the run and both hellos, in the order of their signers."""
    lines = [f"fedcore/relay/v1/{run}", *sorted(f"{hello.signer} {hello.digest}" for hello in hellos)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
