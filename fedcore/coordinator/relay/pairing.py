"""The two sides of a run in this process's memory, and the passing of messages between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from fedcore.wire.relay import MAXIMUM_FRAME_BYTES, RelayClosed

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

WAITING_MESSAGES: Final = 8
"""How many messages of one side may wait for the other before no more are read from its connection."""


class Connection:
    """One side's websocket. `is_over` says that nothing of it is passed on any more."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._waiting: asyncio.Queue[Event | None] = asyncio.Queue(WAITING_MESSAGES)
        self._giving = asyncio.Lock()
        self.is_over = False
        self.replaced = asyncio.Event()

    async def read(self) -> RelayClosed | None:
        """Take messages in until the connection ends, then wait for the next. A code where this side broke a limit."""
        while True:
            event = await self._receive()
            if event["type"] != "websocket.receive":
                await self._waiting.put(None)
                await self.replaced.wait()
                return None
            content = event.get("bytes") or event.get("text") or b""
            if len(content) > MAXIMUM_FRAME_BYTES:
                return RelayClosed.TOO_LARGE
            await self._waiting.put({**event, "type": "websocket.send"})

    async def pass_on(self, other: Seat) -> None:
        """Give everything that was taken in to whoever sits in the other seat, in order, until the connection has ended
        and nothing of it is left: what a side sent before it left arrives."""
        while (message := await self._waiting.get()) is not None:
            receiver = await other.taken_by()
            await receiver.give(message, self)

    async def give(self, message: Event, sender: Connection) -> None:
        """Send a message of the other side here, unless its connection is over. One that cannot be sent is dropped:
        the hosts number their frames, and send those again that did not arrive."""
        async with self._giving:
            if sender.is_over or self.is_over:
                return
            try:
                await self._send(message)
            except (OSError, RuntimeError):
                return

    async def close(self, code: RelayClosed) -> None:
        """End the connection with this code, if it has not ended."""
        self.is_over = True
        try:
            await self._send({"type": "websocket.close", "code": int(code), "reason": code.name.lower()})
        except (OSError, RuntimeError):
            return  # It is closed already.


class Seat:
    """The place of one side in a pair, and who has it now."""

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._here, self._gone = asyncio.Event(), asyncio.Event()
        self._gone.set()

    def take(self, connection: Connection) -> None:
        """Have the seat. Whoever had it is out at once, and nothing of theirs is passed on after this."""
        if self._connection is not None:
            self._connection.is_over = True
            self._connection.replaced.set()
        self._connection = connection
        self._here.set()
        self._gone.clear()

    def leave(self, connection: Connection) -> None:
        """Leave the seat, unless another has taken it."""
        if self._connection is connection:
            self._connection = None
            self._here.clear()
            self._gone.set()

    @property
    def is_empty(self) -> bool:
        return self._connection is None

    async def taken_by(self) -> Connection:
        """Who has the seat, as soon as somebody does."""
        while self._connection is None:
            await self._here.wait()
        return self._connection

    async def stays_empty(self, to_come: float, to_return: float) -> None:
        """Return when nobody has the seat for `to_come` seconds at first, or for `to_return` later."""
        patience = to_come
        while True:
            try:
                await asyncio.wait_for(self._here.wait(), patience)
            except TimeoutError:
                return
            await self._gone.wait()
            patience = to_return


@dataclass
class Pair:
    """The two seats of one run."""

    seats: tuple[Seat, Seat] = field(default_factory=lambda: (Seat(), Seat()))

    @property
    def is_empty(self) -> bool:
        return all(seat.is_empty for seat in self.seats)
