"""The admin's front page: for each role what it needs at a glance. A person with several roles sees the panels of all.

| role | cards and panels |
|---|---|
| data owner | requests waiting, runs on one's data, grants about to end, what datasets gave, refused orders, hosts |
| data scientist | own requests and questions, grants with runs left, runs |
| auditor | the audit: latest entries, refusals by code, its head; then as a data owner |
| administrator | as a data owner, and people without a role; the operator's also the audit |
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from fedcore.coordinator.dashboard import auditing, oversight, scientist
from fedcore.coordinator.dashboard.panels import Card, Panel
from fedcore.coordinator.governance.models import AccessRequest, Person, Role
from fedcore.coordinator.governance.people import person_of


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the front page's cards and panels, as far as the person may see them."""
    person, now = person_of(request), timezone.now()
    parts: list[tuple[Iterable[Card], Iterable[Panel]]] = []
    audits = person.has_role(Role.AUDITOR)
    if audits:
        parts.append(auditing.of(person, now))
    if oversees(person):
        parts.append(oversight.of(person, now))
    if person.has_role(Role.DATA_SCIENTIST):
        parts.append(scientist.of(person, now))
    if person.sees_everything and not audits:
        parts.append(auditing.of(person, now))
    context["cards"] = [card for cards, _panels in parts for card in cards]
    context["panels"] = [panel for _cards, panels in parts for panel in panels]
    return context


def waiting_badge(request: HttpRequest) -> str:
    """How many requests wait for a decision of the own organisation, or for the own answer, beside their name in the
    navigation."""
    if not isinstance(request.user, Person):
        return ""
    person, now = request.user, timezone.now()
    requests = AccessRequest.objects
    return str((requests.to_decide(person, now) | requests.to_answer(person, now)).count() or "")


def oversees(person: Person) -> bool:
    """Whether the person has a part in an owner's or in the operator's side."""
    return person.sees_everything or bool(person.roles - {Role.DATA_SCIENTIST})
