"""What a list of the admin may be asked by its address: its own filters. All else would ask about what is hidden."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.contrib import admin
from django.db.models import Model
from django.urls import reverse

from tests.coordinator.permissions.asking import Answer, Body
from tests.coordinator.permissions.matrix import Matrix
from tests.coordinator.permissions.who import SEES_ALL, who

FILTERS: Final[dict[str, tuple[str, ...]]] = {
    "governance.accessrequest": (
        *("state__exact=waiting", "dataset__id__exact=1", "dataset__host__organisation__id__exact=1"),
        *("waits=decision", "waits=answer"),
        *("created_at__year=2026", "created_at__year=2026&created_at__month=3&created_at__day=4"),
    ),
    "governance.auditentry": (
        *("at_from=2026-01-01&at_to=2026-02-01", "action__exact=log_in", "outcome__exact=refused"),
        *("who__exact=person", "organisation=1", "dataset=1", "run=abc", "about=person:1"),
    ),
    "governance.dataset": (
        *("host__organisation__id__exact=1", "sensitivity__exact=personal", "reader=labelled_lines"),
        *("is_offered__exact=1",),
    ),
    "governance.grant": (
        *("request__dataset__host__organisation__id__exact=1", "revoked_at__isnull=True"),
        *("revoked_at__gte=2026-01-01 00:00Z&revoked_at__lt=2026-02-01 00:00Z", "standing__exact=in_force"),
        *("download__exact=0",),
    ),
    "governance.lockout": (),
    "governance.notice": ("about__exact=request", "read_at__isempty=1"),
    "governance.organisation": (),
    "governance.ownerhost": (
        *("organisation__id__exact=1", "is_reference__exact=0", "is_dealer__exact=0"),
        *("is_active__exact=1",),
    ),
    "governance.person": (
        *("organisation__id__exact=1", "memberships__role__exact=auditor", "is_active__exact=1"),
    ),
    "governance.personkey": ("person__organisation__id__exact=1",),
    "runs.run": (
        *("state__exact=running", "protocol=pooled", "backend=keyed_tokens", "model_type=linear"),
        *("created_at__year=2026",),
    ),
}
"""For each list what its links and fields filter by. Every other lookup is refused, whatever it would find."""

LOCKOUTS_ARE_SEEN_BY: Final = SEES_ALL | who("hana", "bea", "uma")
ASKING: Final = who("eve", "olga", "hana", "anna", "ada", "root")
"""One of every role, and whoever sees everything."""


def complaints_of_list(matrix: Matrix, label: str) -> Iterator[str]:
    """Everything that the list of this model answers though it should not, and the other way round."""
    model = next(found for found in admin.site._registry if found._meta.label_lower == label)
    for query in FILTERS[label]:
        answer = _ask(matrix, model, "root", query)
        if answer.status != 200:
            yield f"{label}: {query} is one of its filters, and is answered {answer.status}"
    asking = ASKING & LOCKOUTS_ARE_SEEN_BY if label == "governance.lockout" else ASKING
    for lookup in _lookups(model):
        for name in sorted(asking):
            yield from _wrong(matrix, model, name, lookup, "0")
    curious = "ada" if label == "governance.lockout" else "eve"
    for lookup in _more_lookups(model):
        yield from _wrong(matrix, model, curious, lookup, "0", "~")


def _wrong(matrix: Matrix, model: type[Model], name: str, lookup: str, *values: str) -> Iterator[str]:
    where = f"{model._meta.label_lower} by {name}"
    answers = [_ask(matrix, model, name, f"{lookup}={value}") for value in values]
    if any(answer.status != 400 for answer in answers):
        yield f"{where}: answers {lookup} with {', '.join(str(answer.status) for answer in answers)}"
    if len({(answer.location, answer.headers, answer.content, answer.queries) for answer in answers}) > 1:
        yield f"{where}: answers {lookup} according to its value"


def _ask(matrix: Matrix, model: type[Model], name: str, query: str) -> Answer:
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return matrix.asking.ask(name, "GET", address, Body(query=f"?{query}"), in_browser=True)


def _lookups(model: type[Model]) -> list[str]:
    """By every field of a row, and by whether a row points to it."""
    fields = model._meta.get_fields()
    found = {f"{field.name}__isnull" if field.is_relation else f"{field.name}__gte" for field in fields}
    return sorted(found - _own(model))


def _more_lookups(model: type[Model]) -> list[str]:
    """By every field for a value, and by every field of the rows that are one step away."""
    found = set(_names(model))
    for field in model._meta.get_fields():
        if field.is_relation and field.related_model is not None:
            related: Any = field.related_model
            found |= {f"{field.name}__gte", *(f"{field.name}__{name}__gte" for name in _names(related))}
    return sorted(found - _own(model))


def _names(model: type[Model]) -> list[str]:
    return [field.name for field in model._meta.get_fields()]


def _own(model: type[Model]) -> set[str]:
    """What the list filters by. Whatever it filters by may be missing, too."""
    queries = FILTERS[model._meta.label_lower]
    given = {part.split("=")[0] for query in queries for part in query.split("&")}
    return given | {f"{name.removesuffix('__exact').removesuffix('__id')}__isnull" for name in given}
