"""Sealing: bytes that only one host, or only the holders of a run's key, can read.

To a host: HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305. Under a
run's key: ChaCha20-Poly1305 (RFC 8439) with a key derived for the purpose and a random 96-bit nonce.
Both bind a context (run, purpose, sender), so that sealed bytes cannot be moved to another place. A seal
says nothing about who sealed: authenticity comes from the signed report that names the artefact's digest.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import SealingKey, decode_key

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def seal_to_host(data: bytes, sealing_key: str, context: str) -> bytes:
    """Seal `data` to the host whose public sealing key is given; `context` must be the same to open."""
    public = X25519PublicKey.from_public_bytes(decode_key(sealing_key))
    return _SUITE.encrypt(data, public, context.encode())


def open_at_host(sealed: bytes, key: SealingKey, context: str) -> bytes:
    """Open what was sealed to this host. Raises `WireError` (`artefact_invalid`)."""
    try:
        return _SUITE.decrypt(sealed, key.private, context.encode())
    except (InvalidTag, ValueError):
        raise WireError(RefusalCode.ARTEFACT_INVALID, f"the seal of {context} is broken") from None


def derive(run_key: bytes, purpose: str, length: int = KEY_BYTES) -> bytes:
    """A key of `length` bytes for one purpose from a run's key (HKDF-SHA256, RFC 5869)."""
    return HKDF(SHA256(), length, salt=None, info=f"fedcore/{purpose}".encode()).derive(run_key)


def seal_under_run_key(data: bytes, run_key: bytes, context: str) -> bytes:
    """Seal `data` for every holder of the run's key."""
    nonce = os.urandom(_NONCE_BYTES)
    cipher = ChaCha20Poly1305(derive(run_key, "seal"))
    return nonce + cipher.encrypt(nonce, data, context.encode())


def open_under_run_key(sealed: bytes, run_key: bytes, context: str) -> bytes:
    """Open what a holder of the run's key sealed. Raises `WireError` (`artefact_invalid`)."""
    cipher = ChaCha20Poly1305(derive(run_key, "seal"))
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context.encode())
    except (InvalidTag, ValueError):
        raise WireError(RefusalCode.ARTEFACT_INVALID, f"the seal of {context} is broken") from None
