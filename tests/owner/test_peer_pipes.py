"""The worker's pipes to the peer: what goes in comes out whole, and no end ever leaves the other hanging."""

from __future__ import annotations

import asyncio
import os
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedcore.owner import peer_pipes
from fedcore.owner.confined import kernel
from fedcore.owner.confined.reach import host_code
from fedcore.owner.isolation import Limits, Reach, WorkFailed, run_isolated
from fedcore.owner.peer_pipes import FROM_PEER, TO_PEER, AgentPipes, PeerPipes
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError

PLENTY = Limits(memory_mb=512, seconds=30)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "home" / "spool" / "order"


@contextmanager
def agent(spool: Path, answer: Callable[[bytes], bytes | None]) -> Iterator[None]:
    """An agent whose peer answers every piece that comes with another, until it answers nothing: then it ends."""
    pipes = AgentPipes(spool)
    pipes.open()

    async def carry() -> None:
        reader, writer = await pipes.streams()
        while data := await reader.read(65536):
            answered = answer(data)
            if answered is None:
                break
            writer.write(answered)
            await writer.drain()

    def run() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(carry())
        pipes.close()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(10)
    assert not thread.is_alive(), "the agent did not notice that the worker left"


def echo(data: bytes) -> bytes:
    return data


def end_of(work: Callable[[], object]) -> WireError:
    started = time.monotonic()
    with pytest.raises(WireError) as ended:
        work()
    assert time.monotonic() - started < 5
    return ended.value


def test_the_pipes_are_the_hosts_users_alone(spool: Path) -> None:
    with agent(spool, echo):
        for name in (TO_PEER, FROM_PEER):
            mode = (spool / name).stat().st_mode
            assert stat.S_ISFIFO(mode)
            assert stat.S_IMODE(mode) == 0o600
        PeerPipes(spool).close()


@pytest.mark.skipif(sys.platform != "linux", reason="the confinement is Linux's")
def test_a_confined_process_opens_reads_and_writes_the_pipes_of_its_spool(spool: Path) -> None:
    home = spool.parents[1]
    with agent(spool, echo):

        def work() -> None:
            with PeerPipes(spool, 10) as pipes:
                for size in (0, 1, 5000, 300_000):
                    message = os.urandom(size)
                    assert pipes.exchange(message) == message

        run_isolated(work, PLENTY, reach=Reach(host_code(home), (spool,)))


@pytest.mark.skipif(kernel.landlock_version() < 1, reason="the kernel has no Landlock")
def test_a_confined_process_does_not_reach_the_pipes_of_another_order(spool: Path) -> None:
    other = spool.with_name("other")
    other.mkdir(parents=True)
    with agent(spool, echo):
        with pytest.raises(WorkFailed) as failure:
            run_isolated(
                lambda: PeerPipes(spool).close(), PLENTY, reach=Reach(host_code(spool.parents[1]), (other,))
            )
        assert failure.value.code is RefusalCode.OWNER_AWAY
        PeerPipes(spool).close()


def test_messages_come_whole_however_the_bytes_are_cut(spool: Path) -> None:
    pieces: list[bytes] = []

    def in_pieces(data: bytes) -> bytes:
        pieces.append(data)
        return data

    with agent(spool, in_pieces), PeerPipes(spool, 10) as pipes:
        message = os.urandom(1_000_000)
        assert pipes.exchange(message) == message
        assert pipes.exchange(memoryview(message)[:7]) == message[:7]
    assert len(pieces) > 3


def test_a_message_that_comes_before_this_side_has_sent_is_kept_for_its_turn(spool: Path) -> None:
    two = struct.pack(">I", 1) + b"a" + struct.pack(">I", 1) + b"b"
    answers = iter([two, struct.pack(">I", 1) + b"c"])
    with agent(spool, lambda data: next(answers)), PeerPipes(spool, 10) as pipes:
        assert [pipes.exchange(b"x") for _ in range(3)] == [b"a", b"b", b"c"]


def test_numbers_of_any_kind_are_sent_as_their_bytes(spool: Path) -> None:
    import numpy as np

    numbers = np.arange(1000, dtype=np.int64)
    with agent(spool, echo), PeerPipes(spool, 10) as pipes:
        assert pipes.exchange(memoryview(numbers)) == numbers.tobytes()


def test_without_an_agent_there_is_nothing_to_open(spool: Path) -> None:
    spool.mkdir(parents=True)
    assert end_of(lambda: PeerPipes(spool)).code is RefusalCode.OWNER_AWAY
    for name in (TO_PEER, FROM_PEER):
        os.mkfifo(spool / name, 0o600)
    assert end_of(lambda: PeerPipes(spool)).code is RefusalCode.OWNER_AWAY


def test_an_exchange_that_takes_too_long_ends_with_a_reason(spool: Path) -> None:
    with agent(spool, lambda data: b""), PeerPipes(spool, 0.3) as pipes:
        ended = end_of(lambda: pipes.exchange(b"x"))
        assert (ended.code, "0.3 s" in ended.detail) == (RefusalCode.OWNER_AWAY, True)


def test_a_worker_that_waits_is_freed_when_the_agent_ends(spool: Path) -> None:
    with agent(spool, lambda data: None), PeerPipes(spool, 60) as pipes:
        assert end_of(lambda: pipes.exchange(b"x")).code is RefusalCode.OWNER_AWAY
        assert end_of(lambda: pipes.exchange(b"x")).code is RefusalCode.OWNER_AWAY


def test_a_worker_that_writes_is_freed_when_the_agent_ends(spool: Path) -> None:
    with agent(spool, lambda data: None), PeerPipes(spool, 60) as pipes:
        assert end_of(lambda: pipes.exchange(bytes(10_000_000))).code is RefusalCode.OWNER_AWAY


def test_a_worker_is_freed_when_the_agent_ends_before_it_has_opened_its_end(spool: Path) -> None:
    spool.mkdir(parents=True)
    for name in (TO_PEER, FROM_PEER):
        os.mkfifo(spool / name, 0o600)
    reading = os.open(spool / TO_PEER, os.O_RDONLY | os.O_NONBLOCK)
    with PeerPipes(spool, 60) as pipes:
        threading.Timer(0.2, os.close, (reading,)).start()
        assert end_of(lambda: pipes.exchange(b"x")).code is RefusalCode.OWNER_AWAY


def test_a_peer_that_sends_a_little_now_and_then_does_not_draw_an_exchange_out(spool: Path) -> None:
    writing = threading.Event()
    pipes = AgentPipes(spool)
    pipes.open()
    writer = pipes._descriptors[2]

    def trickle() -> None:
        while not writing.wait(0.05):
            os.write(writer, bytes([255]))

    thread = threading.Thread(target=trickle)
    os.write(writer, struct.pack(">I", 1000))
    thread.start()
    with PeerPipes(spool, 0.3) as worker:
        assert end_of(lambda: worker.exchange(b"x")).code is RefusalCode.OWNER_AWAY
    writing.set()
    thread.join()
    pipes.close()


def test_an_agent_that_ends_takes_the_pipes_away(spool: Path) -> None:
    with agent(spool, lambda data: None), PeerPipes(spool, 60) as pipes:
        end_of(lambda: pipes.exchange(b"x"))
    assert list(spool.iterdir()) == []


def test_messages_above_the_limit_are_refused_at_both_ends(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_pipes, "MAXIMUM_MESSAGE_BYTES", 1000)
    announced = iter([struct.pack(">I", 1001)])
    with agent(spool, lambda data: next(announced)), PeerPipes(spool, 10) as pipes:
        refused = end_of(lambda: pipes.exchange(bytes(1001)))
        assert (refused.code, "to the peer" in refused.detail) == (RefusalCode.TOO_LARGE, True)
        ended = end_of(lambda: pipes.exchange(b"x"))
        assert (ended.code, "announces" in ended.detail) == (RefusalCode.TOO_LARGE, True)


def test_pipes_that_a_former_agent_left_are_made_anew(spool: Path) -> None:
    spool.mkdir(parents=True)
    (spool / TO_PEER).write_text("left over")
    with agent(spool, echo), PeerPipes(spool, 10) as pipes:
        assert pipes.exchange(b"x") == b"x"
