"""Entries as CSV and as JSON lines, for auditors' own tools.

JSON lines have exactly what the digest covers, with digest and signature, so that whoever has them can verify the chain
without the database. Names are added only where they are asked for: what has left can no longer be erased here.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from django.db.models import QuerySet

from fedcore.coordinator.governance.audit.chain import COVERED, content_of
from fedcore.coordinator.governance.audit.entries import AuditEntry

COLUMNS: Final = (*COVERED, "digest", "signature")
NAMES: Final = ("person_name", "host_name", "address")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Format(StrEnum):
    CSV = "csv"
    JSON_LINES = "jsonl"


def exported(entries: QuerySet[AuditEntry], format: Format, names: bool = False) -> Iterator[str]:
    """The entries in the order of their serials, a line at a time."""
    joined = entries.select_related("person", "host", "origin") if names else entries
    rows = (row_of(entry, names) for entry in joined.order_by("serial").iterator(chunk_size=1000))
    return _csv(rows, names) if format is Format.CSV else _json_lines(rows)


def row_of(entry: AuditEntry, names: bool = False) -> dict[str, Any]:
    """One entry as values of JSON; with `names` also who that was and from which address, as far as not erased."""
    row = content_of(entry) | {"digest": entry.digest, "signature": entry.signature}
    return row | names_of(entry) if names else row


def names_of(entry: AuditEntry) -> dict[str, str]:
    """The names behind the ids, as they are now; empty where they are erased."""
    shown = (entry.person and entry.person.username, entry.host and entry.host.name, entry.origin)
    return {name: str(value or "") for name, value in zip(NAMES, shown, strict=True)}


def file_name(format: Format, now: datetime) -> str:
    return f"audit-{now:%Y%m%d-%H%M%S}.{format}"


def _json_lines(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(row, sort_keys=True, ensure_ascii=True) + "\n"


def _csv(rows: Iterable[dict[str, Any]], names: bool) -> Iterator[str]:
    columns = [*COLUMNS, *(NAMES if names else ())]
    yield _line(columns)
    for row in rows:
        yield _line([_cell(row[column]) for column in columns])


def _line(cells: list[str]) -> str:
    written = io.StringIO()
    csv.writer(written).writerow(cells)
    return written.getvalue()


def _cell(value: Any) -> str:
    """A value as text that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
