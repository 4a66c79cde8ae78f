"""On what something is done: the kind and id of the thing, and whom and what it concerns.

`subject_of` knows the tables of governance; another application says what its own things are with
`subject_of.register`. What an entry concerns is written into it when it is made: a person who moves to another
organisation takes no old entry along.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from django.db.models import Model, TextChoices
from django.utils.translation import gettext_lazy as _

from fedcore.coordinator.governance.access import AccessRequest, Grant
from fedcore.coordinator.governance.catalogue import Dataset, OwnerHost
from fedcore.coordinator.governance.logins import ApiToken, StoredSession
from fedcore.coordinator.governance.people import Membership, Organisation, Person, PersonKey
from fedcore.coordinator.governance.second_factor import SecondFactor


class Thing(TextChoices):
    """The kinds of things. A grant has the id of its request."""

    NOTHING = "nothing", _("nothing")
    PERSON = "person", _("person")
    ORGANISATION = "organisation", _("organisation")
    HOST = "host", _("owner host")
    KEY = "key", _("signing key")
    TOKEN = "token", _("API token")
    SESSION = "session", _("session")
    DATASET = "dataset", _("dataset")
    REQUEST = "request", _("access request")
    RUN = "run", _("run")
    ORDER = "order", _("order")
    ARTEFACT = "artefact", _("artefact")
    AUDIT = "audit", _("audit")


def thing_choices() -> list[tuple[str, Any]]:
    """The kinds of things as a field's choices. As a function, so that a further kind is no change of the database."""
    return list(Thing.choices)


@dataclass(frozen=True)
class Subject:
    """A thing, and what else it concerns, as `kind:id`."""

    thing: Thing
    id: str = ""
    concerns: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.id:
            object.__setattr__(self, "concerns", self.concerns | {mark(self.thing, self.id)})


def mark(thing: Thing, id: object) -> str:
    """How entries name a thing that they concern."""
    return f"{thing.value}:{id}"


@singledispatch
def subject_of(thing: object) -> Subject:
    """What is acted on. Raises `TypeError` for a thing that nobody has described."""
    raise TypeError(
        f"{type(thing).__name__} is no subject of the audit: describe it with `subject_of.register`."
    )


def is_subject(thing: object) -> bool:
    """Whether somebody has described it."""
    return subject_of.dispatch(type(thing)) is not subject_of.dispatch(object)


@subject_of.register
def _subject(subject: Subject) -> Subject:
    return subject


@subject_of.register
def _person(person: Person) -> Subject:
    return _of(Thing.PERSON, person, person.organisation_id)


@subject_of.register
def _membership(membership: Membership) -> Subject:
    return _person(membership.person)


@subject_of.register
def _organisation(organisation: Organisation) -> Subject:
    return _of(Thing.ORGANISATION, organisation, None)


@subject_of.register
def _host(host: OwnerHost) -> Subject:
    return _of(Thing.HOST, host, host.organisation_id)


@subject_of.register
def _key(key: PersonKey) -> Subject:
    return _of(Thing.KEY, key, key.person.organisation_id, mark(Thing.PERSON, key.person_id))


@subject_of.register
def _token(token: ApiToken) -> Subject:
    return Subject(Thing.TOKEN, token.name, _person(token.user).concerns)


@subject_of.register
def _session(session: StoredSession) -> Subject:
    concerns = _person(session.person).concerns if session.person else frozenset()
    return Subject(Thing.SESSION, session.digest[:16], concerns)


@subject_of.register
def _factor(factor: SecondFactor) -> Subject:
    return _person(factor.user)


@subject_of.register
def _dataset(dataset: Dataset) -> Subject:
    host = dataset.host
    return _of(Thing.DATASET, dataset, host.organisation_id, mark(Thing.HOST, host.pk))


@subject_of.register
def _request(request: AccessRequest) -> Subject:
    scientist = mark(Thing.PERSON, request.requested_by_id)
    return Subject(Thing.REQUEST, request.pk, _dataset(request.dataset).concerns | {scientist})


@subject_of.register
def _grant(grant: Grant) -> Subject:
    return _request(grant.request)


def _of(thing: Thing, row: Model, organisation: int | None, *concerns: str) -> Subject:
    return Subject(thing, str(row.pk), frozenset({*concerns, *_organisation_of(organisation)}))


def _organisation_of(id: int | None) -> set[str]:
    return set() if id is None else {mark(Thing.ORGANISATION, id)}
