"""Mock samples: rows that scientists develop on, made on this host without a look at the dataset's rows.

Who can see what: everybody who sees the catalogue sees a mock sample. Generated rows follow from reader, options and
a fixed seed alone, so every host has the same ones for the same schema. Rows of the owner's own files are published
as they stand there.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from fedcore.plugin_api.mocks import MockTooLarge, read_mock, sample_of
from fedcore.plugin_api.readers import DatasetReader, SourceFile
from fedcore.wire.catalogue import MAXIMUM_MOCK_BYTES, MockRef

ROWS: Final = 400
SEED: Final = 2021


class MockProblem(Exception):
    """A mock sample that cannot be made. The text is for the owner; the dataset is offered without one."""


def generated(reader: DatasetReader[Any]) -> bytes | None:
    """The sample that the reader makes up, or None where it makes none. Raises `MockProblem`."""
    return _generated(type(reader), json.dumps(reader.options.model_dump(mode="json"), sort_keys=True))


def from_files(reader: DatasetReader[Any], files: Sequence[SourceFile]) -> bytes:
    """The sample of the owner's own files, whole. Raises `MockProblem`."""
    if not files:
        raise MockProblem('mock = "file" names no file. Name some under mock_files, or write "generated"')
    try:
        size = sum(file.path.stat().st_size for file in files)
        if size > MAXIMUM_MOCK_BYTES:
            raise MockTooLarge(
                f"A mock sample has at most {MAXIMUM_MOCK_BYTES} bytes, the files have {size}."
            )
        return sample_of(reader, files).encode().encode()
    except OSError as error:
        raise MockProblem(
            f"a file of mock_files cannot be read ({error.strerror}): correct its path"
        ) from error
    except Exception as error:  # A reader's code runs here; it keeps no dataset from being offered.
        raise MockProblem(f"the mock sample cannot be read: {error}") from error


def ref_of(sample: bytes) -> MockRef:
    """How an announcement names a sample."""
    return MockRef(digest=hashlib.sha256(sample).hexdigest(), size=len(sample))


@lru_cache(maxsize=64)
def _generated(kind: type[DatasetReader[Any]], options: str) -> bytes | None:
    reader: DatasetReader[Any] = kind(json.loads(options))
    rows = ROWS
    while True:
        try:
            files = reader.mock(rows, SEED)
            if not files:
                return None
            with tempfile.TemporaryDirectory(prefix="fedcore-mock-") as folder:
                return read_mock(reader, files, Path(folder)).encode().encode()
        except MockTooLarge as error:
            if rows == 1:
                raise MockProblem(f"the reader {kind.name} makes rows that are too long") from error
            rows //= 2
        except Exception as error:
            raise MockProblem(f"the reader {kind.name} makes no usable mock sample: {error}") from error
