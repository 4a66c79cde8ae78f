"""Who sees and edits what, derived from roles, for admin and API alike. The one place where this is said.

| role | sees | edits |
|---|---|---|
| administrator of the operator, superuser | everything | organisations, people, owner hosts |
| auditor of the operator | everything | nothing |
| administrator | people, hosts, datasets, requests, grants of the own organisation | its people and hosts |
| data owner | hosts, datasets, requests, grants of the own organisation, and its people | decides requests |
| auditor | as a data owner | nothing |
| data scientist | the catalogue, and the own requests, grants and keys | asks for access |

Everybody with a role sees the catalogue: organisations, active hosts, and the datasets that they offer now. Of the
audit, everybody sees the own acts; administrators, data owners and auditors what concerned their organisation, its
people, hosts and datasets. Decisions about requests follow their own rule, in `decisions`. What is not visible does
not exist: 404.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

from django.db import models
from django.db.models import Q

if TYPE_CHECKING:
    from fedcore.coordinator.governance.people import Person

SomeModel = TypeVar("SomeModel", bound=models.Model)


class Governed(models.QuerySet[SomeModel]):
    """A queryset that can be cut down to what a person may see."""

    def visible_to(self, person: Person) -> Self:
        """The rows that `person` may see: none without a role."""
        if not (person.is_active and person.is_staff):
            return self.none()
        return self if person.sees_everything else self.filter(self.rule(person))

    def rule(self, person: Person) -> Q:
        """What a person with a role sees who does not see everything."""
        raise TypeError(f"{type(self).__name__} does not say who sees its rows.")


class Organisations(Governed[Any]):
    def rule(self, person: Person) -> Q:
        return Q()


class People(Governed[Any]):
    def rule(self, person: Person) -> Q:
        return Q(pk=person.pk) | Q(organisation__in=person.organisations_with_oversight())


class OfPeople(Governed[Any]):
    """Roles and keys: seen with their person."""

    def rule(self, person: Person) -> Q:
        return Q(person=person) | Q(person__organisation__in=person.organisations_with_oversight())


class PersonKeys(OfPeople):
    def active(self) -> Self:
        """Keys that may sign: not revoked, of people who may log in."""
        return self.filter(revoked_at=None, person__is_active=True)


class OwnerHosts(Governed[Any]):
    def rule(self, person: Person) -> Q:
        return Q(is_active=True) | Q(organisation__in=person.organisations_with_oversight())

    def active(self) -> Self:
        """Hosts that get orders, and from which messages are accepted."""
        return self.filter(is_active=True)


class Datasets(Governed[Any]):
    def rule(self, person: Person) -> Q:
        offered = Q(is_offered=True, host__is_active=True)
        return offered | Q(host__organisation__in=person.organisations_with_oversight())


class AccessRequests(Governed[Any]):
    def rule(self, person: Person) -> Q:
        overseen = Q(dataset__host__organisation__in=person.organisations_with_oversight())
        return Q(requested_by=person) | overseen


class Grants(Governed[Any]):
    def rule(self, person: Person) -> Q:
        overseen = Q(request__dataset__host__organisation__in=person.organisations_with_oversight())
        return Q(request__requested_by=person) | overseen


class Releases(Governed[Any]):
    def rule(self, person: Person) -> Q:
        overseen = Q(grant__request__dataset__host__organisation__in=person.organisations_with_oversight())
        return Q(grant__request__requested_by=person) | overseen


class AuditEntries(Governed[Any]):
    def rule(self, person: Person) -> Q:
        """The own acts, and what concerned an organisation that the person oversees, when it happened."""
        seen = Q(person=person)
        for organisation in person.organisations_with_oversight().values_list("pk", flat=True):
            seen |= Q(concerns__contains=f" organisation:{organisation} ")
        return seen


def may_edit(person: Person, model: type[models.Model], subject: models.Model | None = None) -> bool:
    """Whether `person` may add or change rows of `model`, or the one row `subject`, in the admin.

    Requests and grants change by decisions, datasets by announcements, and keys by the person who holds them.
    """
    from fedcore.coordinator.governance.models import Membership, Organisation, OwnerHost, Person

    if model not in (Organisation, Person, Membership, OwnerHost):
        return False
    if person.administers_everything:
        return True
    if model is Organisation or not person.administers_own_organisation:
        return False
    if isinstance(subject, Membership):
        subject = subject.person
    if isinstance(subject, Person) and subject.is_superuser:
        return False
    return subject is None or getattr(subject, "organisation_id", None) == person.organisation_id
