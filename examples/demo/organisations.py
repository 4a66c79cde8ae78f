"""The organisations of the demonstration, their people, and the directory that is each one's own."""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

CLOUD_HOUSE: Final = "cloud-house"
NORTH_HOSPITAL: Final = "north-hospital"
SOUTH_BANK: Final = "south-bank"
NOTARY: Final = "notary"
UNIVERSITY: Final = "university"
PURPOSE: Final = "security-research"


@dataclass(frozen=True)
class Person:
    """Somebody with an account at the coordinator. The password is made for this demonstration alone."""

    username: str
    first_name: str
    last_name: str
    organisation: str
    roles: tuple[str, ...]
    password: str = field(default_factory=lambda: secrets.token_urlsafe(15), repr=False)


@dataclass(frozen=True)
class Organisation:
    """An organisation: `name` on the wire, `title` for people, and its own directory, mode 0700."""

    name: str
    title: str
    directory: Path

    @property
    def home(self) -> Path:
        """Where the organisation's program keeps its keys and state."""
        return self.directory / "home"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def create(self) -> None:
        for directory in (self.directory, self.log):
            directory.mkdir(parents=True, mode=0o700)

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of the organisation's processes: nothing of the others, little of the user."""
        kept = {
            name: os.environ[name] for name in ("LANG", "LC_ALL", "TERM", "COLUMNS") if name in os.environ
        }
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        return kept | {"PATH": programs, "HOME": str(self.directory), "PYTHONUNBUFFERED": "1"} | more


@dataclass(frozen=True)
class Cast:
    """Everyone who takes part."""

    operator: Organisation
    owners: tuple[Organisation, Organisation]
    reference: Organisation
    university: Organisation
    people: tuple[Person, ...]

    @property
    def organisations(self) -> tuple[Organisation, ...]:
        return (self.operator, *self.owners, self.reference, self.university)

    @property
    def hosts(self) -> tuple[Organisation, ...]:
        """The organisations that run an owner host."""
        return (*self.owners, self.reference)

    def person(self, username: str) -> Person:
        return next(person for person in self.people if person.username == username)


def make_cast(root: Path) -> Cast:
    """The people and organisations, each with a fresh directory below `root`."""
    operator, north, south, notary, university = (
        Organisation(name, title, root / name)
        for name, title in (
            (CLOUD_HOUSE, "Cloud House"),
            (NORTH_HOSPITAL, "North Hospital"),
            (SOUTH_BANK, "South Bank"),
            (NOTARY, "The Notary"),
            (UNIVERSITY, "University"),
        )
    )
    people = (
        Person("clara", "Clara", "Cloud", CLOUD_HOUSE, ("administrator",)),
        Person("olga", "Olga", "Owner", NORTH_HOSPITAL, ("data_owner",)),
        Person("otto", "Otto", "Owner", SOUTH_BANK, ("data_owner",)),
        Person("sam", "Sam", "Scientist", UNIVERSITY, ("data_scientist",)),
        Person("ada", "Ada", "Auditor", NOTARY, ("auditor",)),
    )
    cast = Cast(operator, (north, south), notary, university, people)
    for organisation in cast.organisations:
        organisation.create()
    return cast


def as_toml(value: Any) -> str:
    """A value as TOML: JSON's strings, numbers, booleans and lists are TOML's, tables are written inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_toml(item) for item in value) + "]"
    return json.dumps(value)
