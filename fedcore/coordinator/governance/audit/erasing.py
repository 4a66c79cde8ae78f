"""Erasing a person: the name, e-mail address and network addresses go, the id and what was done stay.

The entries have ids only, so the chain stays as it is. What this does not reach is outside the coordinator: exports
with names, backups, and the owners' own journals, which know people by their keys.
"""

from __future__ import annotations

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone
from knox.models import AuthToken

from fedcore.coordinator.governance.audit.actions import Action
from fedcore.coordinator.governance.audit.entries import AuditAddress
from fedcore.coordinator.governance.audit.recording import atomic, record
from fedcore.coordinator.governance.people import Person, PersonKey


def erase(person: Person) -> str:
    """Erase who `person` is, and end all access; returns the name that is shown from now on. Cannot be undone."""
    shown = f"erased-{person.pk}"
    with atomic():
        for table in (AccessAttempt, AccessFailureLog, AccessLog):
            table.objects.filter(username=person.username).delete()
        record(Action.ERASE_PERSON, person)
        PersonKey.objects.filter(person=person, revoked_at=None).update(revoked_at=timezone.now())
        AuthToken.objects.filter(user=person).delete()
        person.memberships.all().delete()
        person.username, person.first_name, person.last_name, person.email = shown, "", "", ""
        person.is_active = person.is_superuser = False
        person.set_unusable_password()
        person.save()
        AuditAddress.objects.filter(person=person).delete()
        _forget_in_history(person, shown)
    return shown


def _forget_in_history(person: Person, shown: str) -> None:
    """The admin's own history repeats names in its texts."""
    about = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(Person), object_id=str(person.pk)
    )
    about.update(object_repr=shown, change_message="")
