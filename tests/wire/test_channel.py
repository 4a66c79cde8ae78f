"""The channel of two compute owners: what is sealed at one end opens at the other, once, in order, and nowhere else."""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fedcore.wire import channel as module
from fedcore.wire.channel import FRAME_OVERHEAD, Channel, Hello, Opened
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import SigningKey, decode_key, encode_key

RUN, OTHER_RUN = hashlib.sha256(b"run").hexdigest(), hashlib.sha256(b"other").hexdigest()
OLGA, PAUL, EVE = SigningKey.generate(), SigningKey.generate(), SigningKey.generate()

ALICE = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
BOB = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
THEIR_SECRET = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
"""RFC 7748, section 6.1: Alice's public key, Bob's private key, and the secret that they share."""


def pair(run: str = RUN) -> tuple[Channel, Channel]:
    """Both ends, before they have greeted."""
    return Channel(run, OLGA, PAUL.public), Channel(run, PAUL, OLGA.public)


def opened() -> tuple[Channel, Channel]:
    """Both ends, ready to seal and to open."""
    olga, paul = pair()
    olga.greet(paul.hello)
    paul.greet(olga.hello)
    return olga, paul


def sealed(channel: Channel, data: bytes, is_last: bool = False) -> bytes:
    channel.seal(data, is_last)
    return channel.frame(channel.sent - 1)


def refused(code: RefusalCode, work: Callable[[], object]) -> str:
    """The detail with which it is refused; it names the peer."""
    with pytest.raises(WireError) as refusal:
        work()
    assert refusal.value.code is code
    return refusal.value.detail


def test_frames_of_both_ways_open_at_the_other_end_in_order() -> None:
    olga, paul = opened()
    for data in (b"", b"x", os.urandom(65536), memoryview(b"a view")):
        assert paul.open(sealed(olga, data)) == Opened(bytes(data), False)
        assert olga.open(sealed(paul, bytes(data)[::-1])) == Opened(bytes(data)[::-1], False)
    assert paul.open(sealed(olga, b"bye", is_last=True)) == Opened(b"bye", True)
    assert (olga.sent, paul.received, paul.peer_has_ended) == (5, 5, True)


def test_a_frame_is_as_long_as_its_content_and_a_fixed_overhead() -> None:
    olga, _ = opened()
    assert [len(sealed(olga, bytes(size))) - size for size in (0, 1, 1000)] == [FRAME_OVERHEAD] * 3


def test_a_frame_is_what_the_standards_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """X25519, HKDF-SHA256 by hand (RFC 5869), ChaCha20-Poly1305, over the transcript as it is documented."""
    private = X25519PrivateKey.from_private_bytes(bytes.fromhex(BOB))
    alice, bob = (SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))) for seed in (1, 2))
    monkeypatch.setattr(module.X25519PrivateKey, "generate", lambda: private)
    end = Channel(RUN, bob, alice.public)
    ephemeral = encode_key(bytes.fromhex(ALICE))
    hello = Hello(run=RUN, sender=alice.public, receiver=bob.public, ephemeral=ephemeral).signed_by(alice)
    end.greet(hello)

    lines = sorted(f"{said.signer} {said.digest}" for said in (hello, end.hello))
    salt = hashlib.sha256("\n".join([f"fedcore/relay/v1/{RUN}", *lines]).encode()).digest()
    extracted = hmac.digest(salt, bytes.fromhex(THEIR_SECRET), "sha256")
    info = f"fedcore/agreement/relay/{bob.public}/{alice.public}".encode()
    key = hmac.digest(extracted, info + b"\x01", "sha256")
    for number, data in enumerate((b"first", b"second")):
        header = struct.pack(">QQB", number, 0, 0)
        nonce = bytes(4) + struct.pack(">Q", number)
        body = ChaCha20Poly1305(key).encrypt(nonce, data, bytes.fromhex(RUN) + header)
        assert sealed(end, data) == header + body


def test_each_direction_and_each_session_has_its_own_key() -> None:
    olga, paul = opened()
    again, _ = opened()
    frames = {sealed(end, b"the same") for end in (olga, paul, again)}
    assert len({frame[17:] for frame in frames}) == 3


def test_a_frame_that_was_altered_anywhere_does_not_open() -> None:
    olga, paul = opened()
    frame = sealed(olga, b"opening")
    for place in range(len(frame)):
        altered = bytearray(frame)
        altered[place] ^= 1
        refused(RefusalCode.ARTEFACT_INVALID, lambda frame=bytes(altered): paul.open(frame))
    assert paul.open(frame).data == b"opening", "a refused frame leaves the channel as it was"


def test_a_refusal_names_the_peer() -> None:
    olga, paul = opened()
    assert OLGA.public in refused(RefusalCode.ARTEFACT_INVALID, lambda: paul.open(b"short"))
    assert OLGA.public in refused(RefusalCode.ARTEFACT_INVALID, lambda: paul.open(bytes(100)))
    assert PAUL.public in refused(RefusalCode.KEY_AGREEMENT_FAILED, lambda: pair()[0].greet(pair()[0].hello))
    assert PAUL.public in refused(RefusalCode.ARTEFACT_INVALID, lambda: olga.check_count(1))


def test_a_frame_cut_short_is_refused() -> None:
    olga, paul = opened()
    frame = sealed(olga, b"opening")
    for size in (0, 8, FRAME_OVERHEAD - 1, len(frame) - 1):
        refused(RefusalCode.ARTEFACT_INVALID, lambda size=size: paul.open(frame[:size]))


def test_a_repeated_frame_is_refused() -> None:
    olga, paul = opened()
    frame = sealed(olga, b"once")
    paul.open(frame)
    assert "repeated" in refused(RefusalCode.ARTEFACT_INVALID, lambda: paul.open(frame))


def test_frames_in_another_order_or_with_one_left_out_are_refused() -> None:
    olga, paul = opened()
    sealed(olga, b"first")
    second = sealed(olga, b"second")
    assert "number 1" in refused(RefusalCode.ARTEFACT_INVALID, lambda: paul.open(second))


def test_a_frame_under_the_number_of_another_does_not_open() -> None:
    olga, paul = opened()
    sealed(olga, b"first")
    moved = bytes(8) + sealed(olga, b"second")[8:]
    refused(RefusalCode.ARTEFACT_INVALID, lambda: paul.open(moved))


def test_a_frame_sent_back_to_its_sender_is_refused() -> None:
    olga, _ = opened()
    frame = sealed(olga, b"mine")
    refused(RefusalCode.ARTEFACT_INVALID, lambda: olga.open(frame))


def test_a_frame_of_another_session_of_the_same_run_is_refused() -> None:
    olga, _ = opened()
    _, paul = opened()
    refused(RefusalCode.ARTEFACT_INVALID, lambda: paul.open(sealed(olga, b"old")))


def test_nothing_comes_after_the_last_frame() -> None:
    olga, paul = opened()
    paul.open(sealed(olga, b"", is_last=True))
    refused(RefusalCode.ARTEFACT_INVALID, lambda: paul.open(sealed(olga, b"more")))


def test_a_hello_of_another_host_is_refused() -> None:
    olga, _ = pair()
    eve = Channel(RUN, EVE, OLGA.public)
    refused(RefusalCode.KEY_AGREEMENT_FAILED, lambda: olga.greet(eve.hello))
    said = eve.hello.open(Hello).model_copy(update={"sender": PAUL.public})
    refused(RefusalCode.KEY_AGREEMENT_FAILED, lambda: olga.greet(said.signed_by(EVE)))
    claimed = said.signed_by(EVE).model_copy(update={"signer": PAUL.public})
    refused(RefusalCode.KEY_AGREEMENT_FAILED, lambda: olga.greet(claimed))
    assert not olga.is_open


def test_a_hello_for_another_host_or_run_is_refused() -> None:
    olga, _ = pair()
    for foreign in (Channel(RUN, PAUL, EVE.public), Channel(OTHER_RUN, PAUL, OLGA.public)):
        assert "another" in refused(
            RefusalCode.KEY_AGREEMENT_FAILED, lambda foreign=foreign: olga.greet(foreign.hello)
        )


def test_a_hello_in_which_the_peer_speaks_for_another_is_refused() -> None:
    olga, paul = pair()
    said = paul.hello.open(Hello).model_copy(update={"sender": EVE.public})
    refused(RefusalCode.KEY_AGREEMENT_FAILED, lambda: olga.greet(said.signed_by(PAUL)))


def test_the_own_hello_is_not_taken_for_the_peers() -> None:
    olga, _ = pair()
    refused(RefusalCode.KEY_AGREEMENT_FAILED, lambda: olga.greet(olga.hello))


def test_an_ephemeral_key_of_small_order_is_refused() -> None:
    olga, _ = pair()
    weak = Hello(run=RUN, sender=PAUL.public, receiver=OLGA.public, ephemeral=encode_key(bytes(32)))
    assert PAUL.public in refused(RefusalCode.KEY_AGREEMENT_FAILED, lambda: olga.greet(weak.signed_by(PAUL)))


def test_the_same_hello_may_come_again_and_changes_nothing() -> None:
    olga, paul = opened()
    paul.open(sealed(olga, b"first"))
    olga.greet(paul.hello)
    paul.greet(olga.hello)
    assert paul.open(sealed(olga, b"second")).data == b"second"


def test_a_new_hello_in_a_session_that_has_begun_is_refused() -> None:
    olga, _ = opened()
    restarted = Channel(RUN, PAUL, OLGA.public)
    assert "anew" in refused(RefusalCode.KEY_AGREEMENT_FAILED, lambda: olga.greet(restarted.hello))


def test_the_private_ephemeral_key_is_gone_once_the_keys_are_there() -> None:
    olga, _ = opened()
    assert not [value for value in vars(olga).values() if isinstance(value, X25519PrivateKey)]


def test_frames_are_kept_byte_for_byte_until_the_peer_has_acknowledged_them() -> None:
    olga, paul = opened()
    frames = [sealed(olga, bytes([number])) for number in range(3)]
    paul.open(frames[0])
    paul.open(frames[1])
    assert olga.unacknowledged == 3
    olga.open(sealed(paul, b"answer"))
    assert (olga.acknowledged, olga.unacknowledged, olga.frame(2)) == (2, 1, frames[2])
    for gone in (0, 1):
        with pytest.raises(IndexError):
            olga.frame(gone)


def test_every_frame_has_a_number_of_its_own() -> None:
    olga, _ = opened()
    numbers = [sealed(olga, b"the same")[:8] for _ in range(50)]
    assert len(set(numbers)) == 50


def test_counts_that_cannot_be_are_refused() -> None:
    olga, paul = opened()
    for number in range(2):
        paul.open(sealed(olga, bytes([number])))
    olga.open(sealed(paul, b"answer"))
    olga.check_count(2)
    for wrong in (1, 3):
        refused(RefusalCode.ARTEFACT_INVALID, lambda wrong=wrong: olga.check_count(wrong))


def test_a_peer_cannot_acknowledge_what_was_not_sent() -> None:
    olga, paul = opened()
    paul.received = 7
    refused(RefusalCode.ARTEFACT_INVALID, lambda: olga.open(sealed(paul, b"answer")))


def test_keys_in_a_hello_are_those_of_the_wire() -> None:
    said = pair()[0].hello.open(Hello)
    assert len(decode_key(said.ephemeral)) == 32
