"""How an owner host proves who it is in an HTTP request: a signature in headers, no shared secret.

The signature (Ed25519) covers method, path with query, time, and the SHA-256 of the body. A copied request
is only good for the same request within `TOLERANCE_SECONDS`, and repeating one changes nothing: reports and
uploads are idempotent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Final

from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import SigningKey, verify

TOLERANCE_SECONDS: Final = 300
KEY_HEADER: Final = "Fedcore-Key"
TIME_HEADER: Final = "Fedcore-Time"
SIGNATURE_HEADER: Final = "Fedcore-Signature"


def sign_request(key: SigningKey, method: str, path: str, body: bytes, now: int) -> dict[str, str]:
    """The headers that authenticate a request of the host that holds `key`. `path` includes the query."""
    signature = key.sign(_request_bytes(method, path, now, body))
    return {
        KEY_HEADER: key.public,
        TIME_HEADER: str(now),
        SIGNATURE_HEADER: base64.b64encode(signature).decode("ascii"),
    }


def verify_request(headers: Mapping[str, str], method: str, path: str, body: bytes, now: int) -> str:
    """The signing key of the host that made the request.

    Raises `WireError`: `bad_signature` or `expired`. Whether the key is known is the caller's question.
    """
    key = headers.get(KEY_HEADER, "")
    time = headers.get(TIME_HEADER, "")
    if not (time.isascii() and time.isdigit() and len(time) <= 12):
        raise WireError(RefusalCode.BAD_SIGNATURE, "no usable time header")
    try:
        signature = base64.b64decode(headers.get(SIGNATURE_HEADER, ""), validate=True)
    except (binascii.Error, ValueError):
        raise WireError(RefusalCode.BAD_SIGNATURE, "no usable signature header") from None
    if not verify(key, signature, _request_bytes(method, path, int(time), body)):
        raise WireError(RefusalCode.BAD_SIGNATURE, "the request's signature does not fit")
    if abs(now - int(time)) > TOLERANCE_SECONDS:
        raise WireError(RefusalCode.EXPIRED, f"the clocks differ by more than {TOLERANCE_SECONDS} s")
    return key


def _request_bytes(method: str, path: str, time: int, body: bytes) -> bytes:
    body_digest = hashlib.sha256(body).hexdigest()
    return f"fedcore/request/v1\0{method.upper()}\n{path}\n{time}\n{body_digest}".encode()
