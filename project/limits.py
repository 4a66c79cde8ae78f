"""A cap on request bodies, enforced while they arrive, before a view or even a middleware is asked."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Event, Receive, Send], Awaitable[None]]

MAXIMUM_BODY_BYTES: Final = 5 * 1024 * 1024
"""A signed message of 2 MiB whose text is quoted once more, or one 4 MiB chunk of an artefact, and some room."""

_REFUSAL: Final = json.dumps(
    {"code": "too_large", "detail": f"The body exceeds {MAXIMUM_BODY_BYTES} bytes. Send less, or in chunks."}
).encode()


class _TooLargeError(Exception):
    """The body turned out longer than the limit."""


def limit_bodies(application: Application, limit: int = MAXIMUM_BODY_BYTES) -> Application:
    """`application`, which never sees more than `limit` bytes of a body: 413 instead."""

    async def limited(scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        if _declared(scope) > limit:
            await _refuse(send)
            return
        try:
            await application(scope, _counting(receive, limit), send)
        except _TooLargeError:
            await _refuse(send)

    return limited


def _declared(scope: Event) -> int:
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    return int(declared) if declared.isdigit() else 0


def _counting(receive: Receive, limit: int) -> Receive:
    received = 0

    async def counted() -> Event:
        nonlocal received
        event = await receive()
        received += len(event.get("body", b""))
        if received > limit:
            raise _TooLargeError
        return event

    return counted


async def _refuse(send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": _REFUSAL})
