"""Datasets as they lie on this host's disk: opened by the policy's words, known by the digest of their content.

Who can see what: the catalogue gets description, terms, schema, a rounded number of rows, the version and a mock
sample (see `fedcore.owner.mocks`). The version is a keyed digest (HMAC-SHA256, RFC 2104, with a secret of this
host), so that nobody else can test a guess of the content against it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fedcore.owner.config import Config, Dataset
from fedcore.owner.confined.calling import PluginStopped
from fedcore.owner.dataset_cache import DatasetCache, FileIdentity
from fedcore.owner.facts import DatasetFacts, Refused
from fedcore.owner.home import Home
from fedcore.owner.mocks import MockProblem, from_files, generated, ref_of
from fedcore.owner.sections import DataFile
from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.plugin_api.readers import DatasetReader, Shard, SourceFile, UnreadableDataset
from fedcore.plugin_api.registry import Registry, UnknownPlugin
from fedcore.wire.catalogue import MockRef
from fedcore.wire.codes import RefusalCode
from fedcore.wire.reports import DatasetOffer
from fedcore.wire.sealing import derive

logger = logging.getLogger(__name__)


class DatasetProblem(Exception):
    """A dataset that cannot be used now. `code` may leave the host, the rest is for the owner."""

    def __init__(self, name: str, code: RefusalCode, detail: str) -> None:
        super().__init__(f"[datasets.{name}]: {detail}")
        self.name = name
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class OpenDataset:
    """A dataset with its reader and the absolute paths of its files."""

    name: str
    offer: Dataset
    reader: DatasetReader[Any]
    files: tuple[SourceFile, ...]

    def shards(self, size: int) -> list[Shard]:
        """The parts of about `size` bytes that workers read. Raises `DatasetProblem`."""
        try:
            return self.reader.shards(self.files, size)
        except (UnreadableDataset, PluginStopped) as error:
            raise _unreadable(self.name, error) from error


class Datasets:
    """The datasets of one host, by its policy."""

    def __init__(self, home: Home, policy: Config, registry: Registry) -> None:
        self._base = home.path
        self._policy = policy
        self._registry = registry
        self._cache = DatasetCache(home.dataset_cache_path)
        self._secret = derive(home.split_key, "dataset-version")
        self._split_secret = derive(home.split_key, "ledger-split")

    def open(self, name: str) -> OpenDataset:
        """The dataset of this name. Raises `DatasetProblem` if it is not offered or has no usable reader."""
        offer = self._policy.datasets.get(name)
        if offer is None:
            raise DatasetProblem(
                name, RefusalCode.UNKNOWN_DATASET, "the policy offers no such dataset. Add it to offer it."
            )
        try:
            reader: Any = self._registry.get("readers", offer.reader)(offer.reader_options)
        except PluginStopped as error:
            raise DatasetProblem(name, error.code, str(error)) from error
        except UnknownPlugin as error:
            code = RefusalCode.PLUGIN_CONFINED if self._registry.not_loaded else RefusalCode.PLUGIN_MISSING
            raise DatasetProblem(name, code, str(error)) from error
        except InvalidOptions as error:
            raise DatasetProblem(name, RefusalCode.INVALID_OPTIONS, str(error)) from error
        return OpenDataset(name, offer, reader, self._sources(offer.files))

    def look(self, name: str) -> DatasetFacts:
        """Version and number of rows of the dataset as it is now. Reads only what changed since the last look.

        Raises `DatasetProblem` for a dataset that is not offered, unreadable, or empty.
        """
        dataset = self.open(name)
        version = self._version(dataset)
        rows = self._cache.rows(version)
        if rows is None:
            rows = self._count_rows(dataset)
            self._cache.note_rows(version, rows)
        if rows == 0:
            raise DatasetProblem(
                name, RefusalCode.DATASET_EMPTY, "its files have no usable row. Look at the files."
            )
        return DatasetFacts(version, rows, len(dataset.reader.classes))

    def split(self, name: str) -> str:
        """What identifies the split of a dataset's rows: the same while every row stays on its side for good.

        A reader of another version, or with other options, may read other rows out of the same files. Raises
        `DatasetProblem`.
        """
        reader = self.open(name).reader
        read = [reader.version, reader.options.model_dump(mode="json"), reader.compared or reader.columns]
        text = json.dumps([name, self._policy.datasets[name].reader, *read], sort_keys=True)
        return hmac.new(self._split_secret, text.encode(), hashlib.sha256).hexdigest()[:32]

    def facts(self, name: str) -> DatasetFacts | Refused | None:
        """What the policy decides on: as `look`, with a problem as a refusal, and `None` for what is not offered."""
        if name not in self._policy.datasets:
            return None
        try:
            return self.look(name)
        except DatasetProblem as problem:
            return Refused(problem.code, str(problem))

    def offers(
        self, today: str, shown: Callable[[str, DatasetFacts], int] | None = None
    ) -> tuple[tuple[DatasetOffer, ...], tuple[DatasetProblem, ...]]:
        """What the catalogue may know of every usable dataset, and the problems of the others.

        `today` is the date (UTC, as 2027-12-31); a dataset past its retention date is not offered. `shown` gives the
        number of rows that may leave, or raises `DatasetProblem`; without it the number is rounded.
        """
        offers: list[DatasetOffer] = []
        problems: list[DatasetProblem] = []
        for name, offer in self._policy.datasets.items():
            try:
                if today > offer.retention.isoformat():
                    raise DatasetProblem(name, RefusalCode.RETENTION_PASSED, _RETENTION_PASSED)
                offers.append(self._offer(name, shown or self.rounded_rows))
            except DatasetProblem as problem:
                problems.append(problem)
        return tuple(offers), tuple(problems)

    def rounded_rows(self, name: str, now: DatasetFacts) -> int:
        """The number of rows, rounded down as the policy says."""
        return rounded(now.rows, self._policy.datasets[name].round_rows_to)

    def mock(self, name: str) -> bytes | None:
        """The mock sample of a dataset, or None where it has none. Raises `MockProblem` and `DatasetProblem`."""
        dataset = self.open(name)
        entry = dataset.offer.catalogue
        if entry.has_files:
            return from_files(dataset.reader, self._sources(entry.mock_files))
        return generated(dataset.reader) if entry.mock == "generated" else None

    def _offer(self, name: str, shown: Callable[[str, DatasetFacts], int]) -> DatasetOffer:
        dataset, now = self.open(name), self.look(name)
        entry, columns = dataset.offer.catalogue, dataset.reader.columns
        return DatasetOffer(
            name=name,
            version=now.version,
            title=dataset.offer.title,
            description=dataset.offer.description,
            reader=dataset.offer.reader,
            columns=columns,
            column_kinds={column: kind for column, kind in dataset.reader.kinds.items() if column in columns},
            column_notes={column: note for column, note in entry.columns.items() if column in columns},
            classes=dataset.reader.classes,
            rows=shown(name, now),
            licence=entry.licence,
            terms=entry.terms,
            sensitivity=entry.sensitivity,
            price=entry.price,
            contact=entry.contact,
            retention=dataset.offer.retention,
            mock=self._mock_ref(name),
        )

    def _mock_ref(self, name: str) -> MockRef | None:
        try:
            sample = self.mock(name)
        except MockProblem as problem:
            logger.error("[datasets.%s.catalogue]: %s. It is offered without a mock sample.", name, problem)
            return None
        return None if sample is None else ref_of(sample)

    def _sources(self, files: Sequence[DataFile]) -> tuple[SourceFile, ...]:
        """The files by their real paths: what a confined reader opens is compared with them."""
        paths = (os.path.realpath(self._base / Path(file.path).expanduser()) for file in files)
        return tuple(SourceFile(Path(path), file.label) for path, file in zip(paths, files, strict=True))

    def _version(self, dataset: OpenDataset) -> str:
        contents = [(file.label, self._file_digest(dataset.name, file.path)) for file in dataset.files]
        described = {
            "reader": dataset.offer.reader,
            "options": dataset.reader.options.model_dump(mode="json"),
            "columns": dataset.reader.columns,
            "classes": dataset.reader.classes,
            "files": contents,
        }
        text = json.dumps(described, sort_keys=True, separators=(",", ":"))
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def _file_digest(self, name: str, path: Path) -> str:
        try:
            before = _identity(path)
            digest = self._cache.digest(before)
            if digest is None:
                digest = _digest_of(path)
                if _identity(path) != before:
                    raise UnreadableDataset(
                        f"File {path} changed while it was read. Offer files that are complete."
                    )
                self._cache.note_digest(before, digest)
        except OSError as error:
            raise DatasetProblem(
                name,
                RefusalCode.DATASET_UNREADABLE,
                f"file {path} cannot be read ({error.strerror}). Restore it, or correct its path in files.",
            ) from error
        except UnreadableDataset as error:
            raise _unreadable(name, error) from error
        return digest

    def _count_rows(self, dataset: OpenDataset) -> int:
        if not total_bytes(dataset.files):
            return 0
        shards = dataset.shards(self._policy.worker.shard_bytes)
        try:
            return sum(len(block) for shard in shards for block in dataset.reader.read(dataset.files, shard))
        except (UnreadableDataset, PluginStopped) as error:
            raise _unreadable(dataset.name, error) from error


_RETENTION_PASSED: Final = "its retention date has passed. Delete the data, or change retention."


def rounded(rows: int, to: int) -> int:
    """`rows` rounded down to a multiple of `to`, as counts leave the host."""
    return rows - rows % to


def _unreadable(name: str, error: UnreadableDataset | PluginStopped) -> DatasetProblem:
    code = error.code if isinstance(error, PluginStopped) else RefusalCode.DATASET_UNREADABLE
    return DatasetProblem(name, code, str(error))


def _identity(path: Path) -> FileIdentity:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableDataset(f"{path} is not a regular file. Name files in files, not folders or pipes.")
    return FileIdentity(
        str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_dev, status.st_ino
    )


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def total_bytes(files: Iterable[SourceFile]) -> int:
    """The size of these files on the disk."""
    return sum(file.path.stat().st_size for file in files)
