"""One run's session with the peer: what is said on a connection to the relay, and what goes on over the next one.

Frames are sealed once. A connection that is lost takes nothing with it: on the next one each side says how many frames
it has, and gets the missing ones again, byte for byte (see `fedcore.wire.relay` for the order of greetings).
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from fedcore.owner.peer_pipes import CHUNK_BYTES
from fedcore.wire.channel import Channel
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.relay import MAXIMUM_GREETING_BYTES, Greeting

ACKNOWLEDGE_AFTER: Final = 16
"""After how many frames of the peer one without content tells it that they came, if nothing else was sent."""
MOST_KEPT: Final = 64
"""How many frames may be without acknowledgement before the worker's bytes are left in its pipe."""
MOST_UNSAID: Final = 64
"""How many greetings may wait to be answered."""


class Websocket(Protocol):
    """What is needed of a connection to the relay."""

    async def send(self, message: bytes | str) -> None: ...
    async def recv(self) -> bytes | str: ...


class Session:
    """The agent's side of a run's session, over as many connections as it takes."""

    def __init__(
        self,
        channel: Channel,
        from_worker: asyncio.StreamReader,
        to_worker: asyncio.StreamWriter,
        finishing: asyncio.Event,
    ) -> None:
        """`finishing` is set when the worker has ended well: the peer is then told that nothing more comes."""
        self._channel, self.finishing = channel, finishing
        self._from_worker, self._to_worker = from_worker, to_worker
        self._connection = ""
        self._answered = ""
        self._to_say: deque[tuple[str, int | None]] = deque()
        self._next = 0
        self._may_send = self._may_open = False
        self._something = asyncio.Event()
        self._room = asyncio.Event()
        self._has_ended = False
        self.worker_left = asyncio.Event()
        """Set when the worker has closed its pipe."""
        self.over = asyncio.Event()
        """Set when neither side needs anything of the other any more."""

    async def take_from_worker(self) -> None:
        """Seal what the worker writes, until it has closed its pipe and ended well."""
        while data := await self._from_worker.read(CHUNK_BYTES):
            while not self._channel.is_open or self._channel.unacknowledged >= MOST_KEPT:
                self._room.clear()
                await self._room.wait()
            self._seal(data)
        self.worker_left.set()
        await self.finishing.wait()
        while not self._channel.is_open:
            self._room.clear()
            await self._room.wait()
        self._seal(b"", is_last=True)
        self._has_ended = True

    async def carry(self, websocket: Websocket) -> None:
        """Use this connection until it ends, which raises its error, or nothing is left to do.

        Raises `WireError` for anything that the peer, or the relay in its place, must not send.
        """
        self._connection, self._answered = secrets.token_hex(8), ""
        self._may_send = self._may_open = False
        self._to_say = deque([(self._greeting(self._connection, answer=False), None)])
        self._something.set()
        await first_of(self._send_to(websocket), self._receive_from(websocket), self.over.wait())

    async def _send_to(self, websocket: Websocket) -> None:
        """Everything that is sent on a connection is sent here, one after the other."""
        while True:
            if self._to_say:
                text, start = self._to_say.popleft()
                if text:
                    await websocket.send(text)
                if start is not None:
                    self._next, self._may_send = start, True
            elif self._may_send and self._next < self._channel.sent:
                number = max(self._next, self._channel.acknowledged)
                self._next = number + 1
                await websocket.send(self._channel.frame(number))
            else:
                self._look_whether_over()
                self._something.clear()
                await self._something.wait()

    async def _receive_from(self, websocket: Websocket) -> None:
        while True:
            message = await websocket.recv()
            if isinstance(message, str):
                self._hear(Greeting.parse(message, MAXIMUM_GREETING_BYTES))
            elif self._may_open:
                await self._open(message)

    def _hear(self, greeting: Greeting) -> None:
        if len(self._to_say) > MOST_UNSAID:
            raise WireError(RefusalCode.ARTEFACT_INVALID, "the relay brings greetings without end")
        self._channel.greet(greeting.hello)
        self._channel.check_count(greeting.received)
        self._room.set()
        if not greeting.answer:
            self._answer(greeting)
        elif greeting.connection == self._connection:
            self._may_open = True
            if not self._answered:
                self._to_say.append(("", greeting.received))
        self._something.set()

    def _answer(self, greeting: Greeting) -> None:
        if greeting.connection == self._answered:
            return  # It came twice: the frames that it asks for are on their way.
        self._answered = greeting.connection
        self._to_say.append((self._greeting(greeting.connection, answer=True), greeting.received))
        if not self._may_open:
            # The peer may be new on the relay, and what was said before it came is lost.
            self._to_say.append((self._greeting(self._connection, answer=False), None))

    def _greeting(self, connection: str, answer: bool) -> str:
        channel = self._channel
        greeting = Greeting(
            hello=channel.hello, received=channel.received, connection=connection, answer=answer
        )
        return greeting.encode()

    async def _open(self, frame: bytes) -> None:
        opened = self._channel.open(frame)
        self._room.set()
        if opened.is_last:
            self._to_worker.close()
        elif opened.data and not self.worker_left.is_set():
            self._to_worker.write(opened.data)
            await self._to_worker.drain()
        if self._channel.unacknowledged > 2 * MOST_KEPT:
            raise WireError(RefusalCode.ARTEFACT_INVALID, "the peer sends, and acknowledges nothing")
        unsaid = self._channel.received - self._channel.told
        if not self._has_ended and (opened.is_last or unsaid >= ACKNOWLEDGE_AFTER):
            self._seal(b"")
        self._something.set()

    def _seal(self, data: bytes, is_last: bool = False) -> None:
        self._channel.seal(data, is_last)
        self._something.set()

    def _look_whether_over(self) -> None:
        """The peer's last frame says that it has all it needs, and its acknowledgement of this side's last that it got
        that one; but for the latter the peer waits for what this side still has to send."""
        is_sent = self._may_send and self._next >= self._channel.sent
        if self._has_ended and (
            not self._channel.unacknowledged or (self._channel.peer_has_ended and is_sent)
        ):
            self.over.set()


async def first_of(*works: Coroutine[Any, Any, Any]) -> None:
    """Wait for the first of these to end, and give the others up. Raises what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
