"""Appending to the audit, in the transaction of what is recorded."""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from django.db import transaction
from django.utils import timezone

from fedcore.coordinator.governance.audit import chain, triggers
from fedcore.coordinator.governance.audit.actions import Action, detail_of
from fedcore.coordinator.governance.audit.entries import AuditAddress, AuditEntry, AuditHead, Outcome
from fedcore.coordinator.governance.audit.origin import Kind, Origin, here
from fedcore.coordinator.governance.audit.subjects import Subject, Thing, mark, subject_of
from fedcore.coordinator.governance.catalogue import OwnerHost
from fedcore.coordinator.governance.people import Person
from fedcore.coordinator.identity import coordinator_key

Actor = Person | OwnerHost | Kind
Decision = TypeVar("Decision", bound=Callable[..., Any])


@dataclass(frozen=True)
class _Draft:
    """An entry whose place in the chain is still open."""

    action: Action
    subject: Subject
    actor: Actor
    origin: Origin
    code: str
    detail: str

    @property
    def concerns(self) -> str:
        """What is concerned, each with a space on both sides; the organisation of whoever acts as well."""
        found = set(self.subject.concerns)
        if not isinstance(self.actor, Kind) and self.actor.organisation_id is not None:
            found.add(mark(Thing.ORGANISATION, self.actor.organisation_id))
        return f" {' '.join(sorted(found))} " if found else ""


class HeadMissing(Exception):
    """The row of the last entry is gone, so that no entry can follow it."""

    def __init__(self) -> None:
        super().__init__(
            "The head of the audit is missing from the database, and nothing is done that cannot be recorded. Restore "
            "the table governance_audithead from a backup; for a new database, run `python manage.py migrate`."
        )


_collected: Final[ContextVar[list[_Draft] | None]] = ContextVar("collected", default=None)
_protected: Final[set[str]] = set()
"""The databases whose triggers this process has seen."""


def record(
    action: Action,
    thing: object,
    *,
    by: Actor | None = None,
    refused: str = "",
    **detail: Any,
) -> None:
    """Append an entry: `by` has done `action` to `thing`, or was refused with a code.

    In the transaction of what is recorded, so that both are kept or neither. Without `by` it is whoever stands behind
    the request, and the system where there is none. `detail` is what the action's schema in `actions` has room for.
    Raises whatever keeps it from being written, which must end the action: never catch it.
    """
    origin = here()
    facts = detail_of(action, detail, refused=bool(refused))
    draft = _Draft(
        action=action,
        subject=subject_of(thing),
        actor=origin.actor if by is None else by,
        origin=origin,
        code=str(refused),
        detail=json.dumps(facts, sort_keys=True, separators=(",", ":")),
    )
    waiting = _collected.get()
    if waiting is None:
        _append([draft])
    else:
        waiting.append(draft)


@contextmanager
def atomic() -> Iterator[None]:
    """A transaction whose entries are appended at its end, whenever they were recorded.

    The head of the audit is then the last row that it locks, for the shortest time: two transactions that lock other
    rows besides cannot wait for each other in a circle. A context manager, or a decorator.
    """
    with transaction.atomic():
        outer = _collected.get()
        if outer is not None:
            with _forgotten_where_undone(outer):
                yield
            return
        drafts: list[_Draft] = []
        token = _collected.set(drafts)
        try:
            yield
        finally:
            _collected.reset(token)
        if drafts:
            _append(drafts)


@contextmanager
def _forgotten_where_undone(drafts: list[_Draft]) -> Iterator[None]:
    """What this block records is forgotten where it ends with an error: its part of the transaction is undone."""
    before = len(drafts)
    try:
        yield
    except BaseException:
        del drafts[before:]
        raise


@contextmanager
def refusals(action: Action, thing: object, by: Actor | None = None) -> Iterator[None]:
    """Record every error with a `code` that ends this block, and let it go on.

    Around the transaction, not in it: what was refused is rolled back, and the refusal is not.
    """
    try:
        yield
    except Exception as error:
        code = getattr(error, "code", None)
        if isinstance(code, str):
            record(action, thing, by=by, refused=code)
        raise


def refusals_of(action: Action) -> Callable[[Decision], Decision]:
    """`refusals` as a decorator, for functions that begin with the thing and the person who decides about it."""

    def decorate(function: Decision) -> Decision:
        @functools.wraps(function)
        def decided(thing: object, person: Person, *arguments: Any, **options: Any) -> Any:
            with refusals(action, thing, by=person):
                return function(thing, person, *arguments, **options)

        return cast("Decision", decided)

    return decorate


def head() -> AuditHead:
    """The last entry's serial and digest."""
    return AuditHead.objects.filter(pk=1).first() or AuditHead()


def _append(drafts: list[_Draft]) -> None:
    """Write the entries, with the head locked until the transaction ends."""
    with transaction.atomic(savepoint=False):
        _check_protected()
        origins = [_address_of(draft) for draft in drafts]
        last = AuditHead.objects.select_for_update().filter(pk=1).first()
        if last is None:
            raise HeadMissing
        key = coordinator_key()
        for draft, origin in zip(drafts, origins, strict=True):
            entry = _entry(draft, origin, last)
            chain.seal(entry, key)
            entry.save()
            last.serial, last.digest = entry.serial, entry.digest
        last.save(update_fields=["serial", "digest"])


def _entry(draft: _Draft, origin: AuditAddress | None, last: AuditHead) -> AuditEntry:
    actor = draft.actor
    return AuditEntry(
        serial=last.serial + 1,
        at=timezone.now(),
        who=_kind_of(actor),
        person_id=actor.pk if isinstance(actor, Person) else None,
        host_id=actor.pk if isinstance(actor, OwnerHost) else None,
        channel=draft.origin.channel.value,
        origin_id=origin.pk if origin else None,
        action=draft.action.value,
        thing=draft.subject.thing.value,
        thing_id=draft.subject.id,
        concerns=draft.concerns,
        outcome=(Outcome.REFUSED if draft.code else Outcome.DONE).value,
        code=draft.code,
        detail=draft.detail,
        previous=last.digest,
    )


def _kind_of(actor: Actor) -> str:
    if isinstance(actor, Kind):
        return actor.value
    return (Kind.PERSON if isinstance(actor, Person) else Kind.HOST).value


def _address_of(draft: _Draft) -> AuditAddress | None:
    """The row of the address, made where it is the first time that this person acts from it."""
    address = draft.origin.address
    if not address:
        return None
    person = draft.actor.pk if isinstance(draft.actor, Person) else None
    if (
        person is None
        and draft.actor is Kind.UNKNOWN
        and draft.subject.thing is Thing.PERSON
        and draft.subject.id
    ):
        person = int(draft.subject.id)  # Somebody who claims to be this person: erased with the person.
    known = AuditAddress.objects.filter(person=person, address=address).first()
    if known is not None:
        return known
    salt = secrets.token_hex(16)
    return AuditAddress.objects.create(
        commitment=chain.commitment_of(salt, address), salt=salt, address=address, person_id=person
    )


def _check_protected() -> None:
    """Raise `TriggersMissing` where the database would let entries be changed; looked at once in a process."""
    alias = AuditEntry.objects.db
    if alias not in _protected:
        absent = triggers.missing()
        if absent:
            raise triggers.TriggersMissing(absent)
        _protected.add(alias)
