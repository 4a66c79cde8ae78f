"""A dataset as its page in the admin shows it: terms, columns, versions, and the first made-up rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Count, Q
from django.utils.translation import gettext_lazy as _

from fedcore.coordinator.governance.catalogue import Sensitivity
from fedcore.coordinator.governance.models import (
    AccessRequest,
    Dataset,
    DatasetVersion,
    Person,
    RequestState,
    Role,
)
from fedcore.wire import catalogue as wire

SHOWN_ROWS: Final = 8
"""How many rows of a mock sample are shown: half of them of the first class, where there are as many."""

LONGEST_CELL: Final = 160
KIND_TEXTS: Final[dict[str, Any]] = {
    wire.ColumnKind.TEXT: _("text"),
    wire.ColumnKind.CATEGORY: _("category"),
    wire.ColumnKind.NUMBER: _("number"),
    wire.ColumnKind.TIME: _("time"),
    wire.ColumnKind.IDENTIFIER: _("identifier"),
}
SENSITIVITY_COLOURS: Final = {
    Sensitivity.PUBLIC: "success",
    Sensitivity.INTERNAL: "info",
    Sensitivity.CONFIDENTIAL: "warn",
    Sensitivity.SPECIAL: "danger",
}


@dataclass(frozen=True)
class Column:
    """A column; an identifier names people or machines."""

    name: str
    kind: Any
    note: str
    identifies: bool


@dataclass(frozen=True)
class Version:
    """A version, with how many requests and usable grants for it the person who looks may see."""

    version: DatasetVersion
    is_current: bool
    requests: int
    grants: int

    @property
    def rows(self) -> str:
        return f"{self.version.rows:,}"


@dataclass(frozen=True)
class ShownMock:
    """The first rows of a mock sample: their cells, and the name of their class at the end."""

    columns: list[str]
    rows: list[list[str]]
    total: int


@dataclass(frozen=True)
class ShownDataset:
    """Everything that the page of a dataset says."""

    dataset: Dataset
    colour: str
    columns: list[Column]
    versions: list[Version]
    mock: ShownMock | None
    may_ask: bool

    @property
    def rows(self) -> str:
        return f"{self.dataset.rows:,}"


def show(dataset: Dataset, person: Person) -> ShownDataset:
    """The dataset for `person`, who may see it."""
    mock = dataset.mock
    return ShownDataset(
        dataset=dataset,
        colour=SENSITIVITY_COLOURS[Sensitivity(dataset.sensitivity)],
        columns=_columns(dataset),
        versions=_versions(dataset, person),
        mock=None if mock is None else _first_rows(mock.sample),
        may_ask=dataset.is_offered and person.has_role(Role.DATA_SCIENTIST),
    )


def _columns(dataset: Dataset) -> list[Column]:
    kinds = {name: dataset.column_kinds.get(name, wire.ColumnKind.TEXT) for name in dataset.columns}
    return [
        Column(
            name,
            KIND_TEXTS.get(kind, kind),
            dataset.column_notes.get(name, ""),
            kind == wire.ColumnKind.IDENTIFIER,
        )
        for name, kind in kinds.items()
    ]


def _versions(dataset: Dataset, person: Person) -> list[Version]:
    requests = AccessRequest.objects.visible_to(person).filter(dataset=dataset).order_by()
    granted = Count("pk", filter=Q(state=RequestState.APPROVED))
    counted = requests.values("dataset_version").annotate(asked=Count("pk"), granted=granted)
    counts = {row["dataset_version"]: (row["asked"], row["granted"]) for row in counted}
    return [
        Version(version, version.digest == dataset.current_version, *counts.get(version.digest, (0, 0)))
        for version in dataset.versions.all()
    ]


def _first_rows(sample: wire.MockSample) -> ShownMock:
    benign = [row for row, label in enumerate(sample.labels) if label == 0][: SHOWN_ROWS // 2]
    others = [row for row, label in enumerate(sample.labels) if label != 0][: SHOWN_ROWS - len(benign)]
    rows = [
        [*(_cut(cells[row]) for cells in sample.columns.values()), sample.classes[sample.labels[row]]]
        for row in sorted(benign + others)
    ]
    return ShownMock(list(sample.columns), rows, len(sample.labels))


def _cut(cell: str) -> str:
    return cell if len(cell) <= LONGEST_CELL else f"{cell[:LONGEST_CELL]}…"
