"""Erasing a person: the name, e-mail address and network addresses go, the id and what was done stay.

The entries have ids only, so the chain stays as it is. What this does not reach is outside the coordinator: exports
with names, backups, and the owners' own journals, which know people by their keys.
"""

from __future__ import annotations

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType

from fedcore.coordinator.governance import rights, second_factor
from fedcore.coordinator.governance.audit.actions import Action
from fedcore.coordinator.governance.audit.entries import AuditAddress
from fedcore.coordinator.governance.audit.recording import atomic, record
from fedcore.coordinator.governance.notices import TEXT_LENGTH, Notice
from fedcore.coordinator.governance.people import Person


def erase(person: Person) -> str:
    """Erase who `person` is, and end all access; returns the name that is shown from now on. Cannot be undone."""
    shown = f"erased-{person.pk}"
    with atomic():
        record(Action.ERASE_PERSON, person)
        second_factor.remove(person)
        for table in (AccessAttempt, AccessFailureLog, AccessLog):
            table.objects.filter(username=person.username).delete()
        _forget_in_notices(person, shown)
        person.username, person.first_name, person.last_name, person.email = shown, "", "", ""
        person.is_active = person.is_superuser = False
        person.set_unusable_password()
        rights.save(person)
        AuditAddress.objects.filter(person=person).delete()
        _forget_in_history(person, shown)
    return shown


def _forget_in_notices(person: Person, shown: str) -> None:
    """Notices name whoever acted; the person's own are nobody's any more."""
    Notice.objects.filter(person=person).delete()
    for notice in Notice.objects.filter(text__contains=str(person)):
        notice.text = notice.text.replace(str(person), shown)[:TEXT_LENGTH]
        notice.save(update_fields=["text"])


def _forget_in_history(person: Person, shown: str) -> None:
    """The admin's own history repeats names in its texts."""
    about = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(Person), object_id=str(person.pk)
    )
    about.update(object_repr=shown, change_message="")
