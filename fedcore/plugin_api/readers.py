"""Dataset readers: from an owner's files to records, block by block."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fedcore.plugin_api.plugins import Plugin, SomeOptions
from fedcore.plugin_api.values import Records
from fedcore.wire.catalogue import ColumnKind


class UnreadableDataset(Exception):
    """A file that is missing or has a wrong form. The text is for the owner; it never leaves the host."""


@dataclass(frozen=True)
class Shard:
    """A part of a dataset that one worker reads: bytes `start` to `end` of file number `file`."""

    file: int
    start: int
    end: int


@dataclass(frozen=True)
class SourceFile:
    """One file of a dataset, and the class of all its rows where the file holds one class only."""

    path: Path
    label: str | None = None


@dataclass(frozen=True)
class MockFile:
    """Made-up rows as a file of the reader's form, and the class of all of them where it holds one class only."""

    content: bytes
    label: str | None = None


class DatasetReader(Plugin[SomeOptions]):
    """Reads the files of a dataset, and makes up rows of the same form.

    `columns` names the columns of the records, `classes` the classes in the order of their numbers. `kinds` says what
    a column holds, for the catalogue; a column that it leaves out holds text. `compared` names the columns by which
    near-duplicates are found when rows are held out; empty stands for all. It is the reader's to say, not the
    run's, so that a row is on the same side in every run.
    """

    columns: ClassVar[tuple[str, ...]]
    kinds: ClassVar[Mapping[str, ColumnKind]] = {}
    compared: ClassVar[tuple[str, ...]] = ()
    classes: ClassVar[tuple[str, ...]] = ("benign", "attack")

    @abstractmethod
    def shards(self, files: Sequence[SourceFile], size: int) -> list[Shard]:
        """Cut the files into parts of about `size` bytes that begin and end between rows.

        Raises `UnreadableDataset` for a missing or empty file.
        """

    @abstractmethod
    def read(self, files: Sequence[SourceFile], shard: Shard, labelled: bool = True) -> Iterator[Records]:
        """The records of one shard, in blocks of bounded size, in the order of the file.

        Without `labelled`, rows have no labels and need none. Raises `UnreadableDataset` with file, line,
        rule and fix.
        """

    def mock(self, rows: int, seed: int) -> Sequence[MockFile]:
        """About `rows` made-up rows, as files that this reader reads with its own options; every class occurs.

        They follow from the arguments, the options and the schema alone: no file is opened for them, so that the
        mock sample of a dataset tells nothing of its rows. A model learns something from them. A reader that makes
        none, as here, gives no files; then a dataset has a mock sample only where its owner names a file.
        """
        return ()
