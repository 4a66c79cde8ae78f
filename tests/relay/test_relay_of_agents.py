"""Two agents, their workers, and the relay between them: what one worker sends the other gets, whatever happens."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fedcore.coordinator.relay.application import Patience, nothing
from fedcore.coordinator.relay.application import relay as relaying
from fedcore.owner import relay as relay_module
from fedcore.owner import relay_connection
from fedcore.owner.confined.reach import host_code
from fedcore.owner.coordinator_api import CoordinatorRefused
from fedcore.owner.isolation import Limits, Reach, WorkFailed, WorkLost, run_isolated
from fedcore.owner.peer_pipes import TO_PEER, PeerPipes
from fedcore.owner.relay import Relay
from fedcore.owner.relay_session import Session
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.relay import RELAY_PATH
from fedcore.wire.requests import verify_request
from tests.relay.playing import Admitting, Owner, Site, Worker, site, wait_for, watching

Pair = tuple[Owner, Owner]
PLENTY = Limits(memory_mb=512, seconds=60)
QUICK = Patience(to_come=0.5, to_return=0.5, look_every=0.1)


def exchanges(count: int, size: int = 100, pause: float = 0.0) -> Callable[[PeerPipes], list[bytes]]:
    """Exchanges of messages that are all different, and what came of them."""

    def work(pipes: PeerPipes) -> list[bytes]:
        answers = []
        for number in range(count):
            time.sleep(pause)
            answers.append(pipes.exchange(number.to_bytes(4, "big") + bytes(size)))
        return answers

    return work


def expected(count: int, size: int = 100) -> list[bytes]:
    return [number.to_bytes(4, "big") + bytes(size) for number in range(count)]


def test_workers_exchange_messages_of_any_size_in_order(admitting: Admitting, pair: Pair) -> None:
    olga, paul = pair
    messages = [os.urandom(size) for size in (0, 1, 100, 4096, 65536, 300_000)]
    with site(admitting) as at, olga.relay(at.url, paul), paul.relay(at.url, olga):
        workers = [
            Worker(owner, lambda pipes, way=way: [pipes.exchange(message) for message in messages[::way]])
            for owner, way in ((olga, 1), (paul, -1))
        ]
        assert workers[0].ended() == messages[::-1]
        assert workers[1].ended() == messages


def test_both_may_send_large_messages_at_once(admitting: Admitting, pair: Pair) -> None:
    olga, paul = pair
    large = os.urandom(20_000_000)
    with site(admitting) as at, olga.relay(at.url, paul), paul.relay(at.url, olga):
        workers = [Worker(owner, lambda pipes: pipes.exchange(memoryview(large))) for owner in pair]
        assert [worker.ended(60) == large for worker in workers] == [True, True]


def test_one_may_send_much_and_the_other_little(admitting: Admitting, pair: Pair) -> None:
    """More frames go one way than may be without acknowledgement."""
    olga, paul = pair
    large = os.urandom(40_000_000)
    with site(admitting) as at, olga.relay(at.url, paul), paul.relay(at.url, olga):
        much = Worker(olga, lambda pipes: pipes.exchange(large))
        little = Worker(paul, lambda pipes: pipes.exchange(b"little") == large)
        assert (much.ended(60), little.ended(60)) == (b"little", True)


def test_workers_without_a_network_reach_each_other(admitting: Admitting, pair: Pair) -> None:
    """In processes of their own that open nothing but their spool: pipes are opened, read and written there."""
    olga, paul = pair

    def isolated(owner: Owner) -> None:
        def work() -> None:
            with PeerPipes(owner.directory, 20) as pipes:
                for number in range(20):
                    assert pipes.exchange(owner.name.encode() * number * 1000)[:4] in (b"", b"olga", b"paul")
                (owner.directory / "result").write_bytes(pipes.exchange(owner.name.encode()))

        run_isolated(work, PLENTY, reach=Reach(host_code(owner.directory.parent), (owner.directory,)))

    with site(admitting) as at, olga.relay(at.url, paul), paul.relay(at.url, olga):
        threads = [threading.Thread(target=isolated, args=(owner,)) for owner in pair]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert [(owner.directory / "result").read_bytes() for owner in pair] == [b"paul", b"olga"]


def test_the_relay_sees_no_byte_of_what_is_exchanged(admitting: Admitting, pair: Pair) -> None:
    olga, paul = pair
    seen: list[tuple[str, Any]] = []
    with site(admitting, around=watching(seen)) as at, olga.relay(at.url, paul), paul.relay(at.url, olga):
        workers = [Worker(owner, lambda pipes: pipes.exchange(b"secret opening")) for owner in pair]
        assert [worker.ended() for worker in workers] == [b"secret opening"] * 2
    frames = [content for _, content in seen if isinstance(content, bytes)]
    assert len(frames) >= 4
    assert not [
        content for _, content in seen if b"secret" in (content if content in frames else content.encode())
    ]


@pytest.mark.parametrize("seed", range(3))
def test_connections_that_are_lost_in_the_middle_lose_repeat_and_reseal_nothing(
    admitting: Admitting, pair: Pair, seed: int
) -> None:
    olga, paul = pair
    seen: list[tuple[str, Any]] = []
    drawn = random.Random(seed)
    with site(admitting, around=watching(seen)) as at, olga.relay(at.url, paul), paul.relay(at.url, olga):
        workers = [Worker(owner, exchanges(300, 2000, pause=0.004)) for owner in pair]
        cuts = 0
        while any(worker.is_alive() for worker in workers) and cuts < 12:
            time.sleep(drawn.uniform(0.0, 0.15))
            at.cut(lambda found: drawn.sample(found, min(len(found), drawn.choice((1, 1, 2)))))
            cuts += 1
        assert [worker.ended(60) for worker in workers] == [expected(300, 2000)] * 2
    assert cuts > 4
    sealed = defaultdict(set)
    for path, content in seen:
        if isinstance(content, bytes):
            sealed[path, content[:8]].add(content)
    assert {len(frames) for frames in sealed.values()} == {1}, "a number was used for two frames"
    assert len([content for _, content in seen if isinstance(content, bytes)]) > len(sealed), (
        "none was sent again"
    )


def test_a_coordinator_that_is_started_anew_finds_the_session_going_on(
    admitting: Admitting, pair: Pair
) -> None:
    olga, paul = pair
    with site(admitting) as first:
        port, url = first.port, first.url
        relays = [olga.relay(url, paul), paul.relay(url, olga)]
        for relay in relays:
            relay.__enter__()
        workers = [Worker(owner, exchanges(100, pause=0.005)) for owner in pair]
        time.sleep(0.2)
    time.sleep(0.2)
    second = Site(relaying(nothing, admitting.admit, admitting.is_still_admitted), port)
    assert [worker.ended() for worker in workers] == [expected(100)] * 2
    for relay in relays:
        relay.__exit__(None, None, None)
    second.stop()


def failure_of(relay: Relay) -> WireError | None:
    """What has ended the session, so far."""
    try:
        relay.check()
    except WireError as error:
        return error
    return None


@contextmanager
def given_up(*relays: Relay) -> Iterator[None]:
    """Relays at work, until their agents give up."""
    failure = WorkFailed(RefusalCode.STEP_FAILED)
    for relay in relays:
        relay.__enter__()
    try:
        yield
    finally:
        for relay in relays:
            relay.__exit__(WorkFailed, failure, None)


def end_of_exchange(
    admitting: Admitting, pair: Pair, around: Any = watching([]), patience: Patience = Patience()
) -> WireError:
    """How Paul's session ends while both workers exchange. His worker's exchange ends with it."""
    olga, paul = pair
    with site(admitting, patience, around) as at:
        relays = olga.relay(at.url, paul), paul.relay(at.url, olga)
        with given_up(*relays):
            workers = [Worker(owner, exchanges(100_000)) for owner in pair]
            wait_for(lambda: failure_of(relays[1]) is not None)
            with pytest.raises(WireError) as freed:
                workers[1].ended(5)
            assert freed.value.code is RefusalCode.OWNER_AWAY
        with pytest.raises(WireError):
            workers[0].ended(5)
    found = failure_of(relays[1])
    assert found is not None
    return found


def test_an_agent_that_was_started_anew_ends_the_session(admitting: Admitting, pair: Pair) -> None:
    olga, paul = pair
    with site(admitting) as at:
        relays = olga.relay(at.url, paul), paul.relay(at.url, olga)
        with given_up(*relays):
            workers = [Worker(owner, exchanges(3)) for owner in pair]
            assert [worker.ended() for worker in workers] == [expected(3)] * 2
            anew = Owner("paul", paul.directory.with_name("anew"), 1, paul.key)
            with given_up(anew.relay(at.url, olga)):
                wait_for(lambda: failure_of(relays[0]) is not None and failure_of(relays[1]) is not None)
    ends = [failure_of(relay) for relay in relays]
    assert [end and end.code for end in ends] == [RefusalCode.KEY_AGREEMENT_FAILED, RefusalCode.CONFLICT]
    assert ends[0] is not None
    assert paul.key.public in ends[0].detail


def of_olga(pair: Pair, change: Callable[[int, bytes], list[bytes]]) -> Callable[[str, Any], list[Any]]:
    """A relay that changes Olga's frames, by their numbers."""

    def changed(path: str, content: Any) -> list[Any]:
        if isinstance(content, str) or not path.endswith(pair[0].order):
            return [content]
        return change(int.from_bytes(content[:8], "big"), content)

    return changed


CHANGES: dict[str, Callable[[int, bytes], list[bytes]]] = {
    "altered": lambda number, frame: [frame[:-1] + bytes([frame[-1] ^ 1])] if number == 5 else [frame],
    "repeated": lambda number, frame: [frame, frame] if number == 5 else [frame],
    "left out": lambda number, frame: [] if number == 5 else [frame, frame] if number == 6 else [frame],
    "renumbered": lambda number, frame: [(6).to_bytes(8, "big") + frame[8:]] if number == 5 else [frame],
    "another's": lambda number, frame: [bytes(60)] if number == 5 else [frame],
}


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "left out"])
def test_a_frame_that_the_relay_changed_ends_the_session_and_names_the_peer(
    admitting: Admitting, pair: Pair, name: str
) -> None:
    end = end_of_exchange(admitting, pair, watching([], of_olga(pair, CHANGES[name])))
    assert end.code is RefusalCode.ARTEFACT_INVALID
    assert pair[0].key.public in end.detail


def test_a_frame_that_the_relay_left_out_is_missed_as_soon_as_another_comes(
    admitting: Admitting, pair: Pair
) -> None:
    olga, paul = pair
    around = watching([], of_olga(pair, lambda number, frame: [] if number == 2 else [frame]))
    with site(admitting, around=around) as at:
        relays = olga.relay(at.url, paul), paul.relay(at.url, olga)
        with given_up(*relays):
            workers = [
                Worker(owner, lambda pipes: [pipes.exchange(bytes(size)) for size in (1, 1, 2_000_000)])
                for owner in pair
            ]
            wait_for(lambda: failure_of(relays[1]) is not None)
        with pytest.raises(WireError):
            workers[1].ended(5)
    end = failure_of(relays[1])
    assert end is not None
    assert end.code is RefusalCode.ARTEFACT_INVALID


def test_a_greeting_that_the_relay_changed_ends_the_session(admitting: Admitting, pair: Pair) -> None:
    key = pair[0].key.public

    def change(path: str, content: Any) -> list[Any]:
        return [content.replace(key, pair[1].key.public) if isinstance(content, str) else content]

    olga, paul = pair
    with site(admitting, around=watching([], change)) as at:
        relay = paul.relay(at.url, olga)
        with given_up(olga.relay(at.url, paul), relay):
            wait_for(lambda: failure_of(relay) is not None)
    end = failure_of(relay)
    assert end is not None
    assert end.code is RefusalCode.KEY_AGREEMENT_FAILED


def test_a_greeting_that_asks_for_frames_that_never_were_ends_the_session(
    admitting: Admitting, pair: Pair
) -> None:
    def change(path: str, content: Any) -> list[Any]:
        return [content.replace('"received":0', '"received":99') if isinstance(content, str) else content]

    assert end_of_exchange(admitting, pair, watching([], change)).code is RefusalCode.ARTEFACT_INVALID


def test_a_block_that_ends_well_raises_what_had_ended_its_session(admitting: Admitting, pair: Pair) -> None:
    admitting.sides.clear()
    with site(admitting) as at:
        relay = pair[0].relay(at.url, pair[1])
        relay.__enter__()
        wait_for(lambda: failure_of(relay) is not None)
        with pytest.raises(WireError, match="cancelled"):
            relay.__exit__(None, None, None)


@pytest.mark.parametrize(("patience", "linger"), [(Patience(), 0.3), (QUICK, 30.0)])
def test_a_side_that_is_done_does_not_wait_for_long_and_has_not_failed(
    admitting: Admitting, pair: Pair, monkeypatch: pytest.MonkeyPatch, patience: Patience, linger: float
) -> None:
    """Neither where its peer says nothing more, nor where the coordinator sees no reason to go on."""
    monkeypatch.setattr(relay_module, "LINGER_SECONDS", linger)
    started = time.monotonic()
    with site(admitting, patience) as at, pair[0].relay(at.url, pair[1]):
        Worker(pair[0], lambda pipes: None).ended()
    assert time.monotonic() - started < 10


def test_a_run_that_is_cancelled_ends_the_session_and_frees_the_worker(
    admitting: Admitting, pair: Pair
) -> None:
    later = threading.Timer(0.5, lambda: admitting.over.update(owner.order for owner in pair))
    later.start()
    assert end_of_exchange(admitting, pair, patience=QUICK).code is RefusalCode.CANCELLED


def test_a_peer_that_never_comes_ends_the_session_and_frees_the_worker(
    admitting: Admitting, pair: Pair
) -> None:
    olga, paul = pair
    with site(admitting, QUICK) as at:
        relay = olga.relay(at.url, paul)
        with given_up(relay):
            worker = Worker(olga, exchanges(1))
            wait_for(lambda: failure_of(relay) is not None)
            with pytest.raises(WireError, match="owner_away"):
                worker.ended(5)
    end = failure_of(relay)
    assert end is not None
    assert end.code is RefusalCode.OWNER_AWAY


def test_a_coordinator_out_of_reach_for_long_ends_the_session(
    admitting: Admitting, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_connection, "AWAY_SECONDS", 0.5)
    relay = pair[0].relay("http://127.0.0.1:9", pair[1])
    with given_up(relay):
        wait_for(lambda: failure_of(relay) is not None)
    end = failure_of(relay)
    assert end is not None
    assert (end.code, "out of reach" in end.detail) == (RefusalCode.OWNER_AWAY, True)


def test_an_order_that_is_not_open_is_given_up_at_once(admitting: Admitting, pair: Pair) -> None:
    admitting.sides.clear()
    with site(admitting) as at:
        relay = pair[0].relay(at.url, pair[1])
        with given_up(relay):
            wait_for(lambda: failure_of(relay) is not None)
    end = failure_of(relay)
    assert end is not None
    assert end.code is RefusalCode.CANCELLED


@pytest.mark.parametrize(("status", "is_over"), [(401, True), (302, True), (503, False)])
def test_answers_that_trying_again_does_not_change_end_the_session(
    admitting: Admitting, pair: Pair, status: int, is_over: bool
) -> None:
    """A redirect is not followed: what is signed is signed for one coordinator."""
    asked: list[str] = []

    async def answering(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        headers = [(b"location", b"/elsewhere")]
        await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b""})

    at = Site(answering)
    relay = pair[0].relay(at.url, pair[1])
    failure: Exception | None = None
    with given_up(relay):
        wait_for(lambda: len(asked) > (0 if is_over else 2))
        time.sleep(0.2)
        try:
            relay.check()
        except CoordinatorRefused as error:
            failure = error
    at.stop()
    assert {path.startswith(RELAY_PATH) for path in asked} == {True}
    assert (failure is not None) is is_over


def test_the_request_is_signed_as_every_other_of_the_host(admitting: Admitting, pair: Pair) -> None:
    headers: list[dict[str, str]] = []

    async def answering(scope: Any, receive: Any, send: Any) -> None:
        headers.append({name.decode().title(): value.decode() for name, value in scope["headers"]})
        await send({"type": "websocket.close"})

    at = Site(answering)
    with given_up(pair[0].relay(at.url, pair[1])):
        wait_for(lambda: bool(headers))
    at.stop()
    path = RELAY_PATH + pair[0].order
    assert verify_request(headers[0], "GET", path, b"", int(time.time())) == pair[0].key.public
    assert "Sec-Websocket-Extensions" not in headers[0], "what is sealed is not compressed"


def test_an_agent_that_gives_up_frees_its_worker_and_leaves_no_thread_and_no_pipe(
    admitting: Admitting, pair: Pair
) -> None:
    olga, paul = pair
    with site(admitting) as at:
        before, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
        with given_up(olga.relay(at.url, paul)):
            worker = Worker(olga, exchanges(1))
            time.sleep(0.2)
        with pytest.raises(WireError, match="ended"):
            worker.ended(5)
        assert list(olga.directory.iterdir()) == []
        wait_for(lambda: threading.active_count() == before)
        wait_for(lambda: len(os.listdir("/proc/self/fd")) == files)


def test_a_worker_that_is_killed_loses_the_run_and_no_other_goes_on_in_its_place(
    admitting: Admitting, pair: Pair
) -> None:
    """What was dealt serves once: a second worker finds no pipes, and the agent says what has happened."""
    olga, paul = pair

    def killed() -> None:
        with PeerPipes(paul.directory, 20) as pipes:
            pipes.exchange(b"")
            os.kill(os.getpid(), signal.SIGKILL)

    with site(admitting) as at, given_up(olga.relay(at.url, paul)):
        worker = Worker(olga, exchanges(2))
        relay = paul.relay(at.url, olga)

        def twice() -> None:
            with relay:
                with pytest.raises(WorkLost):
                    run_isolated(killed, PLENTY)
                wait_for(lambda: not (paul.directory / TO_PEER).exists())
                run_isolated(killed, PLENTY)

        with pytest.raises(WorkFailed) as lost:
            twice()
    assert lost.value.code is RefusalCode.WORKER_LOST
    with pytest.raises(WireError):
        worker.ended()


def test_an_error_in_carrying_ends_the_session_and_frees_the_worker(
    admitting: Admitting, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    olga, paul = pair
    monkeypatch.setattr(Session, "_seal", lambda *_: 1 // 0)
    with site(admitting) as at:
        relay = olga.relay(at.url, paul)
        with given_up(relay, paul.relay(at.url, olga)):
            worker = Worker(olga, exchanges(1))
            with pytest.raises(WireError):
                worker.ended(5)
            with pytest.raises(ZeroDivisionError):
                relay.check()


def test_what_a_worker_says_of_itself_is_what_the_agent_says(admitting: Admitting, pair: Pair) -> None:
    with (
        site(admitting) as at,
        pytest.raises(WorkFailed, match="not_finite"),
        pair[0].relay(at.url, pair[1]),
    ):
        raise WorkFailed(RefusalCode.NOT_FINITE)


def test_the_reason_of_the_relay_goes_before_what_the_worker_says_because_of_it(
    admitting: Admitting, pair: Pair
) -> None:
    admitting.sides.clear()
    with site(admitting) as at:
        relay = pair[0].relay(at.url, pair[1])
        relay.__enter__()
        wait_for(lambda: failure_of(relay) is not None)
        with pytest.raises(WireError) as over:
            relay.__exit__(WorkFailed, WorkFailed(RefusalCode.OWNER_AWAY), None)
    assert over.value.code is RefusalCode.CANCELLED


def test_a_side_that_is_done_stays_until_the_peer_has_everything(admitting: Admitting, pair: Pair) -> None:
    """Olga's worker ends while Paul's connection is lost; what he misses is sent when he returns."""
    olga, paul = pair
    lost, returned = threading.Event(), threading.Event()

    def change(path: str, content: Any) -> list[Any]:
        if lost.is_set() and path.endswith(paul.order) and isinstance(content, str):
            returned.set()
        is_answer = isinstance(content, bytes) and path.endswith(olga.order) and len(content) > 5000
        if is_answer and not lost.is_set():
            lost.set()
            at.cut(lambda found: [one for one in found if one.scope["path"].endswith(paul.order)])
        is_on_its_way = lost.is_set() and not returned.is_set() and isinstance(content, bytes)
        return [] if is_on_its_way else [content]

    with site(admitting, around=watching([], change)) as at:
        done: list[str] = []

        def carry(owner: Owner, peer: Owner, size: int) -> None:
            with owner.relay(at.url, peer):
                Worker(owner, lambda pipes: pipes.exchange(bytes(size))).ended()
            done.append(owner.name)

        threads = [
            threading.Thread(target=carry, args=(olga, paul, 10_000)),
            threading.Thread(target=carry, args=(paul, olga, 10)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sorted(done) == ["olga", "paul"]
    assert lost.is_set()


def test_an_exchange_through_the_relay_is_fast(
    admitting: Admitting, pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between processes of this machine; the agents and the relay share one here, which is slower than three."""
    olga, paul = pair

    def timed(owner: Owner, size: int) -> list[float]:
        times = []
        with PeerPipes(owner.directory, 20) as pipes:
            for _ in range(300):
                started = time.perf_counter()
                pipes.exchange(bytes(size))
                times.append(time.perf_counter() - started)
        return sorted(times[20:])

    with site(admitting) as at:
        for size in (100, 65536):
            with olga.relay(at.url, paul), paul.relay(at.url, olga):
                peer = forked(lambda size=size: timed(paul, size))
                times = timed(olga, size)
                assert os.waitpid(peer, 0)[1] == 0
            median, slow = 1000 * times[len(times) // 2], 1000 * times[len(times) * 99 // 100]
            with capsys.disabled():
                print(f"\n{size} bytes each way: median {median:.2f} ms, 99 % within {slow:.2f} ms")
            assert median < 10, "ten times what it takes on an idle machine"


def forked(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child
