"""Files of one row per line: cut into shards at line ends, read in blocks of bounded size.

Memory stays bounded by the block, whatever the size of the file. Lines end in LF or CR LF; empty lines are no
rows. Every error names the file, and the line where there is one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedcore.plugin_api.plugins import Options
from fedcore.plugin_api.readers import DatasetReader, Shard, SourceFile, UnreadableDataset
from fedcore.plugin_api.values import Records, Text

LONGEST_LINE: Final = 262_144
"""The most bytes in a line. Apache's own limits keep a log line with four long fields well below."""

_GZIP: Final = b"\x1f\x8b\x08"
_LF: Final = 10
_CR: Final = 13


class LineOptions(Options):
    """Options of every reader of lines."""

    block_rows: Annotated[int, Field(ge=1, le=1_000_000, description="The most rows in a block")] = 65_536
    block_bytes: Annotated[
        int, Field(ge=64, le=67_108_864, description="About how many bytes of the file make a block")
    ] = 4_194_304


SomeLineOptions = TypeVar("SomeLineOptions", bound=LineOptions)


@dataclass(frozen=True)
class Lines:
    """Some lines of a file without their ends; line `i` begins at byte `starts[i]` of the file."""

    file: SourceFile
    rows: Text
    starts: NDArray[np.int64]

    def number(self, row: int) -> int:
        """The line's number in the file, from 1. It counts the file's lines up to there, so it is for errors."""
        return _count_line_ends(self.file.path, int(self.starts[row])) + 1


class LineReader(DatasetReader[SomeLineOptions]):
    """Base class of readers of lines: a subclass turns `Lines` into records."""

    Options = LineOptions

    @abstractmethod
    def records(self, lines: Lines, labelled: bool) -> Records:
        """The records of these lines. Raises `UnreadableDataset`."""

    def shards(self, files: Sequence[SourceFile], size: int) -> list[Shard]:
        """Cut the files into parts of about `size` bytes that begin and end at line ends."""
        if size < 1:
            raise ValueError(f"The size of a shard is at least 1 byte, not {size}.")
        return [shard for number, file in enumerate(files) for shard in _shards_of(number, file, size)]

    def read(self, files: Sequence[SourceFile], shard: Shard, labelled: bool = True) -> Iterator[Records]:
        """The records of one shard, in blocks of at most `block_rows` rows, in the order of the file."""
        for lines in read_lines(
            files[shard.file], shard.start, shard.end, self.options.block_rows, self.options.block_bytes
        ):
            yield self.records(lines, labelled)

    def labels_by_file(self, lines: Lines, rows: int) -> NDArray[np.int64]:
        """The class number of the file that these lines are of, `rows` times."""
        label, path = lines.file.label, lines.file.path
        if label is None:
            raise UnreadableDataset(
                f"{path} has no label, and training needs one: give the file a label "
                f"({', '.join(self.classes)}) in the dataset's `files`."
            )
        if label not in self.classes:
            raise UnreadableDataset(
                f"{path} has the label {label!r}, which is none of the classes {', '.join(self.classes)}: "
                "correct the label in the dataset's `files`."
            )
        return np.full(rows, self.classes.index(label), np.int64)


def read_lines(file: SourceFile, start: int, end: int, block_rows: int, block_bytes: int) -> Iterator[Lines]:
    """The non-empty lines between two bytes of a file that lie between lines, block by block."""
    with _opened(file.path) as stream:
        stream.seek(start)
        kept, position = b"", start
        while position + len(kept) < end:
            wanted = min(block_bytes, end - position - len(kept))
            read = stream.read(wanted)
            if not read:
                raise UnreadableDataset(f"{file.path} became shorter while it was read: announce it again.")
            block = kept + read
            whole = len(block) if position + len(block) == end else block.rfind(b"\n") + 1
            kept = block[whole:]
            if len(kept) > LONGEST_LINE:
                raise _too_long(file.path, position + whole)
            for rows, starts in _split(block[:whole], block_rows):
                yield _checked(Lines(file, rows, starts + position))
            position += whole


def _split(block: bytes, block_rows: int) -> Iterator[tuple[Text, NDArray[np.int64]]]:
    """Rows and their places in `block`, which ends with a line's end or the file's."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == _LF)
    if len(data) and data[-1] != _LF:
        ends = np.append(ends, len(data))
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1]) if len(ends) else ends
    filled = ends > starts
    before = data[np.maximum(ends - 1, 0)] if len(data) else data
    stops = ends - (filled & (before == _CR))
    rows = np.flatnonzero(stops > starts)
    for first in range(0, len(rows), block_rows):
        some = rows[first : first + block_rows]
        yield _rows_between(data, starts[some], stops[some]), starts[some]


def _rows_between(data: NDArray[np.uint8], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Text:
    offsets = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(stops - starts, out=offsets[1:])
    begin, end = int(starts[0]), int(stops[-1])
    inside = np.zeros(end - begin + 1, np.int8)
    inside[starts - begin] = 1
    inside[stops - begin] = -1
    kept = np.cumsum(inside[:-1], dtype=np.int8).view(np.bool_)
    return Text(data[begin:end][kept], offsets)


def _checked(lines: Lines) -> Lines:
    lengths = np.diff(lines.rows.offsets)
    if len(lengths) and lengths.max() > LONGEST_LINE:
        raise _too_long(lines.file.path, int(lines.starts[np.argmax(lengths > LONGEST_LINE)]))
    return lines


def _shards_of(number: int, file: SourceFile, size: int) -> Iterator[Shard]:
    with _opened(file.path) as stream:
        total = stream.seek(0, 2)
        if total == 0:
            raise UnreadableDataset(
                f"{file.path} is empty: take it out of the dataset's `files`, or fill it."
            )
        start = 0
        while start < total:
            end = _next_line(stream, start + size, total, file.path)
            yield Shard(number, start, end)
            start = end


def _next_line(stream: BinaryIO, position: int, total: int, path: Path) -> int:
    """The first byte after the line that byte `position - 1` is of."""
    if position >= total:
        return total
    stream.seek(position - 1)
    rest = stream.readline(LONGEST_LINE + 1)
    if len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
        raise _too_long(path, position - 1)
    return position - 1 + len(rest)


def _opened(path: Path) -> BinaryIO:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise UnreadableDataset(
            f"{path} cannot be read ({error.strerror}): correct its path in the dataset's `files`, or its mode."
        ) from None
    if stream.read(len(_GZIP)) == _GZIP:
        stream.close()
        raise UnreadableDataset(
            f"{path} is compressed with gzip, and shards need plain text: unpack it first."
        )
    return stream


def _too_long(path: Path, position: int) -> UnreadableDataset:
    return UnreadableDataset(
        f"{path}, line {_count_line_ends(path, position) + 1}: longer than {LONGEST_LINE} bytes, so this is hardly "
        "a log. Check the file, or shorten the line."
    )


def _count_line_ends(path: Path, end: int) -> int:
    count, left = 0, end
    with path.open("rb") as stream:
        while left > 0:
            block = stream.read(min(left, 1 << 20))
            if not block:
                break
            count += block.count(b"\n")
            left -= len(block)
    return count
