"""Reading an owner's rows for work: the training rows, the held-out rows, or all; and the time it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from fedcore.owner.description import Part, Work
from fedcore.plugin_api.readers import DatasetReader, Shard
from fedcore.plugin_api.registry import Registry
from fedcore.plugin_api.split import held_out
from fedcore.plugin_api.values import Records
from fedcore.wire.keys import read_secret

SMALL_SHARD_BYTES = 128 * 1024


class Side(StrEnum):
    """Which rows of a dataset take part."""

    TRAINING = "training"
    HELD_OUT = "held out"
    ALL = "all"


class Clock:
    """Seconds by stage of one task."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


class Reading:
    """Reads shards of the work's dataset. `plaintext_bytes` counts what the rows given so far have as text."""

    def __init__(self, work: Work, registry: Registry, clock: Clock) -> None:
        if work.reader is None:
            raise LookupError("This work has no dataset to read.")
        self._work = work
        self._clock = clock
        reader: Any = registry.get("readers", work.reader)
        self._reader: DatasetReader[Any] = reader(work.reader_options)
        self._secret = None if work.split_key is None else read_secret(Path(work.split_key))
        self.plaintext_bytes = 0

    def blocks(self, part: Part, side: Side, labelled: bool = True) -> Iterator[Records]:
        """The rows of this side among the part's first rows, block by block."""
        blocks = first_of(self._reader.read(self._work.sources, part.shard, labelled), part.rows)
        while True:
            with self._clock.stage("reading"):
                block = next(blocks, None)
                chosen = None if block is None else self._choose(block, side)
            if chosen is None:
                return
            self.plaintext_bytes += sum(len(column.data) for column in chosen.columns.values())
            yield chosen

    def _choose(self, block: Records, side: Side) -> Records:
        if side is Side.ALL:
            return block
        if self._secret is None:
            raise LookupError("This work has no secret for the held-out split.")
        mask = held_out(block, self._reader.compared or self._reader.columns, self._secret)
        return block.take(mask if side is Side.HELD_OUT else ~mask)


def parts_of(shards: Sequence[Shard], first_rows: int | None) -> tuple[Part, ...]:
    """What each task reads. `first_rows` is shared out over the shards in proportion to their bytes.

    Each shard gives rows from its start, so all files of the dataset take part. Shares are whole numbers that
    add up to `first_rows`; a shard with fewer rows than its share gives what it has.
    """
    if first_rows is None:
        return tuple(Part(file=shard.file, start=shard.start, end=shard.end) for shard in shards)
    total = sum(shard.end - shard.start for shard in shards)
    parts, passed, given = [], 0, 0
    for shard in shards:
        passed += shard.end - shard.start
        due = first_rows * passed // total
        if due > given:
            parts.append(Part(file=shard.file, start=shard.start, end=shard.end, rows=due - given))
        given = due
    return tuple(parts)


def shard_size(total_bytes: int, configured: int, processes: int) -> int:
    """Bytes of a shard, so that a dataset that is not tiny is shared by the processes of this host."""
    even = -(-total_bytes // max(2, processes))
    return min(configured, max(SMALL_SHARD_BYTES, even))


def first_of(blocks: Iterator[Records], rows: int | None) -> Iterator[Records]:
    """The first rows of these blocks, or all of them (`None`)."""
    if rows is None:
        yield from blocks
        return
    import numpy as np

    left = rows
    for block in blocks:
        yield block if len(block) <= left else block.take(np.arange(left))
        left -= len(block)
        if left <= 0:
            return
