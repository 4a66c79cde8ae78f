"""Erasing a person: the name, e-mail address and network addresses go, the id and what was done stay.

The entries have ids only, so the chain stays as it is. What this does not reach is outside the coordinator: exports
with names, backups, and the owners' own journals, which know people by their keys.
"""

from __future__ import annotations

import re
from typing import Final

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType

from fedcore.coordinator.governance import rights, second_factor
from fedcore.coordinator.governance.audit.actions import Action
from fedcore.coordinator.governance.audit.entries import AuditAddress
from fedcore.coordinator.governance.audit.recording import atomic, record
from fedcore.coordinator.governance.notices import TEXT_LENGTH, Notice
from fedcore.coordinator.governance.people import Person
from fedcore.wire.text import one_line

# A name ends where a sentence does, and not within another name, such as that of a dataset.
_NOT_AFTER: Final = r"(?<![\w@+/-])(?<!\w\.)"
_NOT_BEFORE: Final = r"(?![\w@+/-]|\.\w)"


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
    """Notices name whoever acted, as whole words; the person's own are nobody's any more."""
    Notice.objects.filter(person=person).delete()
    names = {str(person), person.username, one_line(person)} - {""}
    for name in sorted(names, key=len, reverse=True):
        whole = re.compile(_NOT_AFTER + re.escape(name) + _NOT_BEFORE)
        for notice in Notice.objects.filter(text__contains=name):
            said = whole.sub(shown, notice.text)[:TEXT_LENGTH]
            if said != notice.text:
                notice.text = said
                notice.save(update_fields=["text"])


def _forget_in_history(person: Person, shown: str) -> None:
    """The admin's own history repeats names in its texts."""
    about = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(Person), object_id=str(person.pk)
    )
    about.update(object_repr=shown, change_message="")
