"""Who sees and edits what, derived from roles, for admin and API alike. The one place where this is said.

| role | sees | edits |
|---|---|---|
| superuser | everything | organisations, people, owner hosts |
| administrator of the operator | everything | the same, superusers excepted |
| auditor of the operator | everything | nothing |
| administrator | people, hosts, datasets, requests, grants of the own organisation | its people and hosts |
| data owner | hosts, datasets, requests, grants of the own organisation, and its people | decides requests |
| auditor | as a data owner | nothing |
| data scientist | the catalogue, and the own requests, grants and keys | asks for access |

Notices are seen by the person whom they are for, and by nobody else.
Everybody with a role sees the catalogue: organisations, active hosts, and the datasets that they offer now. Of the
audit, everybody sees the own acts; administrators, data owners and auditors what concerned their organisation, its
people, hosts and datasets. Decisions about requests follow their own rule, in `decisions`. What is not visible does
not exist: 404.

Nobody grants more than they hold (`may_appoint`): an administrator gives and takes roles in the own organisation
only, only those that they hold, and never their own. The operator's administrators appoint the first holder of
each role in every organisation. Letting somebody in again, who has lost a password or a second factor, follows the
same measure (`may_let_in_again`): whoever can do that could become that person. Roles that somebody lost by being
disabled or moved count there as if they still held, so that nobody takes a person over by way of disabling them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

from django.db import models
from django.db.models import Q

if TYPE_CHECKING:
    from datetime import datetime

    from fedcore.coordinator.governance.people import Organisation, Person, Role

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

    def offered(self) -> Self:
        """What is in the catalogue now."""
        return self.filter(is_offered=True, host__is_active=True)


class DatasetVersions(Governed[Any]):
    """Versions: seen with their dataset."""

    def rule(self, person: Person) -> Q:
        offered = Q(dataset__is_offered=True, dataset__host__is_active=True)
        return offered | Q(dataset__host__organisation__in=person.organisations_with_oversight())


class AccessRequests(Governed[Any]):
    def rule(self, person: Person) -> Q:
        overseen = Q(dataset__host__organisation__in=person.organisations_with_oversight())
        return Q(requested_by=person) | overseen

    def to_decide(self, person: Person, now: datetime) -> Self:
        """Those of others, as far as the person sees them, that wait for a decision and can still get one."""
        seen = self.visible_to(person).exclude(requested_by=person)
        return seen.filter(state__in=("waiting", "proposed"), expires_at__gt=now)

    def to_answer(self, person: Person, now: datetime) -> Self:
        """The own ones whose owner has asked something back."""
        return self.filter(requested_by=person, state="asked_back", expires_at__gt=now)


class DryRuns(Governed[Any]):
    """Dry runs: one's own, and those of requests that one sees."""

    def rule(self, person: Person) -> Q:
        overseen = Q(request__dataset__host__organisation__in=person.organisations_with_oversight())
        return Q(asked_by=person) | Q(request__requested_by=person) | overseen


class Grants(Governed[Any]):
    def rule(self, person: Person) -> Q:
        overseen = Q(request__dataset__host__organisation__in=person.organisations_with_oversight())
        return Q(request__requested_by=person) | overseen


class ThreadEntries(Governed[Any]):
    """What was said about requests: seen with the request."""

    def rule(self, person: Person) -> Q:
        overseen = Q(request__dataset__host__organisation__in=person.organisations_with_oversight())
        return Q(request__requested_by=person) | overseen


class Notices(Governed[Any]):
    """Only the own ones, also for whoever sees everything else."""

    def visible_to(self, person: Person) -> Self:
        return self.filter(person=person) if person.is_active and person.is_staff else self.none()


class Releases(Governed[Any]):
    def rule(self, person: Person) -> Q:
        overseen = Q(grant__request__dataset__host__organisation__in=person.organisations_with_oversight())
        return Q(grant__request__requested_by=person) | overseen


class Lockouts(Governed[Any]):
    """Failed logins: seen by whoever administrates the person whose name was given."""

    def rule(self, person: Person) -> Q:
        from fedcore.coordinator.governance.people import Person

        if not person.administers_own_organisation:
            return Q(pk__in=())
        people = Person.objects.filter(organisation=person.organisation, is_superuser=False)
        return Q(username__in=people.values("username"))


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
    from fedcore.coordinator.governance.models import Organisation, OwnerHost, Person

    if model not in (Organisation, Person, OwnerHost):
        return False
    if isinstance(subject, Person):
        return may_administrate(person, subject)
    if person.administers_everything:
        return True
    if model is Organisation or not person.administers_own_organisation:
        return False
    return subject is None or getattr(subject, "organisation_id", None) == person.organisation_id


def may_administrate(person: Person, other: Person) -> bool:
    """Whether `person` may change, disable and log out `other`, and end the keys that `other` holds."""
    if other.is_superuser and not person.is_superuser:
        return False
    return person.administers_everything or (
        person.administers_own_organisation and person.organisation_id == other.organisation_id
    )


def may_appoint(person: Person, other: Person, role: Role) -> bool:
    """Whether `person` may give `other` this role, or take it."""
    if person.pk == other.pk or not may_administrate(person, other):
        return False
    if not other.is_active or other.organisation_id is None:
        return False
    if person.is_superuser:
        return True
    if person.organisation_id == other.organisation_id and person.has_role(role):
        return True
    return person.administers_everything and not _is_held(role, other.organisation_id)


def may_let_in_again(person: Person, other: Person) -> bool:
    """Whether `person` may end the password or the second factor of `other`, who then sets a new one."""
    if person.pk == other.pk or not may_administrate(person, other):
        return False
    if person.is_superuser:
        return True
    # Roles that ended count too: else whoever disables somebody, and enables them again, could become them.
    if other.had_roles_outside(person.organisation_id):
        return False
    return other.roles_ever_in(person.organisation_id) <= (
        person.roles if person.organisation_id == other.organisation_id else frozenset()
    )


def may_move(person: Person, other: Person) -> bool:
    """Whether `person` may put `other` into another organisation, or out of all."""
    return person.pk != other.pk and person.administers_everything and may_administrate(person, other)


def may_disable(person: Person, other: Person) -> bool:
    """Whether `person` may disable or enable `other`. A person who is enabled again has no role."""
    return person.pk != other.pk and may_administrate(person, other)


def may_set_approvers(person: Person, organisation: Organisation, two: bool) -> bool:
    """Whether `person` may say that two data owners of the organisation approve each request, or that one does.

    The organisation's own administrators may; who approves requests does not say that nobody else has to.
    """
    administers = person.administers_own_organisation and person.organisation_id == organisation.pk
    return person.is_active and administers and (two or not person.owns_data_of(organisation.pk))


def _is_held(role: Role, organisation_id: int) -> bool:
    from fedcore.coordinator.governance.models import Membership

    held = Membership.objects.filter(role=role, person__organisation=organisation_id, person__is_active=True)
    return held.exists()
