"""Two named pipes in an order's spool: how a worker's process without a network reaches the agent's relay.

Who can see what: the process that computes on shares has the pipes and no key; what it writes is plaintext to the
agent of the same host, which seals it for the peer. The pipes have mode 0600, like all files of the spool. Both ends
are on one machine.

On the pipes a message is its length (4 bytes, big-endian) and its bytes. The agent knows nothing of messages: it
carries a stream of bytes each way.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn, Self

from fedcore.owner.spool import make_directory
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import SECRET_FILE_MODE

TO_PEER: Final = "to-peer"
FROM_PEER: Final = "from-peer"
CHUNK_BYTES: Final = 256 * 1024
"""How much a pipe holds where the kernel allows it, and how much of it is sealed in one frame at most."""
MAXIMUM_MESSAGE_BYTES: Final = 64 * 1024 * 1024
LONGEST_EXCHANGE: Final = 900.0

_LENGTH: Final = struct.Struct(">I")


class PeerPipes:
    """The computing process's end: exchanges messages with the process that computes at the peer."""

    def __init__(self, directory: Path, seconds: float = LONGEST_EXCHANGE) -> None:
        """Open the pipes in the order's spool. `seconds` is how long an exchange may take at most.

        Raises `WireError` (`owner_away`) where no agent is at the other end.
        """
        self._seconds = seconds
        self._received = bytearray()
        try:
            self._out = os.open(directory / TO_PEER, os.O_WRONLY | os.O_NONBLOCK)
            self._in = os.open(directory / FROM_PEER, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise WireError(
                RefusalCode.OWNER_AWAY,
                f"no agent carries anything to the peer ({error.strerror}). The worker has to run on the agent's "
                "machine, and once for each order",
            ) from None
        self._reading = _poll({self._in: select.POLLIN, self._out: 0})
        self._both = _poll({self._in: select.POLLIN, self._out: select.POLLOUT})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the exchange. What was sent before still reaches the peer."""
        for descriptor in (self._in, self._out):
            with suppress(OSError):
                os.close(descriptor)
        self._in = self._out = -1

    def exchange(self, data: bytes | memoryview) -> bytes:
        """Send one message to the peer and return the peer's next one; both sides may send at once, of any size.

        Raises `WireError`: `too_large` above `MAXIMUM_MESSAGE_BYTES`, `owner_away` where the agent or the peer has
        ended, or the time is up.
        """
        message = memoryview(data).cast("B")
        if len(message) > MAXIMUM_MESSAGE_BYTES:
            raise WireError(RefusalCode.TOO_LARGE, f"a message to the peer has {len(message)} bytes")
        left = memoryview(b"".join((_LENGTH.pack(len(message)), message)))
        deadline = time.monotonic() + self._seconds
        while True:
            left = left[self._write(left) :]
            answer = self._take() if not left else None
            if answer is not None:
                return answer
            self._wait(self._both if left else self._reading, deadline)

    def _write(self, data: memoryview) -> int:
        if not data:
            return 0
        try:
            return os.write(self._out, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            _end(f"this host's agent has ended the exchange: {error.strerror}")

    def _wait(self, poll: select.poll, deadline: float) -> None:
        """Wait until something can be done, and take in what has come."""
        left = deadline - time.monotonic()
        events = dict(poll.poll(left * 1000)) if left > 0 else {}
        if not events:
            _end(f"the peer has not answered for {self._seconds:g} s")
        if events.get(self._in, 0):
            data = os.read(self._in, CHUNK_BYTES)
            if not data:
                _end("the exchange was ended by this host's agent or by the peer")
            self._received += data
        elif events.get(self._out, 0) & (select.POLLERR | select.POLLNVAL):
            _end("this host's agent has ended the exchange")

    def _take(self) -> bytes | None:
        """The next message, if all of it is here."""
        if len(self._received) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._received)
        if length > MAXIMUM_MESSAGE_BYTES:
            raise WireError(RefusalCode.TOO_LARGE, f"the peer announces a message of {length} bytes")
        end = _LENGTH.size + length
        if len(self._received) < end:
            return None
        message = bytes(memoryview(self._received)[_LENGTH.size : end])
        del self._received[:end]
        return message


class AgentPipes:
    """The agent's ends of both pipes of an order."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptors: list[int] = []
        self._reading: asyncio.ReadTransport | None = None
        self._writing: asyncio.WriteTransport | None = None

    def open(self) -> None:
        """Make the pipes anew and open this side's ends; from now on a worker can open its own."""
        make_directory(self._directory)
        self.remove()
        for name in (TO_PEER, FROM_PEER):
            os.mkfifo(self._directory / name, SECRET_FILE_MODE)
        to_peer, from_peer = self._directory / TO_PEER, self._directory / FROM_PEER
        # A pipe can be opened to write only while somebody reads from it: this side does too, and takes nothing.
        for path, way in ((to_peer, os.O_RDONLY), (from_peer, os.O_RDONLY), (from_peer, os.O_WRONLY)):
            self._descriptors.append(os.open(path, way | os.O_NONBLOCK))
        for descriptor in self._descriptors[:2]:
            with suppress(
                OSError
            ):  # The pipes of one user hold only so much together; smaller ones are slower.
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, CHUNK_BYTES)

    async def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """What comes from the worker, and what goes to it, in the running event loop."""
        loop = asyncio.get_running_loop()
        to_peer, held, from_peer = self._descriptors
        self._descriptors = [held]
        reader = asyncio.StreamReader(limit=CHUNK_BYTES)
        self._reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(to_peer, "rb", buffering=0)
        )
        flow = asyncio.streams.FlowControlMixin(loop)
        self._writing, _ = await loop.connect_write_pipe(
            lambda: flow, os.fdopen(from_peer, "wb", buffering=0)
        )
        return reader, asyncio.StreamWriter(self._writing, flow, None, loop)

    def remove(self) -> None:
        """Take the pipes' names away: nobody can open them any more, and who has them open keeps them."""
        for name in (TO_PEER, FROM_PEER):
            (self._directory / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Take the names away and close this side's ends, which ends the worker's exchange."""
        self.remove()
        if self._reading is not None:
            self._reading.close()
        if self._writing is not None and (
            not self._writing.is_closing() or self._writing.get_write_buffer_size()
        ):
            self._writing.abort()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors, self._reading, self._writing = [], None, None


def _poll(wanted: dict[int, int]) -> select.poll:
    poll = select.poll()
    for descriptor, events in wanted.items():
        poll.register(descriptor, events)
    return poll


def _end(why: str) -> NoReturn:
    raise WireError(RefusalCode.OWNER_AWAY, why)
