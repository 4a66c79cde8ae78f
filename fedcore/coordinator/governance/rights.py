"""Changing what people may do: one function for each change, called by the admin and by `setup_site` alike.

Whoever moves to another organisation or is disabled starts from nothing, at once:

| what | when somebody moves or is disabled |
|---|---|
| roles | taken: they hold in one's own organisation |
| sessions, API tokens | ended |
| signing keys | revoked: what they sign counts no longer |
| access requests, grants | lapse, since the signed request names the organisation (`AccessRequest.has_lapsed`) |
| open runs | cancelled |

Whoever loses the role of a data scientist keeps sessions, tokens and keys; requests lapse and open runs are cancelled.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from functools import partial
from typing import Final

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext as _

from fedcore.coordinator.governance import audit, logins, notices, rules
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.decisions import DecisionError
from fedcore.coordinator.governance.models import Membership, Organisation, Person, Role

_KEEPING: Final = frozenset({"is_active", "organisation"})
"""What decides whether a person keeps their rights."""

narrowed = Signal()
"""Sent after a change is committed that took rights from `person`: what relied on them may look again."""


@audit.atomic()
def save(person: Person, fields: Collection[str] | None = None) -> None:
    """Save a person's row, or these `fields` of it. A person who was moved, disabled or enabled again keeps no right of
    before. What `fields` leaves out stays as it is in the database, whoever has changed it meanwhile."""
    stored = Person.objects.select_for_update().filter(pk=person.pk).first()
    if stored is None:
        person.save()
        return
    for field in () if fields is None else _KEEPING.difference(fields):
        setattr(person, field, getattr(stored, field))
    person.save(update_fields=fields)
    stays = stored.is_active and person.is_active and stored.organisation_id == person.organisation_id
    if not stays:
        _end(person, stored)


@audit.atomic()
def appoint(by: Person, person: Person, roles: Set[Role]) -> None:
    """Give `person` exactly these roles. Raises `DecisionError` (`not_to_give`) where they may not."""
    locked = Person.objects.select_for_update().get(pk=person.pk)
    for role in sorted(locked.roles ^ roles):
        if not rules.may_appoint(by, locked, role):
            raise DecisionError(
                "not_to_give",
                _(
                    "The role %(role)s of %(person)s is not yours to give or take: an administrator gives and takes "
                    "the roles that they hold, in the own organisation, and never their own."
                )
                % {"role": role.label, "person": person},
            )
    set_roles(person, roles)


@audit.atomic()
def set_roles(person: Person, roles: Set[Role]) -> bool:
    """Give `person` exactly these roles, whoever says so; whether that changed anything. For the operator's own
    commands: everybody else goes through `appoint`."""
    Person.objects.select_for_update().get(pk=person.pk)
    present = {Role(role) for role in person.memberships.values_list("role", flat=True)}
    person.memberships.filter(role__in=present - roles).delete()
    for role in sorted(roles - present):
        Membership.objects.create(
            person=person, role=role
        )  # One by one: the audit notices rows that are saved.
    person.forget_roles()
    if present - roles:
        _say_narrowed(person)
    return present != roles


@audit.atomic()
def set_approvers(by: Person, organisation: Organisation, two: bool) -> None:
    """Require two approvals of each request from now on, or one, and tell the other data owners.

    Raises `PermissionDenied` where `by` may not.
    """
    locked = Organisation.objects.select_for_update().get(pk=organisation.pk)
    if not rules.may_set_approvers(by, locked, two):
        raise PermissionDenied
    Organisation.objects.filter(pk=locked.pk).update(two_approvers=two)
    organisation.two_approvers = two
    audit.record(Action.SET_APPROVERS, organisation, number=2 if two else 1)
    notices.tell_approvers(organisation, by)


def _end(person: Person, stored: Person) -> None:
    place = str(stored.organisation_id)
    lost = sorted(stored.roles_ever_in(stored.organisation_id))
    person.roles_lost = stored.roles_lost | ({place: lost} if lost else {})
    Person.objects.filter(pk=person.pk).update(roles_lost=person.roles_lost)
    person.memberships.all().delete()
    person.forget_roles()
    for key in person.keys.filter(revoked_at=None):
        person.keys.filter(pk=key.pk).update(revoked_at=timezone.now())
        audit.record(Action.REVOKE_KEY, key)
    logins.end_all(person)
    _say_narrowed(person)


def _say_narrowed(person: Person) -> None:
    transaction.on_commit(partial(narrowed.send, sender=Person, person=person), robust=True)
