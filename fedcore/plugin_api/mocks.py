"""Mock samples and records: what a reader reads of made-up rows, as it travels, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedcore.plugin_api.readers import DatasetReader, MockFile, SourceFile, UnreadableDataset
from fedcore.plugin_api.values import Records, Text
from fedcore.wire.catalogue import MAXIMUM_MOCK_BYTES, MAXIMUM_MOCK_ROWS, MockSample

_SHARD_BYTES = 1 << 20


class MockTooLarge(Exception):
    """More made-up rows than a mock sample may have. The text says the limit."""


def read_mock(reader: DatasetReader[Any], files: Sequence[MockFile], folder: Path) -> MockSample:
    """The sample of these files as `reader` reads them; they are written to the empty `folder`.

    Raises `UnreadableDataset` for files that the reader cannot read, and `MockTooLarge`.
    """
    sources = []
    for number, file in enumerate(files):
        path = folder / f"mock-{number}"
        path.write_bytes(file.content)
        sources.append(SourceFile(path, file.label))
    return sample_of(reader, sources)


def sample_of(reader: DatasetReader[Any], files: Sequence[SourceFile]) -> MockSample:
    """The sample of all rows of these files. Raises `UnreadableDataset`, and `MockTooLarge`."""
    blocks: list[Records] = []
    rows = 0
    for shard in reader.shards(files, _SHARD_BYTES):
        for block in reader.read(files, shard):
            rows += len(block)
            if rows > MAXIMUM_MOCK_ROWS:
                raise MockTooLarge(f"A mock sample has at most {MAXIMUM_MOCK_ROWS} rows.")
            blocks.append(block)
    if not rows:
        raise UnreadableDataset("The mock sample has no rows: give it some of each class.")
    sample = MockSample(
        columns={name: _cells([block.columns[name] for block in blocks]) for name in reader.columns},
        classes=reader.classes,
        labels=tuple(int(label) for block in blocks for label in _labels(block)),
    )
    if len(sample.encode().encode()) > MAXIMUM_MOCK_BYTES:
        raise MockTooLarge(f"A mock sample has at most {MAXIMUM_MOCK_BYTES} bytes as JSON.")
    return sample


def records_of(sample: MockSample) -> Records:
    """The rows of a sample, as a pipeline takes them."""
    columns = {
        name: Text.from_rows(cell.encode() for cell in cells) for name, cells in sample.columns.items()
    }
    return Records(columns, np.array(sample.labels, np.int64))


def _labels(block: Records) -> Any:
    if block.labels is None:
        raise UnreadableDataset("The rows of a mock sample need labels: give its files labels.")
    return block.labels


def _cells(parts: Sequence[Text]) -> tuple[str, ...]:
    return tuple(row.decode("utf-8", "replace").replace("\0", "\ufffd") for part in parts for row in part)
