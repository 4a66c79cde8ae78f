"""Finding datasets: by words in what their owners tell, and by what they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import OuterRef, Q, QuerySet, Subquery, TextField
from django.db.models.functions import Cast

from fedcore.coordinator.governance.models import Dataset, DatasetVersion, MockSample

SEARCHED: Final = (
    "name",
    "title",
    "description",
    "licence",
    "terms",
    "price",
    "contact",
    "reader",
    "host__name",
    "host__organisation__name",
    "host__organisation__title",
    "columns_text",
    "notes_text",
    "classes_text",
)


@dataclass(frozen=True)
class DatasetSearch:
    """What to look for; what is left out is not asked for. Every one of `words` must be found, in any text."""

    words: str = ""
    organisation: str = ""
    sensitivity: str = ""
    reader: str = ""
    class_name: str = ""
    columns: Sequence[str] = ()
    minimum_rows: int = 0

    def among(self, datasets: QuerySet[Dataset]) -> QuerySet[Dataset]:
        """Those of `datasets` that are looked for."""
        exact = {
            "host__organisation__name": self.organisation,
            "sensitivity": self.sensitivity,
            "reader": self.reader,
        }
        rules = [_anywhere(word) for word in self.words.split()]
        rules += [Q((field, wanted)) for field, wanted in exact.items() if wanted]
        rules += [Q(("classes_text__contains", f'"{self.class_name}"'))] if self.class_name else []
        rules += [Q(("columns_text__contains", f'"{column}"')) for column in self.columns]
        return with_texts(datasets).filter(*rules, rows__gte=self.minimum_rows)


def with_texts(datasets: QuerySet[Dataset]) -> QuerySet[Dataset]:
    """`datasets` with their lists as text, which every database can search. Names in them have no quotes."""
    texts: dict[str, Any] = {
        "columns_text": Cast("columns", TextField()),
        "notes_text": Cast("column_notes", TextField()),
        "classes_text": Cast("classes", TextField()),
    }
    return datasets.annotate(**texts)


def with_mocks(datasets: QuerySet[Dataset]) -> QuerySet[Dataset]:
    """`datasets` with `mock_digest`: the mock sample of the current version, where its host has sent it."""
    current = DatasetVersion.objects.filter(
        dataset=OuterRef(OuterRef("pk")), digest=OuterRef(OuterRef("current_version"))
    )
    here = MockSample.objects.filter(pk__in=current.values("mock_digest")).values("pk")[:1]
    return datasets.annotate(mock_digest=Subquery(here))


def _anywhere(word: str) -> Q:
    return Q(*((f"{field}__icontains", word) for field in SEARCHED), _connector=Q.OR)
