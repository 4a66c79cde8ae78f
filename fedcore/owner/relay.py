"""The agent's relay: carries what a worker computes on shares to the peer of its run, and the peer's to the worker.

Who can see what: the worker's process has two pipes and no key (`fedcore.owner.peer_pipes`); the agent seals and opens
with the keys of the run's channel (`fedcore.wire.channel`), which live in its memory alone and end with the relay; the
coordinator carries sealed frames. The host opens the connection and signs the request, as everywhere.

A lost connection is made anew, and the session goes on. What ends it: the coordinator says that the run is over or that
the peer is away, the peer sends what it must not, or the coordinator is out of reach for too long. An agent that was
started anew begins another channel, which the peer does not take: what was dealt for the run serves once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from fedcore.owner.coordinator_api import CoordinatorRefused
from fedcore.owner.isolation import WorkFailed
from fedcore.owner.peer_pipes import AgentPipes
from fedcore.owner.relay_connection import RelayConnections
from fedcore.owner.relay_session import Session, first_of
from fedcore.wire.channel import Channel
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import SigningKey

logger = logging.getLogger(__name__)

LINGER_SECONDS: Final = 10.0
"""How long a side that has all it needs stays for the peer, which may have lost its connection meanwhile."""


class Relay:
    """Carries a run's frames while its block goes on, in one thread beside it.

    The block has the worker do its work, and ends when that is done: `with Relay(…) as relay: shards.compute(go_on)`,
    where `go_on` also calls `relay.check`. At its end the peer is told that nothing more comes; where the block raises,
    everything ends at once, the worker's exchange too.
    """

    def __init__(
        self,
        url: str,
        key: SigningKey,
        order: str,
        run: str,
        peer: str,
        directory: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`url` is the coordinator's, `peer` the other compute owner's pinned key, `directory` the order's spool."""
        self._channel = Channel(run, key, peer)
        self._connections = RelayConnections(url, key, order, clock)
        self._pipes = AgentPipes(directory)
        self._order, self._peer = order, peer
        self._failure: Exception | None = None
        self._worker_left = False
        self._loop = asyncio.new_event_loop()
        self._stopped, self._finishing = asyncio.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._pipes.open()
        except BaseException:
            self._pipes.close()
            self._loop.close()
            raise
        self._thread.start()
        return self

    def check(self) -> None:
        """Raise what has ended the session, if something has: `WireError` or `CoordinatorRefused`."""
        if self._failure is not None:
            raise self._failure

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        event = self._finishing if error is None else self._stopped
        with suppress(RuntimeError):  # The thread has ended already.
            self._loop.call_soon_threadsafe(event.set)
        self._thread.join()
        if error is None:
            self.check()
        elif isinstance(error, WorkFailed) and error.code is RefusalCode.OWNER_AWAY:
            # All that a worker can say is that its pipes have ended: why they have is known here.
            self.check()
            if self._worker_left:
                raise WorkFailed(RefusalCode.WORKER_LOST, "the worker ended in the middle of the exchange")

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(first_of(self._carry(), self._stopped.wait()))
        except (WireError, CoordinatorRefused) as error:
            logger.warning("The relay of order %s has ended: %s", self._order, error)
            self._failure = error
        except Exception as error:
            logger.exception("The relay of order %s failed", self._order)
            self._failure = error
        finally:
            # Only now, so that the reason is known before the worker notices that its pipes have ended.
            self._pipes.close()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()

    async def _carry(self) -> None:
        session = Session(self._channel, *await self._pipes.streams(), self._finishing)
        await first_of(
            self._connected(session),
            self._linger(),
            session.over.wait(),
            self._beside(session.take_from_worker()),
            self._beside(self._note_leaving(session)),
        )

    async def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work whose end does not end the relay; what it raises does."""
        await work
        await self._stopped.wait()

    async def _connected(self, session: Session) -> None:
        try:
            await self._connections.carry(session)
        except WireError as error:
            if not self._finishing.is_set() or error.code is RefusalCode.ARTEFACT_INVALID:
                raise
            # The worker is done, and the run may be over for the coordinator before the peer has said its last.
            logger.info("The relay of order %s has ended: %s", self._order, error)

    async def _note_leaving(self, session: Session) -> None:
        """A worker that is started anew must not go on in a session that another has begun: it finds no pipes."""
        await session.worker_left.wait()
        self._worker_left = True
        self._pipes.remove()

    async def _linger(self) -> None:
        await self._finishing.wait()
        await asyncio.sleep(LINGER_SECONDS)
        logger.warning("The peer %s has not said that it has all of order %s.", self._peer, self._order)
