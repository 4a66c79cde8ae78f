"""The connections of an owner host to the coordinator's relay: signed, kept alive, and made anew when they are lost."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final, Literal
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from fedcore.owner.coordinator_api import CoordinatorRefused
from fedcore.owner.relay_session import Session
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import SigningKey
from fedcore.wire.relay import MAXIMUM_FRAME_BYTES, RELAY_PATH, RelayClosed
from fedcore.wire.requests import sign_request

logger = logging.getLogger(__name__)

AWAY_SECONDS: Final = 120.0
"""How long the coordinator may be out of reach before the session is given up."""

_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 5.0
_KEEPALIVE_SECONDS: Final = 20.0
_CLOSE_SECONDS: Final = 1.0
_MOST_WAITING: Final = 64
_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_NOT_FOUND: Final = 404
_HERE: Final = ("127.0.0.1", "localhost")
_SECURE: Final = {"http": "ws", "https": "wss"}

ENDS: Final[dict[int, tuple[RefusalCode, str]]] = {
    RelayClosed.TOO_LARGE: (RefusalCode.TOO_LARGE, "the relay does not carry a frame of this size"),
    RelayClosed.REPLACED: (RefusalCode.CONFLICT, "another process of this host took its place at the relay"),
    RelayClosed.AWAY: (RefusalCode.OWNER_AWAY, "the peer did not come to the relay, or did not return"),
    RelayClosed.OVER: (RefusalCode.CANCELLED, "the run is over, or the order is answered or expired"),
}
"""What a close code of the relay means for the order. After any other the connection is made anew."""


class RelayConnections:
    """How one order's session reaches the relay."""

    def __init__(self, url: str, key: SigningKey, order: str, clock: Callable[[], float] = time.time) -> None:
        """`url` is the coordinator's address."""
        parts = urlsplit(url.rstrip("/") + RELAY_PATH + order)
        self._path, self._key, self._clock = parts.path, key, clock
        self._address = parts._replace(scheme=_SECURE[parts.scheme]).geturl()
        # The same certificates are trusted, and the same addresses reached without a proxy, as for other requests.
        self._tls = httpx.create_ssl_context() if parts.scheme == "https" else None
        self._proxy: Literal[True] | None = None if parts.hostname in _HERE else True

    async def carry(self, session: Session) -> None:
        """Carry a session over as many connections as it takes.

        Raises `WireError` for what ends the session, and `CoordinatorRefused` where this host is not let in.
        """
        last, attempts = time.monotonic(), 0
        while True:
            try:
                async with self._opened() as websocket:
                    attempts = 0
                    try:
                        return await session.carry(websocket)
                    finally:
                        last = time.monotonic()
            except ConnectionClosed as closed:
                _raise_for(closed)
                logger.info("The connection to the relay was lost: %s", closed)
            except InvalidStatus as refused:
                self._raise_for_status(refused.response.status_code)
            except (OSError, InvalidHandshake, TimeoutError) as error:
                logger.info("The relay cannot be reached: %s", error)
            if time.monotonic() - last > AWAY_SECONDS:
                raise WireError(RefusalCode.OWNER_AWAY, f"the relay was out of reach for {AWAY_SECONDS:g} s")
            longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(attempts, 16))
            attempts += 1
            await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311 (jitter, no secret)

    def _opened(self) -> connect:
        return _Connect(
            self._address,
            ssl=self._tls,
            proxy=self._proxy,
            compression=None,
            additional_headers=sign_request(self._key, "GET", self._path, b"", int(self._clock())),
            max_size=MAXIMUM_FRAME_BYTES,
            max_queue=_MOST_WAITING,
            ping_interval=_KEEPALIVE_SECONDS,
            ping_timeout=_KEEPALIVE_SECONDS,
            close_timeout=_CLOSE_SECONDS,
        )

    def _raise_for_status(self, status: int) -> None:
        if status == _NOT_FOUND:
            raise WireError(
                RefusalCode.CANCELLED, "the coordinator has no open order of this host to relay for"
            )
        if status not in _LATER:
            raise CoordinatorRefused(status, f"GET {self._path}")


class _Connect(connect):
    """Redirects are not followed: what is signed is signed for one coordinator."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def _raise_for(closed: ConnectionClosed) -> None:
    end = ENDS.get(closed.rcvd.code) if closed.rcvd is not None else None
    if end is not None:
        raise WireError(*end) from None
