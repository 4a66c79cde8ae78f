"""Agreement on a run's key between two or more owner hosts, over a coordinator that only carries bytes.

What holds: every owner contributes 256 random bits; each contribution is sealed to each other owner under
a key from their ephemeral X25519 keys (RFC 7748) and HKDF-SHA256 (RFC 5869), bound to a transcript: run,
roster, and the ephemeral keys, all of it in reports that the owners sign with keys that the others have
pinned. The run's key is derived from all contributions, and is used only after every owner has proved
with an HMAC (RFC 2104) that it holds the same one.

Who can see what: every owner on the roster holds the key. The coordinator sees ephemeral public keys and
sealed contributions; to read or replace one it would have to forge an owner's signature or break X25519.
Ephemeral keys are deleted after the agreement, so a host that is broken into later gives the key away only
where it still keeps the key itself. Contributions stop no owner from choosing its own last: all of them
hold the key anyway.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import decode_key
from fedcore.wire.reports import SealedShare
from fedcore.wire.sealing import KEY_BYTES, derive

_NONCE: Final = bytes(12)
"""A fixed nonce is sound here: every pair key encrypts exactly one contribution."""


def transcript_of(run: str, ephemerals: Mapping[str, str]) -> str:
    """SHA-256 over the run and the ephemeral key of every owner (by signing key), in sorted order."""
    lines = [f"fedcore/agreement/v1/{run}"] + [f"{host} {ephemerals[host]}" for host in sorted(ephemerals)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def seal_shares(
    contribution: bytes,
    ephemeral: X25519PrivateKey,
    host: str,
    ephemerals: Mapping[str, str],
    transcript: str,
) -> tuple[SealedShare, ...]:
    """This host's `contribution` (32 bytes), sealed to every other owner of `ephemerals`."""
    return tuple(
        SealedShare(
            to=peer,
            sealed=base64.b64encode(
                ChaCha20Poly1305(
                    pair_key(ephemeral, ephemerals[peer], transcript, f"share/{host}/{peer}")
                ).encrypt(_NONCE, contribution, transcript.encode())
            ).decode("ascii"),
        )
        for peer in sorted(ephemerals)
        if peer != host
    )


def open_share(
    share: SealedShare,
    sender: str,
    ephemeral: X25519PrivateKey,
    ephemerals: Mapping[str, str],
    transcript: str,
) -> bytes:
    """The contribution of `sender` that was sealed to this host (`share.to`).

    Raises `WireError` (`key_agreement_failed`).
    """
    key = pair_key(ephemeral, ephemerals[sender], transcript, f"share/{sender}/{share.to}")
    try:
        contribution = ChaCha20Poly1305(key).decrypt(
            _NONCE, base64.b64decode(share.sealed), transcript.encode()
        )
    except (InvalidTag, ValueError, binascii.Error):
        raise WireError(RefusalCode.KEY_AGREEMENT_FAILED, f"the share of {sender} does not open") from None
    if len(contribution) != KEY_BYTES:
        raise WireError(RefusalCode.KEY_AGREEMENT_FAILED, f"the share of {sender} has a wrong length")
    return contribution


def run_key_of(contributions: Mapping[str, bytes], transcript: str) -> bytes:
    """The run's 256-bit key from the contributions of all owners."""
    material = b"".join(contributions[host] for host in sorted(contributions))
    return HKDF(SHA256(), KEY_BYTES, salt=bytes.fromhex(transcript), info=b"fedcore/run-key").derive(material)


def proof_of(run_key: bytes, transcript: str, host: str) -> str:
    """What `host` shows the others to prove that it holds the run's key."""
    message = f"{transcript}/{host}".encode()
    return hmac.new(derive(run_key, "confirm"), message, hashlib.sha256).hexdigest()


def check_proofs(run_key: bytes, transcript: str, proofs: Mapping[str, str]) -> None:
    """Raise `WireError` (`key_agreement_failed`) unless every owner's proof fits this host's key."""
    for host, proof in proofs.items():
        if not hmac.compare_digest(proof, proof_of(run_key, transcript, host)):
            raise WireError(RefusalCode.KEY_AGREEMENT_FAILED, f"{host} holds another key")


def pair_key(ephemeral: X25519PrivateKey, peer_ephemeral: str, transcript: str, purpose: str) -> bytes:
    """A key of 32 bytes for one purpose that only the two owners of these ephemeral keys can compute.

    Raises `WireError` (`key_agreement_failed`) for a key of the peer that is malformed or of small order.
    """
    try:
        secret = ephemeral.exchange(X25519PublicKey.from_public_bytes(decode_key(peer_ephemeral)))
    except ValueError:
        # An all-zero secret (RFC 7748, section 6.1): the peer sent a point of small order.
        raise WireError(RefusalCode.KEY_AGREEMENT_FAILED, "an ephemeral key is unusable") from None
    info = f"fedcore/agreement/{purpose}".encode()
    return HKDF(SHA256(), KEY_BYTES, salt=bytes.fromhex(transcript), info=info).derive(secret)
