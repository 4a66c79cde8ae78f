"""A coordinator's relay in a thread, and two compute owners, Olga and Paul, with agents and workers."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from fedcore.coordinator.api.host_auth import Refusal
from fedcore.coordinator.relay.admission import Admission
from fedcore.coordinator.relay.application import Application, Patience, nothing, relay
from fedcore.owner.peer_pipes import PeerPipes
from fedcore.owner.relay import Relay
from fedcore.wire.keys import SigningKey
from fedcore.wire.relay import RELAY_PATH

RUN = hashlib.sha256(b"run").hexdigest()


@dataclass
class Admitting:
    """Lets hosts in by order and without a database; `over` holds the orders that are no longer open."""

    sides: dict[str, tuple[str, int]] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)
    looks: int = 0

    def admit(self, scope: dict[str, Any]) -> Admission:
        order = scope["path"].removeprefix(RELAY_PATH)
        if order not in self.sides or order in self.over:
            raise Refusal(404, "not_found", "There is no such order to train on shares.")
        return Admission(*self.sides[order], order, "key")

    def is_still_admitted(self, admission: Admission) -> bool:
        self.looks += 1
        return admission.order not in self.over


class Site:
    """A web process: uvicorn in a thread, as `manage.py start` configures it."""

    def __init__(self, application: Application, port: int = 0) -> None:
        config = uvicorn.Config(
            application,  # type: ignore[arg-type]
            port=port,
            lifespan="off",
            log_level="critical",
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        wait_for(lambda: self.server.started)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(10)

    def cut(self, which: Callable[[list[Any]], list[Any]] = list) -> None:
        """Lose connections without a word: all, or those that `which` chooses."""
        for connection in which(list(self.server.server_state.connections)):
            connection.loop.call_soon_threadsafe(connection.transport.abort)


@contextmanager
def site(
    admitting: Admitting,
    patience: Patience = Patience(),
    around: Callable[[Application], Application] = lambda application: application,
) -> Iterator[Site]:
    """The relay at work; `around` may look at what passes, or change it."""
    running = Site(around(relay(nothing, admitting.admit, admitting.is_still_admitted, patience)))
    try:
        yield running
    finally:
        running.stop()


@dataclass
class Owner:
    """A compute owner: its key, its order, its spool."""

    name: str
    directory: Path
    side: int
    key: SigningKey = field(default_factory=SigningKey.generate)

    @property
    def order(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()[:32]

    def relay(self, url: str, peer: Owner, run: str = RUN) -> Relay:
        return Relay(url, self.key, self.order, run, peer.key.public, self.directory)


def owners(directory: Path, admitting: Admitting) -> tuple[Owner, Owner]:
    """Olga and Paul, who may use the relay."""
    found = tuple(Owner(name, directory / name, side) for side, name in enumerate(("olga", "paul")))
    admitting.sides |= {owner.order: (RUN, owner.side) for owner in found}
    return found  # type: ignore[return-value]


class Worker(threading.Thread):
    """An owner's worker, in a thread: what it does with its pipes, and how it ends."""

    def __init__(self, owner: Owner, work: Callable[[PeerPipes], Any], seconds: float = 20.0) -> None:
        super().__init__(daemon=True)
        self._owner, self._work, self._seconds = owner, work, seconds
        self.result: Any = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            with PeerPipes(self._owner.directory, self._seconds) as pipes:
                self.result = self._work(pipes)
        except Exception as error:
            self.error = error

    def ended(self, seconds: float = 30.0) -> Any:
        """Its result. Raises its error."""
        self.join(seconds)
        assert not self.is_alive(), "the worker hangs"
        if self.error is not None:
            raise self.error
        return self.result


def watching(
    seen: list[tuple[str, Any]], change: Callable[[str, Any], list[Any]] = lambda path, content: [content]
) -> Callable[[Application], Application]:
    """Notes what every host sends to the relay, and puts what `change` makes of it in its place."""

    def around(application: Application) -> Application:
        async def watched(scope: Any, receive: Any, send: Any) -> None:
            waiting: list[Any] = []

            async def received() -> Any:
                while not waiting:
                    event = await receive()
                    if event["type"] != "websocket.receive":
                        return event
                    content = event.get("bytes") or event.get("text")
                    seen.append((scope["path"], content))
                    for changed in change(scope["path"], content):
                        kind = "text" if isinstance(changed, str) else "bytes"
                        waiting.append({"type": "websocket.receive", kind: changed})
                return waiting.pop(0)

            await application(scope, received, send)

        return watched

    return around


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
