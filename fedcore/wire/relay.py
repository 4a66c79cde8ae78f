"""How owner hosts speak with the coordinator's relay, and with each other before a frame is sealed.

Over the websocket at `RELAY_PATH` binary messages are sealed frames of `fedcore.wire.channel`, and texts are greetings.
The relay passes both on as they are. A greeting is not sealed: its hello is signed, and its numbers only say what
is to be sent again.

After every new connection a side greets and asks for an answer. It sends no frame before it knows from the peer how
many the peer has, and drops the frames that come before the answer: the peer sends them again after it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Final

from pydantic import Field

from fedcore.wire.encoding import LARGEST_INTEGER, Message
from fedcore.wire.signing import Signed

RELAY_PATH: Final = "/api/host/relay/"
"""Followed by the id of the order for which the host asks."""
MAXIMUM_FRAME_BYTES: Final = 1024 * 1024
"""The longest message that the relay carries."""
MAXIMUM_GREETING_BYTES: Final = 8 * 1024


class RelayClosed(IntEnum):
    """Why the relay ends a connection: the websocket's close code."""

    TOO_LARGE = 1009
    REPLACED = 4000
    AWAY = 4001
    OVER = 4002


class Greeting(Message):
    """What a side says on a new connection, and what it answers to that.

    `received` is how many frames of the peer it has opened. `connection` names the connection at whose start it was
    said; an `answer` repeats the name that it answers.
    """

    hello: Signed
    received: Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
    connection: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    answer: bool
