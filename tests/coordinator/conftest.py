"""The cast: Olga owns the data, Sam asks for it, Eve has nothing, Ada runs the coordinator."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from fedcore.coordinator.governance import submissions
from fedcore.coordinator.governance.audit import triggers
from fedcore.coordinator.governance.models import (
    AccessRequest,
    ApiToken,
    Dataset,
    Membership,
    Organisation,
    OwnerHost,
    Person,
    Role,
)
from fedcore.wire import access as wire
from fedcore.wire.keys import SealingKey, SigningKey
from fedcore.wire.spec import DatasetVersion, Pipeline, PluginChoice, Protocol

VERSION = "ab" * 32
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _quick_and_apart(settings: Any, tmp_path: Path) -> None:
    """A data directory of the test's own, a password hash that costs nothing, and nothing counted for a throttle."""
    cache.clear()
    settings.FEDCORE_DATA_DIR = tmp_path
    settings.FEDCORE_OPERATOR_ORGANISATION = "cloud-house"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _audit_is_emptied(request: pytest.FixtureRequest) -> Iterator[None]:
    """The database refuses to empty the audit, also for the next test: its triggers go, and migrations' end puts
    them back."""
    marker = request.node.get_closest_marker("django_db")
    is_marked = marker is not None and marker.kwargs.get("transaction")
    if not is_marked and "transactional_db" not in request.fixturenames:
        yield
        return
    request.getfixturevalue("transactional_db")
    yield
    drop_triggers()


def drop_triggers() -> None:
    table = f" ON {triggers.TABLE}" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        for name in triggers.names(connection.vendor):
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}{table}")


@dataclass(frozen=True)
class Cast:
    """People, keys, hosts and one dataset of Olga's organisation."""

    olga: Person
    paul: Person
    sam: Person
    eve: Person
    ada: Person
    anna: Person
    nobody: Person
    sam_key: SigningKey
    eve_key: SigningKey
    north_key: SigningKey
    north: OwnerHost
    south: OwnerHost
    dataset: Dataset

    def __getitem__(self, name: str) -> Person:
        person: Person = getattr(self, name)
        return person


@pytest.fixture
def cast(db: None) -> Cast:
    hospital, bank, university, institute, operator = (
        Organisation.objects.create(name=name, title=name.title())
        for name in ("north-hospital", "south-bank", "university", "institute", "cloud-house")
    )
    north_key = SigningKey.generate()
    north = _host("north", hospital, north_key)
    people = {
        "olga": _person("olga", hospital, Role.DATA_OWNER),
        "paul": _person("paul", bank, Role.DATA_OWNER, Role.ADMINISTRATOR),
        "sam": _person("sam", university, Role.DATA_SCIENTIST),
        "eve": _person("eve", institute, Role.DATA_SCIENTIST),
        "ada": _person("ada", operator, Role.ADMINISTRATOR),
        "anna": _person("anna", hospital, Role.AUDITOR),
        "nobody": _person("nobody", institute),
    }
    return Cast(
        **people,
        sam_key=register(people["sam"]),
        eve_key=register(people["eve"]),
        north_key=north_key,
        north=north,
        south=_host("south", bank, SigningKey.generate()),
        dataset=Dataset.objects.create(
            host=north,
            name="access-2026",
            title="Requests of 2026",
            reader="labelled_lines",
            columns=["request"],
            classes=["benign", "attack"],
            rows=62000,
            current_version=VERSION,
            announced_at=timezone.now(),
        ),
    )


@pytest.fixture
def api() -> Callable[[Person | None], APIClient]:
    """A client of the REST API with a person's token, or without one."""

    def client_of(person: Person | None) -> APIClient:
        client = APIClient()
        if person is not None:
            client.credentials(HTTP_AUTHORIZATION=f"Token {ApiToken.objects.create(user=person)[1]}")
        return client

    return client_of


@pytest.fixture
def browser() -> Callable[..., Client]:
    """A browser in which a person is logged in to the admin; it sends no CSRF token by itself."""

    def browser_of(person: Person, **options: Any) -> Client:
        client = Client(**options)
        client.force_login(person)
        return client

    return browser_of


@pytest.fixture
def message(cast: Cast) -> Callable[..., wire.AccessRequest]:
    """An access request for Olga's dataset, with whatever a test changes in it."""

    def message_with(**changes: Any) -> wire.AccessRequest:
        steps = [
            PluginChoice(name="fields", options={"names": ["request"]}),
            *(PluginChoice(name=name) for name in ("lower", "char_ngrams", "protect")),
            PluginChoice(name="hash_columns", options={"columns": 64}),
        ]
        facts: dict[str, Any] = {
            "dataset": DatasetVersion(host=cast.north.signing_key, name="access-2026", version=VERSION),
            "purpose": "security-research",
            "reason": "One detector for all.",
            "organisation": "university",
            "pipelines": (Pipeline(steps=tuple(steps)),),
            "protocols": (Protocol.POOLED,),
            "backends": ("keyed_tokens",),
            "models": ("linear",),
            "releases": 5,
            "download": True,
            "expires_at": int(timezone.now().timestamp()) + 86_400,
            "nonce": secrets.token_hex(16),
        }
        return wire.AccessRequest(**facts | changes)

    return message_with


@pytest.fixture
def asked(cast: Cast, message: Callable[..., wire.AccessRequest]) -> AccessRequest:
    """Sam's request, waiting for Olga."""
    return submissions.submit_request(message().signed_by(cast.sam_key), cast.sam)[0]


@pytest.fixture
def wide(cast: Cast, message: Callable[..., wire.AccessRequest]) -> AccessRequest:
    """A request of Sam's that leaves something to narrow in every limit."""
    asked = message(
        protocols=(Protocol.LOCAL, Protocol.POOLED),
        backends=("keyed_tokens", "plaintext"),
        models=("linear", "mlp"),
        minimum_owners=2,
    )
    return submissions.submit_request(asked.signed_by(cast.sam_key), cast.sam)[0]


def add_owner(cast: Cast, username: str) -> Person:
    """Another data owner of Olga's organisation."""
    return _person(username, cast.north.organisation, Role.DATA_OWNER)


def register(person: Person) -> SigningKey:
    key = SigningKey.generate()
    submissions.register_key(person, key.public, proof(key, person.username))
    return key


def proof(key: SigningKey, username: str) -> str:
    return base64.b64encode(key.sign(submissions.KEY_PROOF + username.encode())).decode()


def _person(username: str, organisation: Organisation, *roles: Role) -> Person:
    person = Person.objects.create_user(username, password=PASSWORD, organisation=organisation)
    Membership.objects.bulk_create(Membership(person=person, role=role) for role in roles)
    return person


def _host(name: str, organisation: Organisation, key: SigningKey) -> OwnerHost:
    sealing = SealingKey.generate().public
    return OwnerHost.objects.create(
        name=name, organisation=organisation, signing_key=key.public, sealing_key=sealing
    )
