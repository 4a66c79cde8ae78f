"""The chain: what the digest and the signature of an entry cover.

Each entry has the SHA-256 of its own content and of the entry before it, and the coordinator's Ed25519 signature of
that digest. An entry that is changed, removed, inserted or moved breaks the chain at its place. Whoever has the
database but not the key cannot write another chain; whoever has both can, and is found out by a head that somebody
else keeps.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from datetime import UTC
from typing import Any, Final

from fedcore.coordinator.governance.audit.entries import AuditEntry
from fedcore.wire.keys import SigningKey, verify
from fedcore.wire.signing import signed_bytes

KIND: Final = "audit-entry"
COVERED: Final = (
    *("serial", "at", "who", "person", "host", "channel", "origin", "action", "thing", "thing_id"),
    *("concerns", "outcome", "code", "detail", "previous", "signer"),
)
"""The fields that the digest covers: all but itself and the signature."""
_IDS: Final = {"person": "person_id", "host": "host_id", "origin": "origin_id"}


def content_of(entry: AuditEntry) -> dict[str, Any]:
    """What the digest covers, as JSON values."""
    values = {name: getattr(entry, _IDS.get(name, name)) for name in COVERED}
    return values | {"at": entry.at.astimezone(UTC).isoformat(timespec="microseconds")}


def digest_of(entry: AuditEntry) -> str:
    """SHA-256 over the content as JSON: names in order, ASCII only, no spaces."""
    text = json.dumps(content_of(entry), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def seal(entry: AuditEntry, key: SigningKey) -> None:
    """Give an entry its digest and signature."""
    entry.signer = key.public
    entry.digest = digest_of(entry)
    entry.signature = base64.b64encode(key.sign(signed_bytes(KIND, entry.digest))).decode("ascii")


def is_signed(digest: str, signer: str, signature: str) -> bool:
    """Whether `signature` is the one of `signer` under this digest."""
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    # The last character has bits that mean nothing: only one spelling counts, so that none can be altered.
    is_spelt = base64.b64encode(raw).decode("ascii") == signature
    return is_spelt and verify(signer, raw, signed_bytes(KIND, digest))


def commitment_of(salt: str, address: str) -> str:
    """What an entry says in place of an address."""
    return hashlib.sha256(f"{salt} {address}".encode()).hexdigest()
