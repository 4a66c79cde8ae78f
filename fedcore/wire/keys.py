"""Keys of hosts, people and the coordinator: made on first use, kept in files of mode 0600.

A host has two key pairs: Ed25519 to sign (RFC 8032) and X25519 to receive sealed artefacts (RFC 7748).
People and the coordinator only sign. Everyone is shown, and recognised by people, by a fingerprint: the
first 128 bits of the SHA-256 of the signing key, in groups of four hexadecimal digits. A process that has read or made
a secret leaves no core file, in which it would lie in clear.
"""

from __future__ import annotations

import base64
import hashlib
import os
import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

SECRET_FILE_MODE: Final = 0o600
_CARD_PREFIX: Final = "fedcore-host"
_KEY_BYTES: Final = 32


class KeyFileError(Exception):
    """A key file that cannot be used. The text names the file, the rule and the fix, never the key."""


def encode_key(raw: bytes) -> str:
    """Unpadded URL-safe base64 of a 32-byte key."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode_key(text: str) -> bytes:
    """The 32 bytes of a key written by `encode_key`. Raises `ValueError` for anything else."""
    raw = base64.urlsafe_b64decode(text + "=")
    if len(raw) != _KEY_BYTES or encode_key(raw) != text:
        raise ValueError("A key is 32 bytes in unpadded URL-safe base64 (43 characters).")
    return raw


def fingerprint(public_key: str) -> str:
    """How people compare a public key by eye, such as `3f2a 09bc …` (eight groups of four digits)."""
    digest = hashlib.sha256(decode_key(public_key)).hexdigest()[:32]
    return " ".join(digest[start : start + 4] for start in range(0, len(digest), 4))


def verify(public_key: str, signature: bytes, data: bytes) -> bool:
    """Whether `signature` is the Ed25519 signature of `data` under `public_key`."""
    try:
        Ed25519PublicKey.from_public_bytes(decode_key(public_key)).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


class SigningKey:
    """An Ed25519 private key. Its representation shows the fingerprint only."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = encode_key(private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> Self:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """The key in `path`, made there with mode 0600 when the file does not exist."""
        return cls(Ed25519PrivateKey.from_private_bytes(_load_or_create_secret(path)))

    def sign(self, data: bytes) -> bytes:
        return self._private.sign(data)

    def __repr__(self) -> str:
        return f"<SigningKey {fingerprint(self.public)}>"


class SealingKey:
    """An X25519 private key that opens what was sealed to its host."""

    def __init__(self, private: X25519PrivateKey) -> None:
        self.private = private
        self.public = encode_key(private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> Self:
        return cls(X25519PrivateKey.generate())

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """The key in `path`, made there with mode 0600 when the file does not exist."""
        return cls(X25519PrivateKey.from_private_bytes(_load_or_create_secret(path)))

    def __repr__(self) -> str:
        return f"<SealingKey {fingerprint(self.public)}>"


@dataclass(frozen=True)
class HostCard:
    """The two public keys of a host, in one line that people can copy: `fedcore-host:SIGNING:SEALING`."""

    signing: str
    sealing: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a card. Raises `ValueError` that says what a card looks like."""
        prefix, *keys = text.strip().split(":")
        try:
            signing, sealing = keys
            decode_key(signing)
            decode_key(sealing)
        except ValueError:
            prefix = ""
        if prefix != _CARD_PREFIX:
            raise ValueError(
                "A host card is one line, fedcore-host:SIGNING:SEALING, as printed by `fedcore-owner init`."
            )
        return cls(signing, sealing)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.signing)

    def __str__(self) -> str:
        return f"{_CARD_PREFIX}:{self.signing}:{self.sealing}"


def write_secret(path: Path, secret: bytes) -> None:
    """Write `secret` to a new file of mode 0600, durably. Raises `FileExistsError` if there is one."""
    leave_no_core_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())


def read_secret(path: Path) -> bytes:
    """The bytes of a secret file. Raises `KeyFileError` if others may read it."""
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise KeyFileError(
            f"Key file {path} has mode {mode:04o}: only its owner may read it. Run `chmod 600 {path}`, "
            "and replace the key if others may have read it."
        )
    leave_no_core_file()
    return path.read_bytes()


def leave_no_core_file() -> None:
    """If this process, or one that it starts from now on, crashes, its memory is not written to a file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _load_or_create_secret(path: Path) -> bytes:
    with suppress(FileExistsError):  # The key was made before: the file is the truth.
        write_secret(path, os.urandom(_KEY_BYTES))
    secret = read_secret(path)
    if len(secret) != _KEY_BYTES:
        raise KeyFileError(
            f"Key file {path} holds {len(secret)} bytes, a key has {_KEY_BYTES}. Restore it from a backup, or "
            "delete it to make a new key that all others must pin anew."
        )
    return secret
