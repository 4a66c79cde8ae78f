"""Labelled lines: shards, blocks of bounded size, labels by file, and what bad files get."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedcore.plugin_api import InvalidOptions, Records, Shard, SourceFile, UnreadableDataset
from fedcore.plugin_api.lines import LONGEST_LINE
from plugins.readers.labelled_lines import LabelledLines

LINES = st.lists(
    st.binary(max_size=12).filter(lambda line: b"\n" not in line and not line.endswith(b"\r")),
    min_size=1,
    max_size=30,
)


def written(folder: Path, data: bytes, label: str | None = "benign") -> SourceFile:
    path = folder / "requests.txt"
    path.write_bytes(data)
    return SourceFile(path, label)


def blocks_of(file: SourceFile, size: int = 1 << 20, labelled: bool = True, **options: int) -> list[Records]:
    reader = LabelledLines(options)
    return [block for shard in reader.shards([file], size) for block in reader.read([file], shard, labelled)]


def requests_of(blocks: list[Records]) -> list[bytes]:
    return [request for block in blocks for request in block.columns["request"]]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=LINES,
    end=st.sampled_from([b"\n", b"\r\n"]),
    closed=st.booleans(),
    size=st.integers(1, 200),
    rows=st.integers(1, 7),
)
def test_every_line_is_read_once_and_in_order_however_it_is_cut(
    tmp_path: Path, lines: list[bytes], end: bytes, closed: bool, size: int, rows: int
) -> None:
    data = end.join([b"first", *lines, b"x"]) + (end if closed else b"")
    file = written(tmp_path, data)
    blocks = blocks_of(file, size, block_rows=rows, block_bytes=64)
    assert requests_of(blocks) == [line for line in [b"first", *lines, b"x"] if line]
    assert max(len(block) for block in blocks) <= rows


def test_shards_begin_and_end_between_rows_and_cover_the_file(tmp_path: Path) -> None:
    data = b"".join(b"/page/%d\n" % number for number in range(1000))
    file = written(tmp_path, data)
    shards = LabelledLines().shards([file, file], 500)
    first = [shard for shard in shards if shard.file == 0]
    assert [shard.start for shard in first] == [0, *(shard.end for shard in first[:-1])]
    assert first[-1].end == len(data)
    assert all(data[shard.end - 1 : shard.end] == b"\n" for shard in first)
    assert len(shards) == 2 * len(first) > 10


def test_each_shard_can_be_read_alone(tmp_path: Path) -> None:
    file = written(tmp_path, b"one\ntwo\nthree\n")
    reader = LabelledLines()
    last = reader.shards([file], 4)[-1]
    assert requests_of(list(reader.read([file], last))) == [b"three"]


def test_a_large_file_is_read_in_blocks_of_bounded_rows_and_bytes(tmp_path: Path) -> None:
    line = b"/a/rather/ordinary/request?with=parameters\n"
    file = written(tmp_path, line * 20_000)
    sizes = [
        (len(block), len(block.columns["request"].data))
        for block in blocks_of(file, 1 << 30, block_rows=500, block_bytes=100_000)
    ]
    assert sum(rows for rows, _ in sizes) == 20_000
    assert max(rows for rows, _ in sizes) == 500
    limited_by_bytes = blocks_of(file, 1 << 30, block_rows=1_000_000, block_bytes=10_000)
    assert max(len(block.columns["request"].data) for block in limited_by_bytes) <= 10_000


def test_a_file_eight_times_as_large_takes_no_more_memory(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        file = written(tmp_path, b"/a/rather/ordinary/request?with=parameters\n" * rows)
        reader = LabelledLines({"block_bytes": 100_000})
        tracemalloc.start()
        try:
            for block in reader.read([file], Shard(0, 0, file.path.stat().st_size)):
                assert len(block)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1000)
    assert peak(80_000) < 1.1 * peak(10_000)


def test_reading_does_not_run_ahead_of_the_rows_that_are_asked_for(tmp_path: Path) -> None:
    file = written(tmp_path, b"fine\n" * 1000 + b"x" * (LONGEST_LINE + 1) + b"\n")
    blocks = LabelledLines({"block_bytes": 100}).read([file], Shard(0, 0, file.path.stat().st_size))
    assert len(next(blocks)) == 20


def test_rows_have_the_class_number_of_their_file(tmp_path: Path) -> None:
    for label, number in (("benign", 0), ("attack", 1)):
        (block,) = blocks_of(written(tmp_path, b"a\nb\n", label))
        assert block.labels is not None
        assert block.labels.dtype == np.int64
        assert block.labels.tolist() == [number, number]


def test_without_labels_rows_need_none(tmp_path: Path) -> None:
    (block,) = blocks_of(written(tmp_path, b"a\n", None), labelled=False)
    assert block.labels is None


def test_a_file_without_its_label_says_where_to_put_one(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDataset, match=r"requests.txt has no label.*benign, attack.*`files`"):
        blocks_of(written(tmp_path, b"a\n", None))


def test_a_label_that_is_no_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDataset, match=r"label 'bad', which is none of the classes benign, attack"):
        blocks_of(written(tmp_path, b"a\n", "bad"))


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    file = SourceFile(tmp_path / "gone.txt", "benign")
    with pytest.raises(
        UnreadableDataset, match=r"gone.txt cannot be read \(No such file or directory\): correct"
    ):
        LabelledLines().shards([file], 100)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDataset, match=r"cannot be read \(Is a directory\)"):
        LabelledLines().shards([SourceFile(tmp_path, "benign")], 100)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDataset, match=r"requests.txt is empty: take it out"):
        LabelledLines().shards([written(tmp_path, b"")], 100)


def test_a_compressed_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDataset, match=r"is compressed with gzip.*unpack it first"):
        LabelledLines().shards([written(tmp_path, gzip.compress(b"a\n"))], 100)


@pytest.mark.parametrize("block_bytes", [100_000, 4_194_304])
@pytest.mark.parametrize("rest", [b"", b"\n", b"\nmore\n"])
def test_a_line_over_the_limit_is_refused_by_its_number(
    tmp_path: Path, rest: bytes, block_bytes: int
) -> None:
    file = written(tmp_path, b"one\ntwo\n" + b"x" * (LONGEST_LINE + 1) + rest)
    whole = Shard(0, 0, file.path.stat().st_size)
    with pytest.raises(UnreadableDataset, match=r"requests.txt, line 3: longer than 262144 bytes"):
        list(LabelledLines({"block_bytes": block_bytes}).read([file], whole))


def test_a_file_cannot_be_cut_within_a_line_over_the_limit(tmp_path: Path) -> None:
    file = written(tmp_path, b"one\n" + b"x" * (2 * LONGEST_LINE))
    with pytest.raises(UnreadableDataset, match=r"requests.txt, line 2: longer than 262144 bytes"):
        LabelledLines().shards([file], 1000)


def test_a_line_at_the_limit_is_read(tmp_path: Path) -> None:
    file = written(tmp_path, b"x" * LONGEST_LINE + b"\n" + b"y\n")
    assert [len(request) for request in requests_of(blocks_of(file, 1000))] == [LONGEST_LINE, 1]


def test_a_file_that_became_shorter_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, b"one\ntwo\n")
    (shard,) = LabelledLines().shards([file], 100)
    file.path.write_bytes(b"one\n")
    with pytest.raises(UnreadableDataset, match=r"became shorter while it was read: announce it again"):
        list(LabelledLines().read([file], shard))


def test_wrong_options_are_all_named_at_once() -> None:
    with pytest.raises(InvalidOptions) as caught:
        LabelledLines({"block_rows": 0, "column": 3})
    assert set(caught.value.problems) == {"block_rows", "column"}


def test_a_shard_of_no_bytes_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="The size of a shard is at least 1 byte, not 0"):
        LabelledLines().shards([written(tmp_path, b"a\n")], 0)
