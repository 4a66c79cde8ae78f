"""The relay as an ASGI application in front of another: it answers websockets, everything else is the other's.

A connection costs one look at the database when it opens and one every `Patience.look_every` seconds, in a thread.
Passing a message on touches neither database nor disk. Both hosts of a run must reach the same process.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from asgiref.sync import ThreadSensitiveContext
from django.db import DatabaseError
from django.http import JsonResponse

from fedcore.coordinator.api.host_auth import Refusal
from fedcore.coordinator.api.waiting import in_database
from fedcore.coordinator.relay.admission import Admission, admit, is_still_admitted
from fedcore.coordinator.relay.pairing import Connection, Event, Pair, Receive, Send
from fedcore.wire.relay import RELAY_PATH, RelayClosed

logger = logging.getLogger(__name__)

Application = Callable[[Event, Receive, Send], Awaitable[None]]

_PATH: Final = re.compile(re.escape(RELAY_PATH) + r"[0-9a-f]{32}")
_CLOSE_SECONDS: Final = 2.0
_DENIED_SECONDS: Final = 0.1


@dataclass(frozen=True)
class Patience:
    """How long, in seconds, a side waits for the other to come or to return, and how often its leave is looked at."""

    to_come: float = 600.0
    to_return: float = 120.0
    look_every: float = 5.0


def relay(
    application: Application,
    admit: Callable[[dict[str, Any]], Admission] = admit,
    is_still_admitted: Callable[[Admission], bool] = is_still_admitted,
    patience: Patience = Patience(),
) -> Application:
    """`application`, with the relay for websockets in front of it."""
    relaying = Relaying(admit, is_still_admitted, patience)

    async def with_relay(scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await relaying(scope, receive, send)
        else:
            await application(scope, receive, send)

    return with_relay


async def nothing(scope: Event, receive: Receive, send: Send) -> None:
    """An application without any address, for a process that does nothing but relay. Raises for what is no request."""
    if scope["type"] != "http":
        raise ValueError(f"Nothing here speaks {scope['type']}.")
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Relaying:
    """A websocket over which the two compute owners of a run under `shared` exchange sealed frames while they train.

    `pairs` are those of this process, by run.
    """

    def __init__(
        self,
        admit: Callable[[dict[str, Any]], Admission],
        is_still_admitted: Callable[[Admission], bool],
        patience: Patience,
    ) -> None:
        self._admit, self._is_still_admitted = in_database(admit), in_database(is_still_admitted)
        self._patience = patience
        self.pairs: dict[str, Pair] = {}

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        await receive()
        try:
            admission = await self._admitted(scope)
        except Refusal as refusal:
            await _deny(scope, send, refusal.response())
            return
        await send({"type": "websocket.accept"})
        await self._serve(admission, Connection(receive, send))

    async def _admitted(self, scope: Event) -> Admission:
        if not _PATH.fullmatch(scope["path"]):
            raise Refusal(404, "not_found", "There is nothing at this address.")
        async with ThreadSensitiveContext():
            return await self._admit(dict(scope))

    async def _serve(self, admission: Admission, connection: Connection) -> None:
        pair = self.pairs.setdefault(admission.run, Pair())
        own, other = pair.seats[admission.side], pair.seats[1 - admission.side]
        own.take(connection)
        try:
            code = await _first(
                connection.read(),
                connection.pass_on(other),
                _then(RelayClosed.REPLACED, connection.replaced.wait()),
                _then(RelayClosed.AWAY, other.stays_empty(self._patience.to_come, self._patience.to_return)),
                _then(RelayClosed.OVER, self._until_over(admission)),
            )
        finally:
            connection.is_over = True
            own.leave(connection)
            if pair.is_empty and self.pairs.get(admission.run) is pair:
                del self.pairs[admission.run]
        if code is not None:
            # A side that reads nothing must not keep this one waiting.
            await asyncio.wait([asyncio.ensure_future(connection.close(code))], timeout=_CLOSE_SECONDS)

    async def _until_over(self, admission: Admission) -> None:
        while True:
            await asyncio.sleep(self._patience.look_every)
            try:
                async with ThreadSensitiveContext():
                    if not await self._is_still_admitted(admission):
                        return
            except DatabaseError as error:
                logger.warning("The database did not say whether a run goes on: %s", error)


async def _then(code: RelayClosed, event: Awaitable[Any]) -> RelayClosed:
    await event
    return code


async def _first(*works: Coroutine[Any, Any, RelayClosed | None]) -> RelayClosed | None:
    """What the first of these to end says; the others are given up."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return next(iter(done)).result()


async def _deny(scope: Event, send: Send, response: JsonResponse) -> None:
    """Answer a request to connect as any other request is answered, where the web process can."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    headers = [(b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": response.content})
    # uvicorn logs an error where an application returns before the connection that it answered is closed.
    await asyncio.sleep(_DENIED_SECONDS)
