"""The names behind the ids of the audit, looked up when entries are shown: a page of them at a time.

Whoever may not see a thing does not read its name here either.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.apps import apps
from django.db.models import Model, QuerySet
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from fedcore.coordinator.governance.audit import Thing
from fedcore.coordinator.governance.models import AuditEntry, Person

TABLES: Final = {
    Thing.PERSON: ("governance", "Person", ()),
    Thing.ORGANISATION: ("governance", "Organisation", ()),
    Thing.HOST: ("governance", "OwnerHost", ()),
    Thing.KEY: ("governance", "PersonKey", ()),
    Thing.DATASET: ("governance", "Dataset", ("host",)),
    Thing.REQUEST: ("governance", "AccessRequest", ("dataset__host", "requested_by")),
    Thing.RUN: ("runs", "Run", ()),
    Thing.ORDER: ("runs", "RunOrder", ("run", "host")),
    Thing.ARTEFACT: ("runs", "Artefact", ("run",)),
}
"""The things that have a page: application, model, and what their names need."""


@dataclass(frozen=True)
class Named:
    """What a thing is called, and its page; of what the person may not see, the first digits of its id."""

    text: str
    address: str = ""

    @property
    def link(self) -> SafeString:
        if not self.address:
            return format_html("{}", self.text)
        return format_html('<a href="{}">{}</a>', self.address, self.text)


def name_subjects(entries: Iterable[AuditEntry], person: Person) -> None:
    """Put on each entry, as `subject`, what its subject is called now."""
    entries = list(entries)
    wanted: dict[Thing, set[str]] = defaultdict(set)
    for entry in entries:
        wanted[Thing(entry.thing)].add(entry.thing_id)
    names = {thing: _names(thing, ids, person) for thing, ids in wanted.items() if thing in TABLES}
    for entry in entries:
        unnamed = unnamed_thing(Thing(entry.thing), entry.thing_id)
        entry.__dict__["subject"] = names.get(Thing(entry.thing), {}).get(entry.thing_id, unnamed)


def named_thing(thing: Thing, id: str, person: Person) -> Named:
    """What one thing is called, for whoever may see it."""
    known = _names(thing, {id}, person) if thing in TABLES else {}
    return known.get(id) or unnamed_thing(thing, id)


def unnamed_thing(thing: Thing, id: str) -> Named:
    """The kind of a thing, and its id as people read it: of a digest the first digits."""
    return Named(f"{thing.label} {id[:12]}{'…' if len(id) > 12 else ''}".strip())


def _names(thing: Thing, ids: set[str], person: Person) -> dict[str, Named]:
    application, name, joined = TABLES[thing]
    model: Any = apps.get_model(application, name)
    rows: QuerySet[Any] = model.objects.filter(pk__in=[id for id in ids if id]).select_related(*joined)
    seen = rows.visible_to(person)  # type: ignore[attr-defined]
    return {_id(row): Named(str(row), _page(row)) for row in seen}


def _id(row: Model) -> str:
    """The id as entries have it."""
    return row.pk.hex if isinstance(row.pk, UUID) else str(row.pk)


def _page(row: Any) -> str:
    """Where a thing is shown; an order and an artefact are shown with their run."""
    if row._meta.model_name in ("runorder", "artefact"):
        row = row.run
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=(row.pk,))
