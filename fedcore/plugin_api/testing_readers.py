"""Contract tests of dataset readers; import them from `fedcore.plugin_api.testing`. This module needs pytest."""

from __future__ import annotations

import builtins
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcore.plugin_api.mocks import read_mock
from fedcore.plugin_api.readers import DatasetReader
from fedcore.plugin_api.testing_common import check_plugin
from fedcore.wire.catalogue import MockSample


class ReaderContract:
    """For dataset readers. Fixture: `reader`. A reader that makes no mock sample says so by `makes_mock = False`."""

    makes_mock = True
    mock_rows = 300

    @pytest.fixture
    def reader(self) -> DatasetReader[Any]:
        raise TypeError("Give the fixture `reader`.")

    def sample(self, reader: DatasetReader[Any], folder: Path, seed: int = 1) -> MockSample:
        """The mock sample as the reader reads it."""
        target = folder / f"mock-of-seed-{seed}"
        target.mkdir()
        return read_mock(reader, reader.mock(self.mock_rows, seed), target)

    def test_the_reader_says_who_it_is_and_what_it_reads(self, reader: DatasetReader[Any]) -> None:
        check_plugin(reader)
        assert reader.columns and len(set(reader.columns)) == len(reader.columns)
        assert len(reader.classes) >= 2 and len(set(reader.classes)) == len(reader.classes)
        assert set(reader.kinds) | set(reader.compared) <= set(reader.columns)

    def test_it_reads_its_own_mock_sample(self, reader: DatasetReader[Any], tmp_path: Path) -> None:
        assert bool(reader.mock(self.mock_rows, 1)) == self.makes_mock
        if self.makes_mock:
            sample = self.sample(reader, tmp_path)
            assert tuple(sample.columns) == reader.columns
            assert self.mock_rows / 2 <= len(sample.labels) <= self.mock_rows

    def test_every_class_occurs_often_enough_in_a_mock_sample(
        self, reader: DatasetReader[Any], tmp_path: Path
    ) -> None:
        if self.makes_mock:
            counts = np.bincount(self.sample(reader, tmp_path).labels, minlength=len(reader.classes))
            assert counts.min() >= self.mock_rows / len(reader.classes) / 4

    def test_a_mock_sample_follows_from_its_arguments(
        self, reader: DatasetReader[Any], tmp_path: Path
    ) -> None:
        again = type(reader)(reader.options.model_dump())
        assert reader.mock(self.mock_rows, 1) == again.mock(self.mock_rows, 1)
        if self.makes_mock:
            assert self.sample(reader, tmp_path, 1) != self.sample(reader, tmp_path, 2)

    def test_a_mock_sample_is_made_without_opening_a_file(
        self, reader: DatasetReader[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reader.mock(self.mock_rows, 1)  # Imports what it needs: modules are files too.
        with monkeypatch.context() as forbidden:
            for module, name in (
                (builtins, "open"),
                (io, "open"),
                (os, "open"),
                (os, "listdir"),
                (os, "scandir"),
            ):
                forbidden.setattr(module, name, _no_file)
            made = list(reader.mock(self.mock_rows, 3))
        assert bool(made) == self.makes_mock


def _no_file(*arguments: Any, **more: Any) -> Any:
    raise PermissionError(f"A mock sample is made without any file, and this was asked for: {arguments[:1]}")
