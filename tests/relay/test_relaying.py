"""The relay alone: who is let in, what is passed on, and how connections end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from fedcore.coordinator.relay.admission import Admission
from fedcore.coordinator.relay.application import Patience, Relaying, nothing
from fedcore.coordinator.relay.application import relay as relaying
from fedcore.coordinator.relay.pairing import Connection
from fedcore.wire.relay import MAXIMUM_FRAME_BYTES, RELAY_PATH, RelayClosed
from tests.relay.playing import Admitting, Owner, Site, site, wait_for

QUICK = Patience(to_come=0.5, to_return=0.5, look_every=0.1)


@pytest.fixture
def patient(admitting: Admitting, pair: tuple[Owner, Owner]) -> Iterator[Site]:
    with site(admitting) as running:
        yield running


@pytest.fixture
def quick(admitting: Admitting, pair: tuple[Owner, Owner]) -> Iterator[Site]:
    with site(admitting, QUICK) as running:
        yield running


def opened(at: Site, owner: Owner) -> ClientConnection:
    """A websocket of this owner's, without compression and limits of its own."""
    return connect(
        at.url.replace("http", "ws") + RELAY_PATH + owner.order,
        compression=None,
        max_size=None,
        proxy=None,
        close_timeout=1,
    ).__enter__()


@contextmanager
def both(at: Site, pair: tuple[Owner, Owner]) -> Iterator[tuple[ClientConnection, ClientConnection]]:
    olga, paul = (opened(at, owner) for owner in pair)
    try:
        yield olga, paul
    finally:
        olga.close()
        paul.close()


def code_of(connection: ClientConnection, seconds: float = 10.0) -> int | None:
    """The code with which the relay closes the connection."""
    try:
        while True:
            connection.recv(timeout=seconds)
    except ConnectionClosed as closed:
        return None if closed.rcvd is None else closed.rcvd.code


def test_messages_are_passed_on_as_they_are_in_order_and_both_ways(
    patient: Site, pair: tuple[Owner, Owner]
) -> None:
    messages: list[str | bytes] = [os.urandom(size) for size in (1, 100, 65536, MAXIMUM_FRAME_BYTES)]
    messages += ["a greeting", b""]
    with both(patient, pair) as (olga, paul):
        for sender, receiver in ((olga, paul), (paul, olga)):
            for message in messages:
                sender.send(message)
            assert [receiver.recv(timeout=10) for _ in messages] == messages


def test_what_was_sent_before_the_other_side_came_reaches_it(
    patient: Site, pair: tuple[Owner, Owner]
) -> None:
    olga = opened(patient, pair[0])
    olga.send("hello")
    time.sleep(0.1)
    paul = opened(patient, pair[1])
    assert paul.recv(timeout=10) == "hello"
    olga.close()
    paul.close()


def test_what_a_side_sent_before_it_left_reaches_the_other(patient: Site, pair: tuple[Owner, Owner]) -> None:
    """Paul reads only after Olga has left, so that most of it waits in the relay."""
    messages = [number.to_bytes(4, "big") + bytes(500_000) for number in range(20)]
    with both(patient, pair) as (olga, paul):
        sending = threading.Thread(
            target=lambda: [olga.send(message) for message in messages] and olga.close()
        )
        sending.start()
        time.sleep(0.5)
        assert [paul.recv(timeout=10) for _ in messages] == messages
        sending.join(10)


def test_two_runs_do_not_mix(
    patient: Site, pair: tuple[Owner, Owner], admitting: Admitting, tmp_path: Path
) -> None:
    others = (Owner("rosa", tmp_path, 0), Owner("theo", tmp_path, 1))
    admitting.sides |= {other.order: ("another run", other.side) for other in others}
    with both(patient, pair) as (olga, paul), both(patient, others) as (rosa, theo):
        olga.send(b"to paul")
        rosa.send(b"to theo")
        assert (paul.recv(timeout=10), theo.recv(timeout=10)) == (b"to paul", b"to theo")
        with pytest.raises(TimeoutError):
            paul.recv(timeout=0.2)


def test_whoever_is_not_let_in_gets_the_answer_before_a_websocket_is_opened(
    patient: Site, tmp_path: Path, pair: tuple[Owner, Owner]
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        opened(patient, Owner("eve", tmp_path, 0))
    assert refused.value.response.status_code == 404
    assert b"not_found" in refused.value.response.body


def test_whoever_is_not_let_in_fills_no_log(
    patient: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("uvicorn.error")
    log.addHandler(caplog.handler)
    level = log.level
    log.setLevel(logging.ERROR)
    with pytest.raises(InvalidStatus):
        opened(patient, Owner("eve", tmp_path, 0))
    wait_for(lambda: not patient.server.server_state.tasks)
    log.setLevel(level)
    log.removeHandler(caplog.handler)
    assert caplog.records == []


@pytest.mark.parametrize(
    "path", ["/", "/api/host/orders", RELAY_PATH, RELAY_PATH + "x" * 32, RELAY_PATH + "0" * 33]
)
def test_websockets_are_answered_nowhere_else(path: str) -> None:
    at = Site(relaying(nothing, lambda scope: Admission("run", 0, "order", "key")))
    with pytest.raises(InvalidStatus) as refused:
        connect(at.url.replace("http", "ws") + path, proxy=None).__enter__()
    at.stop()
    assert refused.value.response.status_code == 404


def test_nothing_of_a_connection_that_is_over_is_passed_on() -> None:
    """Also where it waited for a side that was slow to read, and its own connection was replaced meanwhile."""
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return {}

    async def send(event: object) -> None:
        sent.append(event)

    async def give() -> None:
        sender, receiver = Connection(receive, send), Connection(receive, send)
        await receiver.give({"type": "websocket.send", "bytes": b"before"}, sender)
        sender.is_over = True
        await receiver.give({"type": "websocket.send", "bytes": b"after"}, sender)

    asyncio.run(give())
    assert sent == [{"type": "websocket.send", "bytes": b"before"}]


def test_a_message_above_the_cap_ends_the_connection(patient: Site, pair: tuple[Owner, Owner]) -> None:
    with both(patient, pair) as (olga, paul):
        olga.send(bytes(MAXIMUM_FRAME_BYTES + 1))
        assert code_of(olga) == RelayClosed.TOO_LARGE
        with pytest.raises(TimeoutError):
            paul.recv(timeout=0.2)


def test_a_second_connection_of_a_side_takes_the_place_of_the_first(
    patient: Site, pair: tuple[Owner, Owner]
) -> None:
    with both(patient, pair) as (olga, paul):
        again = opened(patient, pair[0])
        assert code_of(olga) == RelayClosed.REPLACED
        again.send(b"from the second")
        assert paul.recv(timeout=10) == b"from the second"
        paul.send(b"to the second")
        assert again.recv(timeout=10) == b"to the second"
        again.close()


def test_nothing_of_a_replaced_connection_comes_after_the_one_that_replaced_it(
    patient: Site, pair: tuple[Owner, Owner]
) -> None:
    """Paul reads nothing meanwhile, so that messages of the first wait in the relay."""
    with both(patient, pair) as (olga, paul):
        sending = threading.Thread(
            target=send_until_closed, args=(olga, bytes(MAXIMUM_FRAME_BYTES)), daemon=True
        )
        sending.start()
        time.sleep(0.5)
        again = opened(patient, pair[0])
        again.send(b"second")
        came: list[bytes] = []
        while not came or came[-1] != b"second":
            came.append(paul.recv(timeout=10, decode=False))
        with pytest.raises(TimeoutError):
            paul.recv(timeout=0.3)
        again.close()
        sending.join(10)


def send_until_closed(connection: ClientConnection, message: bytes) -> None:
    while True:
        try:
            connection.send(message)
        except ConnectionClosed:
            return


def test_a_side_that_reads_nothing_holds_the_other_back_and_loses_nothing(
    patient: Site, pair: tuple[Owner, Owner]
) -> None:
    with both(patient, pair) as (olga, paul):
        messages = [number.to_bytes(4, "big") + bytes(512 * 1024) for number in range(240)]
        sent: list[int] = []

        def send() -> None:
            for number, message in enumerate(messages):
                olga.send(message)
                sent.append(number)

        sending = threading.Thread(target=send, daemon=True)
        sending.start()
        time.sleep(1.0)
        held = len(sent)
        assert held < len(messages) * 2 // 3, "the relay takes in what nobody reads"
        time.sleep(0.3)
        assert len(sent) == held
        assert [paul.recv(timeout=10) for _ in messages] == messages
        sending.join(10)


def test_a_side_whose_counterpart_never_comes_is_closed(quick: Site, pair: tuple[Owner, Owner]) -> None:
    started = time.monotonic()
    assert code_of(opened(quick, pair[0])) == RelayClosed.AWAY
    assert 0.4 < time.monotonic() - started < 5


def test_a_side_whose_counterpart_leaves_is_kept_for_a_while_and_then_closed(
    admitting: Admitting, pair: tuple[Owner, Owner]
) -> None:
    with site(admitting, Patience(to_return=0.5)) as at, both(at, pair) as (olga, paul):
        paul.close()
        started = time.monotonic()
        assert code_of(olga) == RelayClosed.AWAY
        assert 0.4 < time.monotonic() - started < 5


def test_a_side_whose_counterpart_returns_goes_on(admitting: Admitting, pair: tuple[Owner, Owner]) -> None:
    with (
        site(admitting, Patience(to_come=2.0, to_return=0.6)) as running,
        both(running, pair) as (olga, paul),
    ):
        paul.close()
        time.sleep(0.2)
        paul = opened(running, pair[1])
        time.sleep(0.8)
        olga.send(b"still here")
        assert paul.recv(timeout=10) == b"still here"
        paul.close()


def test_both_sides_are_closed_soon_after_their_run_has_ended(
    quick: Site, pair: tuple[Owner, Owner], admitting: Admitting
) -> None:
    with both(quick, pair) as (olga, paul):
        admitting.over |= {owner.order for owner in pair}
        started = time.monotonic()
        assert [code_of(olga), code_of(paul)] == [RelayClosed.OVER] * 2
        assert time.monotonic() - started < 5


def test_a_run_that_ends_closes_also_a_side_that_reads_nothing(
    quick: Site, pair: tuple[Owner, Owner], admitting: Admitting
) -> None:
    with both(quick, pair) as (olga, paul):
        sending = threading.Thread(
            target=send_until_closed, args=(olga, bytes(MAXIMUM_FRAME_BYTES)), daemon=True
        )
        sending.start()
        time.sleep(0.3)
        admitting.over |= {owner.order for owner in pair}
        sending.join(10)
        assert not sending.is_alive()
        wait_for(lambda: len(quick.server.server_state.tasks) == 0)
        assert paul.protocol


def test_messages_do_not_wait_for_the_database(pair: tuple[Owner, Owner], admitting: Admitting) -> None:
    free = threading.Event()
    asked = threading.Event()
    is_still_admitted = admitting.is_still_admitted

    def slow(admission: object) -> bool:
        asked.set()
        return free.wait(10) and is_still_admitted(admission)  # type: ignore[arg-type]

    admitting.is_still_admitted = slow  # type: ignore[method-assign, assignment]
    with site(admitting, Patience(look_every=0.05)) as running, both(running, pair) as (olga, paul):
        assert asked.wait(5)
        started = time.monotonic()
        for _ in range(20):
            olga.send(b"on")
            paul.recv(timeout=5)
        assert time.monotonic() - started < 2
        free.set()


def test_a_database_that_does_not_answer_ends_no_session(
    pair: tuple[Owner, Owner], admitting: Admitting
) -> None:
    from django.db import OperationalError

    looks: list[int] = []

    def broken(admission: object) -> bool:
        looks.append(1)
        raise OperationalError("gone")

    admitting.is_still_admitted = broken  # type: ignore[method-assign, assignment]
    with site(admitting, Patience(look_every=0.05)) as running, both(running, pair) as (olga, paul):
        wait_for(lambda: len(looks) > 4)
        olga.send(b"on")
        assert paul.recv(timeout=5) == b"on"


def test_small_messages_are_sent_at_once_and_nothing_is_compressed(
    patient: Site, pair: tuple[Owner, Owner]
) -> None:
    with connect(
        patient.url.replace("http", "ws") + RELAY_PATH + pair[0].order, compression="deflate", proxy=None
    ) as olga:
        assert olga.protocol.extensions == []
        transports = [connection.transport for connection in patient.server.server_state.connections]
        options = [
            transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # type: ignore[union-attr]
            for transport in transports
        ]
        assert options
        assert all(options)


def test_pairs_are_forgotten_when_both_sides_are_gone(
    admitting: Admitting, pair: tuple[Owner, Owner]
) -> None:
    application = Relaying(admitting.admit, admitting.is_still_admitted, Patience())
    running = Site(application)
    with both(running, pair):
        wait_for(lambda: len(application.pairs) == 1)
    wait_for(lambda: not application.pairs)
    running.stop()
    assert application.pairs == {}
