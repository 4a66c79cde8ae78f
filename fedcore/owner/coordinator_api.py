"""The agent's side of HTTPS to the coordinator: pull orders and grants, bring artefacts, post what is answered.

The host opens every connection and signs every request. What comes back is untrusted: sizes are capped while
reading, artefacts are checked against their digest before they exist under it, redirects are not followed.
A connection that fails, and an answer that says "later" (429, 5xx), is tried again after a jittered wait.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Final, TypeVar

import httpx
from pydantic import Field, JsonValue

from fedcore.owner.spool import digest_of, make_directory, replacing
from fedcore.wire.access import GrantStanding
from fedcore.wire.catalogue import MockRef
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import MAXIMUM_MESSAGE_BYTES, Digest, Message, Seconds, WireError
from fedcore.wire.heads import HeadReceipt
from fedcore.wire.keys import SigningKey
from fedcore.wire.orders import ArtefactRef
from fedcore.wire.reports import Announcement
from fedcore.wire.requests import sign_request
from fedcore.wire.signing import Signed

logger = logging.getLogger(__name__)

CHUNK_BYTES: Final = 4 * 1024 * 1024
LONGEST_ORDERS: Final = 32 * MAXIMUM_MESSAGE_BYTES
LONGEST_ANSWER: Final = 64 * 1024
LONGEST_WANTED: Final = 128 * 1024
LONGEST_HEADS: Final = MAXIMUM_MESSAGE_BYTES
FIRST_WAIT: Final = 0.25
LONGEST_WAIT: Final = 30.0
_ATTEMPTS_AT_ARTEFACTS: Final = 8
Result = TypeVar("Result")
_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)
_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class CoordinatorAway(Exception):
    """The coordinator cannot be reached, or asks to come back later."""


class CoordinatorRefused(Exception):
    """The coordinator answered with a status that trying again does not change."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(f"The coordinator answered {status} to {what}.")
        self.status = status


class _Orders(Message):
    cursor: Seconds
    orders: Annotated[tuple[dict[str, JsonValue], ...], Field(max_length=1000)]
    grants: Seconds = 0


class _Notices(Message):
    cursor: Seconds
    notices: Annotated[tuple[dict[str, JsonValue], ...], Field(max_length=1000)]


class _Wanted(Message):
    wanted: Annotated[tuple[Digest, ...], Field(max_length=1000)]


class Heads(Message):
    """Signed heads of other hosts' ledgers that this host has not answered, and receipts for its own."""

    heads: Annotated[tuple[Signed, ...], Field(max_length=64)]
    receipts: Annotated[tuple[Signed, ...], Field(max_length=64)]


@dataclass(frozen=True)
class Delivered:
    """Signed messages that wait for this host, and where to ask on from.

    `malformed` says what is wrong with those that have not even an envelope's form; they do not stop the others.
    `grants` rises whenever a grant on this host's data is new or has changed.
    """

    cursor: int
    messages: tuple[Signed, ...]
    malformed: tuple[WireError, ...] = ()
    grants: int = 0


class CoordinatorApi:
    """The coordinator as this host sees it. May be used from several threads."""

    def __init__(
        self,
        url: str,
        key: SigningKey,
        stop: threading.Event | None = None,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`stop` ends all waiting; `transport` takes the network's place in tests."""
        self._key = key
        self._clock = clock
        self._stop = stop or threading.Event()
        # A proxy of the environment is for the world outside, never for a coordinator on this machine.
        here: dict[str, httpx.BaseTransport | None] = {
            f"all://{host}": None for host in ("127.0.0.1", "localhost")
        }
        self._client = httpx.Client(
            base_url=url.rstrip("/"),
            timeout=_TIMEOUT,
            transport=transport,
            mounts=None if transport else here,
            limits=httpx.Limits(max_connections=32),
        )

    def close(self) -> None:
        self._client.close()

    def orders(self, after: int, wait: int, grants: int = 0) -> Delivered:
        """Unanswered orders with a serial above `after`; the coordinator waits up to `wait` seconds for one.

        It also answers as soon as the serial of this host's grants is above `grants`. Raises `CoordinatorAway`,
        `CoordinatorRefused`, and `WireError` for an answer that is no list of orders.
        """
        path = f"/api/host/orders?after={after}&wait={wait}&grants={grants}"
        with self._send("GET", path, timeout=httpx.Timeout(wait + 15.0, connect=10.0)) as response:
            self._expect(response, path, HTTPStatus.OK)
            answer = _Orders.parse(_read(response, LONGEST_ORDERS), LONGEST_ORDERS)
        return Delivered(answer.cursor, *_envelopes(answer.orders), answer.grants)

    def notices(self, after: int) -> Delivered:
        """What is new of this host's grants since the serial `after`, some at a time: until none is left.

        Raises `CoordinatorAway`, `CoordinatorRefused`, and `WireError`.
        """
        path = f"/api/host/grants?after={after}"
        with self._send("GET", path) as response:
            self._expect(response, path, HTTPStatus.OK)
            answer = _Notices.parse(_read(response, LONGEST_ORDERS), LONGEST_ORDERS)
        return Delivered(answer.cursor, *_envelopes(answer.notices))

    def stand(self, standing: GrantStanding) -> None:
        """Tell the coordinator how a grant stands here. Raises `CoordinatorAway` and `CoordinatorRefused`."""
        self._post_once("/api/host/standings", standing.signed_by(self._key))

    def report(self, report: Signed, go_on: Callable[[], None] | None = None) -> None:
        """Post an answer, until the coordinator has it. `go_on` is called before each try, and raises to give up."""
        self._post("/api/host/reports", report, go_on)

    def announce(self, announcement: Announcement) -> None:
        """Tell the coordinator which datasets this host offers now."""
        self._post("/api/host/announcements", announcement.signed_by(self._key))

    def exchange_heads(self, head: Signed) -> Heads:
        """Say how far this host's ledger has come; what peers ask of theirs, and receipts for this one.

        Raises `CoordinatorAway`, `CoordinatorRefused`, and `WireError` for an answer of another form.
        """
        path, body = "/api/host/heads", head.encode().encode()
        with self._send("POST", path, body, {"Content-Type": "application/json"}) as response:
            self._expect(response, path, HTTPStatus.OK)
            return Heads.parse(_read(response, LONGEST_HEADS), LONGEST_HEADS)

    def give_receipt(self, receipt: HeadReceipt) -> None:
        """Bring a receipt for a peer's head. Raises `CoordinatorAway` and `CoordinatorRefused`."""
        self._post_once("/api/host/head-receipts", receipt.signed_by(self._key))

    def wanted_mocks(self) -> tuple[str, ...]:
        """The digests of mock samples that this host has announced and the coordinator does not have."""
        path = "/api/host/mocks"
        with self._send("GET", path) as response:
            self._expect(response, path, HTTPStatus.OK)
            return _Wanted.parse(_read(response, LONGEST_WANTED), LONGEST_WANTED).wanted

    def send_mock(self, ref: MockRef, sample: bytes) -> None:
        """Bring a mock sample that was announced."""
        path = f"/api/host/mocks/{ref.digest}"

        def send() -> None:
            with self._send("PUT", path, sample, {"Content-Type": "application/json"}) as response:
                self._expect(response, path, HTTPStatus.OK)

        self._patiently(send)

    def upload(
        self, order: str, ref: ArtefactRef, path: Path, go_on: Callable[[], None] | None = None
    ) -> int:
        """Bring the bytes of `ref`, which lie in `path`, going on where the coordinator has them already.

        `go_on` is called before each chunk and each try, and raises to give up. Returns the number of bytes sent.
        Raises `CoordinatorRefused` where they are not taken.
        """
        offset = self._patiently(lambda: self._offset(order, ref), go_on)
        sent = 0
        with path.open("rb") as file:
            while offset < ref.size:
                file.seek(offset)
                chunk = file.read(CHUNK_BYTES)
                offset = self._patiently(partial(self._send_chunk, order, ref, offset, chunk), go_on)
                sent += len(chunk)
        return sent

    def download(self, order: str, ref: ArtefactRef, target: Path) -> None:
        """Fetch the bytes of `ref` to `target`, unless they are there. Raises `WireError` (`artefact_invalid`).

        After a power cut they may be gone, or not be those of `ref`: whoever needs them then fetches them again.
        """
        if target.exists() and target.stat().st_size == ref.size and digest_of(target) == ref.digest:
            return
        make_directory(target.parent)
        with replacing(target, durably=False) as file:
            digest = hashlib.sha256()
            for block in self._resumed(order, ref):
                digest.update(block)
                file.write(block)
            if file.tell() != ref.size or digest.hexdigest() != ref.digest:
                raise WireError(RefusalCode.ARTEFACT_INVALID, f"artefact {ref.digest} came with other bytes")

    def _resumed(self, order: str, ref: ArtefactRef) -> Iterator[bytes]:
        """The bytes of an artefact; after a lost connection it goes on where it stood."""
        received = 0
        for attempts in range(1, _ATTEMPTS_AT_ARTEFACTS + 1):
            try:
                for block in self._blocks(order, ref, received):
                    received += len(block)
                    yield block
                return
            except CoordinatorAway:
                if attempts == _ATTEMPTS_AT_ARTEFACTS:
                    raise
                self._wait(attempts)

    def _blocks(self, order: str, ref: ArtefactRef, start: int) -> Iterator[bytes]:
        path = f"/api/host/artefacts/{order}/{ref.digest}"
        extra = {"Range": f"bytes={start}-"} if start else {}
        with self._send("GET", path, headers=extra) as response:
            self._expect(response, path, HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK)
            left = ref.size - start
            with _reaching("GET", path):
                for block in response.iter_raw():
                    left -= len(block)
                    if left < 0:
                        raise WireError(
                            RefusalCode.ARTEFACT_INVALID, f"artefact {ref.digest} is longer than it says"
                        )
                    yield block

    def _offset(self, order: str, ref: ArtefactRef) -> int:
        """How many bytes the coordinator has already."""
        path = f"/api/host/artefacts/{order}/{ref.digest}"
        with self._send("HEAD", path) as response:
            if response.status_code == HTTPStatus.NOT_FOUND:
                return 0
            self._expect(response, path, HTTPStatus.OK, HTTPStatus.NO_CONTENT)
            return _offset_in(response, ref)

    def _send_chunk(self, order: str, ref: ArtefactRef, offset: int, chunk: bytes) -> int:
        """Send a chunk. The answer is how many bytes the coordinator has now."""
        path = f"/api/host/artefacts/{order}/{ref.digest}"
        extra = {
            "Upload-Offset": str(offset),
            "Upload-Length": str(ref.size),
            "Content-Type": "application/offset+octet-stream",
        }
        with self._send("PATCH", path, chunk, extra) as response:
            self._expect(response, path, HTTPStatus.NO_CONTENT, HTTPStatus.OK, HTTPStatus.CONFLICT)
            refused = response.status_code == HTTPStatus.CONFLICT
            if refused and "Upload-Offset" not in response.headers:
                raise CoordinatorRefused(response.status_code, f"PATCH {path}")
            there = _offset_in(response, ref)
            if refused and there == offset:
                raise CoordinatorRefused(response.status_code, f"PATCH {path}")
            return there

    def _post(self, path: str, signed: Signed, go_on: Callable[[], None] | None = None) -> None:
        self._patiently(partial(self._post_once, path, signed), go_on)

    def _post_once(self, path: str, signed: Signed) -> None:
        body = signed.encode().encode()
        with self._send("POST", path, body, {"Content-Type": "application/json"}) as response:
            self._expect(response, path, HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED)

    @contextmanager
    def _send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        timeout: httpx.Timeout = _TIMEOUT,
    ) -> Iterator[httpx.Response]:
        request = self._client.build_request(
            method,
            path,
            content=body,
            headers={"Accept-Encoding": "identity", **(headers or {})},
            timeout=timeout,
        )
        signed_path = request.url.raw_path.decode("ascii")
        request.headers.update(sign_request(self._key, method, signed_path, body, int(self._clock())))
        with _reaching(method, path):
            response = self._client.send(request, stream=True)
        try:
            yield response
        finally:
            response.close()

    def _expect(self, response: httpx.Response, path: str, *expected: int) -> None:
        if response.status_code in expected:
            return
        what = f"{response.request.method} {path}"
        with _reaching(response.request.method, path):
            detail = _read(response, LONGEST_ANSWER)[:500].decode("utf-8", "replace")
        logger.debug("%s: %s %s", what, response.status_code, detail)
        if response.status_code in _LATER:
            raise CoordinatorAway(f"The coordinator answered {response.status_code} to {what}.")
        raise CoordinatorRefused(response.status_code, what)

    def _patiently(self, send: Callable[[], Result], go_on: Callable[[], None] | None = None) -> Result:
        """Call until the coordinator answers, or this host stops (`CoordinatorAway`), or `go_on` raises."""
        attempts = 0
        while True:
            if go_on is not None:
                go_on()
            try:
                return send()
            except CoordinatorAway as error:
                attempts += 1
                if self._stop.is_set():
                    raise
                logger.warning("%s Trying again (%d).", error, attempts)
                self._wait(attempts)

    def _wait(self, attempts: int) -> None:
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempts, 16))
        if self._stop.wait(random.uniform(longest / 2, longest)):  # noqa: S311 (jitter, no secret)
            raise CoordinatorAway("This host is stopping.")


@contextmanager
def _reaching(method: str, path: str) -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        raise CoordinatorAway(
            f"The coordinator did not answer {method} {path}: {type(error).__name__}."
        ) from None


def _envelopes(
    items: Iterable[dict[str, JsonValue]],
) -> tuple[tuple[Signed, ...], tuple[WireError, ...]]:
    """The signed messages of an answer, and what is wrong with what has not even an envelope's form."""
    found, malformed = [], []
    for content in items:
        try:
            found.append(Signed.from_bytes(json.dumps(content).encode()))
        except WireError as error:
            malformed.append(error)
    return tuple(found), tuple(malformed)


def _read(response: httpx.Response, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    with _reaching(response.request.method, response.request.url.path):
        for part in response.iter_raw():
            size += len(part)
            if size > limit:
                raise WireError(RefusalCode.TOO_LARGE, f"an answer exceeds the limit of {limit} bytes")
            parts.append(part)
    return b"".join(parts)


def _offset_in(response: httpx.Response, ref: ArtefactRef) -> int:
    text = response.headers.get("Upload-Offset", "")
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= ref.size):
        raise WireError(RefusalCode.MALFORMED, "the coordinator gave no usable Upload-Offset")
    return int(text)
