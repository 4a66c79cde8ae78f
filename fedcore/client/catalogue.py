"""The catalogue as a scientist's program has it: datasets, their versions, and mock samples to develop on."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fedcore.client.errors import FedcoreError, Unreachable
from fedcore.client.transport import Transport
from fedcore.wire.catalogue import MAXIMUM_MOCK_BYTES, MockSample, Sensitivity
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import DatasetVersion

if TYPE_CHECKING:
    from fedcore.plugin_api.values import Records

CLASS: Final = "class"
"""The name of the last column of a mock sample's table: the class of the row."""


@dataclass(frozen=True)
class Dataset:
    """A dataset of the catalogue: what its owner tells about it. `mock` is the digest of its mock sample, if any."""

    host: str
    host_name: str
    organisation: str
    name: str
    version: str
    title: str
    description: str
    reader: str
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    rows: int
    column_kinds: Mapping[str, str] = field(default_factory=dict)
    column_notes: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    terms: str = ""
    sensitivity: str = Sensitivity.CONFIDENTIAL
    price: str = ""
    contact: str = ""
    retention: str | None = None
    mock: str | None = None

    @property
    def reference(self) -> DatasetVersion:
        """How messages name this version of the dataset."""
        return DatasetVersion(host=self.host, name=self.name, version=self.version)

    @property
    def path(self) -> str:
        """How people name it: HOST/NAME."""
        return f"{self.host_name}/{self.name}"

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Dataset:
        """A dataset as the coordinator answers it."""
        values = {name: item[name] for name in cls.__dataclass_fields__}
        return cls(**values | {"columns": tuple(item["columns"]), "classes": tuple(item["classes"])})


@dataclass(frozen=True)
class Version:
    """A version of a dataset, and when its host has first and last announced it."""

    version: str
    rows: int
    first_announced: str
    last_announced: str


@dataclass(frozen=True)
class Mock:
    """A mock sample: made-up rows of a dataset's schema. How a model does on them says nothing about real rows."""

    sample: MockSample

    def __len__(self) -> int:
        return len(self.sample.labels)

    @property
    def columns(self) -> Mapping[str, tuple[str, ...]]:
        """The cells of each column."""
        return self.sample.columns

    @property
    def labels(self) -> tuple[int, ...]:
        """The class number of each row."""
        return self.sample.labels

    def rows(self) -> Iterator[dict[str, str]]:
        """The rows, each with its class."""
        for number, label in enumerate(self.sample.labels):
            cells = {name: cells[number] for name, cells in self.sample.columns.items()}
            yield cells | {CLASS: self.sample.classes[label]}

    def records(self) -> Records:
        """The rows as a pipeline takes them (`fedcore.plugin_api`)."""
        from fedcore.plugin_api.mocks import records_of

        return records_of(self.sample)

    def write_csv(self, target: Path) -> Path:
        """Write the rows as CSV with a heading, the class in the last column."""
        with target.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*self.sample.columns, CLASS])
            writer.writeheader()
            writer.writerows(self.rows())
        return target


def fetch_mock(http: Transport, dataset: Dataset) -> Mock:
    """The mock sample of this version of a dataset. Raises `FedcoreError` where it has none."""
    if dataset.mock is None:
        raise FedcoreError(
            f"{dataset.path} has no mock sample: its owner offers none, or its host has not sent it yet."
        )
    content = http.get_bytes(f"/api/datasets/{dataset.path}/mock", version=dataset.version)
    if hashlib.sha256(content).hexdigest() != dataset.mock:
        raise Unreachable(f"The mock sample of {dataset.path} arrived with other bytes. Fetch it again.")
    try:
        return Mock(MockSample.parse(content, MAXIMUM_MOCK_BYTES))
    except WireError as error:
        raise Unreachable(f"The mock sample of {dataset.path} is none: {error.detail}.") from None
