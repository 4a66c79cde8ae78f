"""What is recorded by itself: log-ins and log-outs, sessions and API tokens, second factors, and every row of people,
roles, organisations and hosts that is saved or deleted, whoever does it. Of a change, an entry has the names of the
fields and not their values.
"""

from __future__ import annotations

from typing import Any, Final

from axes.signals import user_locked_out
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models import Model
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.utils import timezone

from fedcore.coordinator.governance.audit.actions import Action
from fedcore.coordinator.governance.audit.origin import Kind
from fedcore.coordinator.governance.audit.recording import record
from fedcore.coordinator.governance.audit.subjects import Subject, Thing, mark, subject_of
from fedcore.coordinator.governance.catalogue import OwnerHost
from fedcore.coordinator.governance.logins import ApiToken, StoredSession
from fedcore.coordinator.governance.people import Membership, Organisation, Person
from fedcore.coordinator.governance.second_factor import SecondFactor

ROWS: Final[dict[type[Model], tuple[Action, Action, Action]]] = {
    Person: (Action.ADD_PERSON, Action.CHANGE_PERSON, Action.DELETE_PERSON),
    Organisation: (Action.ADD_ORGANISATION, Action.CHANGE_ORGANISATION, Action.DELETE_ORGANISATION),
    OwnerHost: (Action.ADD_HOST, Action.CHANGE_HOST, Action.DELETE_HOST),
}
UNREMARKABLE: Final = frozenset({"last_login", "last_contact", "version", "away_told_at", "grants_serial"})
"""Fields that the coordinator itself keeps up to date."""


def watch() -> None:
    """Connect everything. Called once, when the application is ready."""
    user_logged_in.connect(_logged_in, dispatch_uid="audit")
    user_logged_out.connect(_logged_out, dispatch_uid="audit")
    user_login_failed.connect(_login_failed, dispatch_uid="audit")
    user_locked_out.connect(_locked_out, dispatch_uid="audit")
    for model in ROWS:
        pre_save.connect(_note_changes, sender=model, dispatch_uid="audit")
        post_save.connect(_saved, sender=model, dispatch_uid="audit")
        pre_delete.connect(_deleted, sender=model, dispatch_uid="audit")
    post_save.connect(_role_given, sender=Membership, dispatch_uid="audit")
    post_delete.connect(_role_taken, sender=Membership, dispatch_uid="audit")
    post_save.connect(_token_made, sender=ApiToken, dispatch_uid="audit")
    post_delete.connect(_token_ended, sender=ApiToken, dispatch_uid="audit")
    post_delete.connect(_session_ended, sender=StoredSession, dispatch_uid="audit")
    post_save.connect(_factor_made, sender=SecondFactor, dispatch_uid="audit")
    post_delete.connect(_factor_removed, sender=SecondFactor, dispatch_uid="audit")


def _logged_in(sender: Any, user: Person, **context: Any) -> None:
    record(Action.LOG_IN, user, by=user)


def _logged_out(sender: Any, user: Any, **context: Any) -> None:
    if isinstance(user, Person):
        record(Action.LOG_OUT, user, by=user)


def _login_failed(sender: Any, credentials: dict[str, Any], **context: Any) -> None:
    """A wrong password or code: of whoever claims to be this person, or of somebody who is logged in.

    `wanted` is the action that the person who is logged in wanted, and `refused` the code: see `guesses.count`.
    """
    subject = _claimed(credentials.get("username"))
    wanted, refused = context.get("wanted", Action.LOG_IN), context.get("refused", "wrong_password")
    if wanted == Action.LOG_IN:
        record(Action.LOG_IN, subject, by=Kind.UNKNOWN, refused=refused)
    else:
        record(Action(wanted), subject, refused=refused)


def _locked_out(sender: Any, username: Any, **context: Any) -> None:
    record(Action.LOCK_OUT, _claimed(username), by=Kind.UNKNOWN)


def _claimed(username: Any) -> Subject:
    """The person of this name. A name that is nobody's is not kept: people mistype, and type passwords there."""
    person = Person.objects.filter(username=username or "").first()
    return Subject(Thing.PERSON) if person is None else subject_of(person)


def _note_changes(sender: type[Model], instance: Any, raw: bool = False, **context: Any) -> None:
    """Remember on the row what is about to change, and the organisation that it leaves."""
    only = context.get("update_fields")
    is_remarkable = only is None or not UNREMARKABLE.issuperset(only)
    known: Any = None
    if is_remarkable and not raw and not instance._state.adding:
        known = sender._default_manager.filter(pk=instance.pk).first()
    instance._audit_changes = [] if known is None else [
        field.name
        for field in sender._meta.concrete_fields
        if field.name not in UNREMARKABLE
        and (only is None or field.name in only or field.attname in only)
        and getattr(known, field.attname) != getattr(instance, field.attname)
    ]  # fmt: skip
    instance._audit_left = getattr(known, "organisation_id", None)


def _saved(sender: type[Model], instance: Any, created: bool, raw: bool = False, **context: Any) -> None:
    added, changed, _deleted_action = ROWS[sender]
    if created:
        record(added, instance)
    elif instance._audit_changes:
        subject = subject_of(instance)
        if instance._audit_left is not None:
            left = mark(Thing.ORGANISATION, instance._audit_left)
            subject = Subject(subject.thing, subject.id, subject.concerns | {left})
        record(changed, subject, fields=tuple(instance._audit_changes))


def _deleted(sender: type[Model], instance: Any, **context: Any) -> None:
    record(ROWS[sender][2], instance)


def _role_given(sender: Any, instance: Membership, created: bool, **context: Any) -> None:
    if created:
        record(Action.GIVE_ROLE, instance, role=instance.role)


def _role_taken(sender: Any, instance: Membership, **context: Any) -> None:
    record(Action.TAKE_ROLE, instance, role=instance.role)


def _token_made(sender: Any, instance: ApiToken, created: bool, **context: Any) -> None:
    if created:
        record(Action.MAKE_TOKEN, instance)


def _token_ended(sender: Any, instance: ApiToken, **context: Any) -> None:
    record(
        Action.END_TOKEN, instance, expired=instance.expiry is not None and instance.expiry < timezone.now()
    )


def _session_ended(sender: Any, instance: StoredSession, **context: Any) -> None:
    """A session of somebody that was ended. One that expired is only cleared away, some time later."""
    if instance.person is not None and instance.expires_at > timezone.now():
        record(Action.END_SESSION, instance)


def _factor_made(sender: Any, instance: SecondFactor, created: bool, **context: Any) -> None:
    if created:
        record(Action.ENROL_FACTOR, instance)


def _factor_removed(sender: Any, instance: SecondFactor, **context: Any) -> None:
    record(Action.REMOVE_FACTOR, instance)
