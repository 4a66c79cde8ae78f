"""A site from a file: organisations, people with their roles, and owner hosts by card.

```toml
[[organisations]]
name = "north-hospital"
title = "North Hospital"
two_approvers = true                # two data owners approve each request; left out: as it is

[[people]]
username = "olga"
organisation = "north-hospital"
roles = ["data_owner"]
password_file = "olga.password"     # or password_env = "OLGA_PASSWORD"; never the password itself

[[hosts]]
name = "north"
organisation = "north-hospital"
card = "fedcore-host:…:…"
reference = false
```
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedcore.coordinator.governance import audit, logins, notices, rights
from fedcore.coordinator.governance.models import Organisation, OwnerHost, Person, Role
from fedcore.wire.encoding import Label, Name
from fedcore.wire.keys import HostCard


class SetupError(Exception):
    """A file that cannot be applied. The text names the entry, the rule and the fix; nothing was changed."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OrganisationEntry(_Entry):
    name: Name
    title: Label
    two_approvers: bool | None = None


class PersonEntry(_Entry):
    username: Annotated[str, Field(min_length=1, max_length=150)]
    organisation: Name
    roles: tuple[Role, ...] = ()
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    password_env: str | None = None
    password_file: Path | None = None


class HostEntry(_Entry):
    name: Name
    organisation: Name
    card: str
    reference: bool = False
    dealer: bool = False


class SiteFile(_Entry):
    """What the file says. Paths of passwords are relative to it."""

    organisations: tuple[OrganisationEntry, ...] = ()
    people: tuple[PersonEntry, ...] = ()
    hosts: tuple[HostEntry, ...] = ()
    folder: Path = Path()


def read(path: Path) -> SiteFile:
    """Read and check the file. Raises `SetupError` with all mistakes at once."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SetupError(f"{path} cannot be read as TOML: {error}") from None
    try:
        return SiteFile.model_validate({**content, "folder": path.resolve().parent})
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        listed = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
        raise SetupError(f"{path}: {listed}") from None


def apply(site: SiteFile) -> list[str]:
    """Make what is missing and correct what differs, in one transaction; returns what was done, line by line.

    People and hosts that the file does not name stay as they are. Raises `SetupError`.
    """
    with audit.atomic():
        done = [line for entry in site.organisations for line in _organisation(entry)]
        done += [line for entry in site.people for line in _person(entry, site.folder)]
        done += [line for entry in site.hosts for line in _host(entry)]
    return done


def _organisation(entry: OrganisationEntry) -> list[str]:
    facts: dict[str, object] = {"title": entry.title}
    if entry.two_approvers is not None:
        facts["two_approvers"] = entry.two_approvers
    organisation, made = Organisation.objects.get_or_create(name=entry.name, defaults=facts)
    if made:
        return [f"Made organisation {entry.name}."]
    if all(getattr(organisation, name) == value for name, value in facts.items()):
        return []
    counts_anew = entry.two_approvers not in (None, organisation.two_approvers)
    for name, value in facts.items():
        setattr(organisation, name, value)
    organisation.save(update_fields=list(facts))
    if counts_anew:
        notices.tell_approvers(organisation)
    return [f"Changed organisation {entry.name}."]


def _person(entry: PersonEntry, folder: Path) -> list[str]:
    organisation = _named(entry.organisation, f"people.{entry.username}")
    facts = {"first_name": entry.first_name, "last_name": entry.last_name, "email": entry.email}
    facts["organisation"] = organisation  # type: ignore[assignment]
    person = Person.objects.filter(username=entry.username).first()
    done = []
    if person is None:
        person = Person(username=entry.username, **facts)
        person.set_unusable_password()
        person.save()
        done.append(f"Made {entry.username} of {entry.organisation}.")
    elif any(getattr(person, name) != value for name, value in facts.items()):
        for name, value in facts.items():
            setattr(person, name, value)
        rights.save(person)
        done.append(f"Changed {entry.username}.")
    return done + _roles(person, entry) + _password(person, entry, folder)


def _roles(person: Person, entry: PersonEntry) -> list[str]:
    wanted = frozenset(entry.roles) if person.is_active else frozenset()
    if not rights.set_roles(person, wanted):
        return []
    return [f"{entry.username} is now: {', '.join(sorted(wanted)) or 'without a role'}."]


def _password(person: Person, entry: PersonEntry, folder: Path) -> list[str]:
    password = _given_password(entry, folder)
    if password is None or person.check_password(password):
        return []
    try:
        validate_password(password, person)
    except DjangoValidationError as error:
        raise SetupError(f"people.{entry.username}: {' '.join(error.messages)}") from None
    person.set_password(password)
    person.save(update_fields=["password"])
    logins.end_all(person)
    return [f"Set the password of {entry.username}."]


def _given_password(entry: PersonEntry, folder: Path) -> str | None:
    if entry.password_env is not None:
        if entry.password_env not in os.environ:
            raise SetupError(f"people.{entry.username}: the variable {entry.password_env} is not set.")
        return os.environ[entry.password_env]
    if entry.password_file is None:
        return None
    try:
        return (folder / entry.password_file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SetupError(f"people.{entry.username}: {error}") from None


def _host(entry: HostEntry) -> list[str]:
    organisation = _named(entry.organisation, f"hosts.{entry.name}")
    try:
        card = HostCard.parse(entry.card)
    except ValueError as error:
        raise SetupError(f"hosts.{entry.name}: {error}") from None
    facts = {
        "organisation": organisation,
        "signing_key": card.signing,
        "sealing_key": card.sealing,
        "is_reference": entry.reference,
        "is_dealer": entry.dealer,
    }
    if OwnerHost.objects.filter(signing_key=card.signing).exclude(name=entry.name).exists():
        raise SetupError(
            f"hosts.{entry.name}: another host has this card. Every host makes a card of its own."
        )
    host, made = OwnerHost.objects.get_or_create(name=entry.name, defaults=facts)
    if made:
        return [f"Made owner host {entry.name} ({host.fingerprint})."]
    if all(getattr(host, name) == value for name, value in facts.items()):
        return []
    for name, value in facts.items():
        setattr(host, name, value)
    host.save()
    return [f"Changed owner host {entry.name} ({host.fingerprint})."]


def _named(name: str, subject: str) -> Organisation:
    found: Organisation | None = Organisation.objects.filter(name=name).first()
    if found is None:
        raise SetupError(f"{subject}: there is no organisation {name}. Add it under [[organisations]].")
    return found
