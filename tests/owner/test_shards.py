"""Tasks get done although messages are lost and workers are killed, but not forever."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fedcore.owner import shards as shards_module
from fedcore.owner.description import Finished, Kind, Part, Work
from fedcore.owner.isolation import WorkFailed
from fedcore.owner.reading import parts_of, shard_size
from fedcore.owner.shards import Shards
from fedcore.owner.spool import STALE_SECONDS, OrderSpool
from fedcore.plugin_api.readers import Shard
from fedcore.wire.codes import RefusalCode
from fedcore.wire.spec import Pipeline, PluginChoice, Training

ORDER = "ab" * 16
PAYLOAD = b"the payload"


def a_work(parts: int, seed: int = 0) -> Work:
    return Work(
        kind=Kind.PREPARE,
        run="cd" * 32,
        plugins=(),
        pipeline=Pipeline(steps=(PluginChoice(name="words"),)),
        backend=PluginChoice(name="plaintext"),
        model=PluginChoice(name="linear"),
        training=Training(seed=seed),
        classes=2,
        parts=tuple(Part(file=0, start=place, end=place + 1) for place in range(parts)),
        memory_mb=256,
        seconds=10,
        home="/nowhere",
    )


class ScriptedBell:
    """Does with each ring of a task what the script says: the first entry for the first ring, and so on."""

    def __init__(self, spool: OrderSpool, *script: Callable[[OrderSpool, int], None]) -> None:
        self.spool, self.script, self.rings = spool, list(script), list[int]()

    def ring(self, kind: str, order_id: str, shard: int) -> None:
        number = self.rings.count(shard)
        self.rings.append(shard)
        self.script[min(number, len(self.script) - 1)](self.spool, shard)

    def busy(self) -> bool:
        return False


def done(spool: OrderSpool, shard: int) -> None:
    if spool.claim(shard):
        spool.finish(shard, PAYLOAD, Finished(rows=shard, digest=hashlib.sha256(PAYLOAD).hexdigest()))


def unheard(spool: OrderSpool, shard: int) -> None:
    """The message is lost."""


def killed(spool: OrderSpool, shard: int) -> None:
    """The forked process was killed, and its worker says so."""
    spool.claim(shard)
    spool.lose(shard)


def gone(spool: OrderSpool, shard: int) -> None:
    """The whole worker was killed: its claim is no longer touched."""
    spool.claim(shard)
    past = time.time() - STALE_SECONDS - 1
    os.utime(spool.directory / f"shard-{shard}.claim", (past, past))


def refused(spool: OrderSpool, shard: int) -> None:
    spool.claim(shard)
    spool.refuse(shard, RefusalCode.DATASET_UNREADABLE)


@pytest.fixture
def spool(tmp_path: Path) -> OrderSpool:
    return OrderSpool(tmp_path / ORDER)


def go_on() -> None:
    """Nothing stops the work."""


def computed(spool: OrderSpool, bell: ScriptedBell, parts: int = 3) -> list[Finished]:
    return Shards(spool, ORDER, a_work(parts), bell).compute(go_on, poll=0.001)


def test_all_tasks_are_done_in_the_order_of_their_numbers(spool: OrderSpool) -> None:
    assert [facts.rows for facts in computed(spool, ScriptedBell(spool, done))] == [0, 1, 2]


@pytest.mark.parametrize("accident", [killed, gone])
def test_a_task_whose_worker_was_lost_is_done_again(
    spool: OrderSpool, accident: Callable[[OrderSpool, int], None]
) -> None:
    bell = ScriptedBell(spool, accident, accident, done)
    assert len(computed(spool, bell)) == 3
    assert sorted(bell.rings) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("accident", [killed, gone])
def test_a_task_that_kills_every_worker_ends_the_work(
    spool: OrderSpool, accident: Callable[[OrderSpool, int], None]
) -> None:
    bell = ScriptedBell(spool, accident)
    with pytest.raises(WorkFailed) as failure:
        computed(spool, bell, parts=1)
    assert failure.value.code is RefusalCode.WORKER_LOST
    assert bell.rings == [0, 0, 0]


def test_a_task_that_nobody_takes_up_is_rung_for_again(
    spool: OrderSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards_module, "SILENCE_SECONDS", 0.01)
    assert len(computed(spool, ScriptedBell(spool, unheard, unheard, done))) == 3


def test_a_refused_task_ends_the_work_with_its_code(spool: OrderSpool) -> None:
    with pytest.raises(WorkFailed) as failure:
        computed(spool, ScriptedBell(spool, refused))
    assert failure.value.code is RefusalCode.DATASET_UNREADABLE


def test_finished_tasks_of_the_same_work_are_not_done_again(spool: OrderSpool) -> None:
    spool.begin(a_work(3))
    done(spool, 1)
    bell = ScriptedBell(spool, done)
    computed(spool, bell)
    assert sorted(bell.rings) == [0, 2]


def test_finished_tasks_of_other_work_are_dropped(spool: OrderSpool) -> None:
    spool.begin(a_work(3, seed=1))
    done(spool, 1)
    bell = ScriptedBell(spool, done)
    computed(spool, bell)
    assert sorted(bell.rings) == [0, 1, 2]


def test_a_payload_that_was_altered_is_noticed(spool: OrderSpool) -> None:
    def altered(spool: OrderSpool, shard: int) -> None:
        done(spool, shard)
        spool.payload_path(shard).write_bytes(b"something else")

    with pytest.raises(WorkFailed) as failure:
        computed(spool, ScriptedBell(spool, altered))
    assert failure.value.code is RefusalCode.STORAGE_FAILED


def test_one_task_is_claimed_by_one_worker(spool: OrderSpool) -> None:
    spool.begin(a_work(1))
    assert spool.claim(0)
    assert not spool.claim(0)
    gone(spool, 0)
    assert spool.claim(0)


def test_a_claim_on_an_order_that_is_over_is_no_claim(spool: OrderSpool) -> None:
    assert not spool.claim(0)
    spool.refuse(0, RefusalCode.STEP_FAILED)
    assert not spool.directory.exists()


def test_first_rows_are_shared_out_by_bytes_and_add_up() -> None:
    shards = [Shard(0, 0, 700), Shard(0, 700, 1400), Shard(1, 0, 600)]
    parts = parts_of(shards, 10)
    assert [part.rows for part in parts] == [3, 4, 3]
    assert parts_of(shards, None) == tuple(Part(file=s.file, start=s.start, end=s.end) for s in shards)
    assert [(part.file, part.rows) for part in parts_of(shards, 1)] == [(1, 1)]


def test_a_dataset_that_is_not_tiny_is_shared_by_all_processes() -> None:
    assert shard_size(300_000, 4 * 1024**2, processes=2) == 150_000
    assert shard_size(10_000, 4 * 1024**2, processes=2) == 128 * 1024
    assert shard_size(10**9, 4 * 1024**2, processes=2) == 4 * 1024**2
