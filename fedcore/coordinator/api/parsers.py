"""What the API reads: small JSON objects, and signed messages as the exact bytes that came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any, Final

from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import MAXIMUM_MESSAGE_BYTES, WireError, check_json
from fedcore.wire.signing import Signed

SMALL_BYTES: Final = 64 * 1024


class SmallJSONParser(BaseParser):
    """JSON of at most 64 KiB, without repeated names, NaN or deep nesting. Raises `WireError`."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        text = check_json(read_at_most(stream, SMALL_BYTES), SMALL_BYTES)
        return json.loads(text)


class SignedParser(BaseParser):
    """A signed message. `request.data` is a `Signed`, still to be opened. Raises `WireError`."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        return Signed.from_bytes(read_at_most(stream, 2 * MAXIMUM_MESSAGE_BYTES))


def signed_body(request: Request) -> Signed:
    """The signed message of a request that `SignedParser` reads. Raises `WireError` for an empty body."""
    body: Any = request.data
    if not isinstance(body, Signed):
        raise WireError(RefusalCode.MALFORMED, "the body is empty")
    return body


def read_at_most(stream: IO[bytes], limit: int) -> bytes:
    """The whole stream. Raises `WireError` (`too_large`) without reading more than one byte past `limit`."""
    data = stream.read(limit + 1)
    if len(data) > limit:
        raise WireError(RefusalCode.TOO_LARGE, f"more than {limit} bytes")
    return data
