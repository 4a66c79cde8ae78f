"""The rows that the matrix asks for, made once: people of every role, requests in every state, and three runs."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from axes.models import AccessAttempt
from django.utils import timezone

from fedcore.coordinator.governance import decisions, invitations, submissions
from fedcore.coordinator.governance.models import (
    AccessRequest,
    ApiToken,
    AuditEntry,
    Dataset,
    DatasetVersion,
    DryRun,
    Membership,
    MockSample,
    Notice,
    Organisation,
    OwnerHost,
    Person,
    PersonKey,
    Role,
)
from fedcore.coordinator.governance.second_factor import SecondFactor
from fedcore.coordinator.runs.advance import advance
from fedcore.coordinator.runs.models import Run, RunDataset, RunEvent, RunOrder
from fedcore.coordinator.runs.validation import submit
from fedcore.wire import access as wire
from fedcore.wire import catalogue as wire_catalogue
from fedcore.wire import spec as wire_spec
from fedcore.wire.keys import SealingKey, SigningKey
from fedcore.wire.orders import Phase
from fedcore.wire.spec import Protocol, RunSpec
from tests.coordinator.permissions.things import MISSING, SEEN
from tests.coordinator.permissions.who import EVERY_PERSON, PEOPLE
from tests.coordinator.runs.conftest import World as WorldOfRuns
from tests.coordinator.runs.scripted_host import PEER_SEALING_KEYS, ScriptedHost

UPLOADED: Final = b"x" * 100
"""What north uploads for its order to prepare; half of it is there."""
PASSWORD: Final = "correct horse battery"


def mock_sample(name: str) -> bytes:
    """Made-up rows of the schema that all datasets here have."""
    sample = wire_catalogue.MockSample(
        columns={"request": (f"/{name}", "/b")}, classes=("benign", "attack"), labels=(0, 1)
    )
    return sample.encode().encode()


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


MISSING_KEYS: Final[dict[str, str]] = {
    **dict.fromkeys(("requests", "grants", "runs"), "0" * 64),
    **dict.fromkeys(("orders", "dry runs"), "0" * 32),
    "mocks": digest_of(mock_sample(MISSING)),
    "tokens": "0" * 16,
    "applications": "nothing",
    "nothing": "nothing",
}
"""A key of the right form that no row has; rows of the other kinds are numbered."""


class Federation(WorldOfRuns):
    """Sam's runs, where the owners have withdrawn datasets too."""

    def dataset(self, host: ScriptedHost) -> wire_spec.DatasetVersion:
        row = Dataset.objects.get(host=host.row, name__startswith="canary-", is_offered=True)
        return wire_spec.DatasetVersion(host=host.key.public, name=row.name, version=row.current_version)


@dataclass(frozen=True)
class Thing:
    """One row: its key in addresses, and the word that nobody reads who may not see it."""

    kind: str
    name: str
    key: str
    word: str = ""

    @property
    def is_missing(self) -> bool:
        return self.name == MISSING


@dataclass
class World:
    """All that the matrix knows about who exists."""

    people: dict[str, Person] = field(default_factory=dict)
    keys: dict[str, SigningKey] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    hosts: dict[str, ScriptedHost] = field(default_factory=dict)
    things: dict[str, dict[str, Thing]] = field(default_factory=dict)
    federation: Any = None
    digest: str = ""
    """The artefact that north has begun to upload, and the model that it may fetch."""
    model: str = ""
    names: dict[str, dict[str, str]] = field(default_factory=dict)
    """How datasets are named in addresses."""
    place_of_spare: str = ""
    """Who is invited, as the link says it."""
    mocks: dict[str, bytes] = field(default_factory=dict)
    """Mock samples that hosts have announced and not sent, by digest."""

    def add(self, kind: str, name: str, key: object, word: str = "") -> None:
        self.things.setdefault(kind, {})[name] = Thing(kind, name, str(key), word)

    def of(self, kind: str) -> list[Thing]:
        """Every row of this kind, and one that does not exist."""
        gone = Thing(kind, MISSING, MISSING_KEYS.get(kind, "987654"))
        return [*self.things.get(kind, {}).values(), gone]


def make_world() -> World:
    """Everything. Call it inside a transaction that is rolled back."""
    world = World()
    _make_people(world)
    _make_hosts(world)
    _make_requests(world)
    _make_runs(world)
    _make_notices_and_dry_runs(world)
    _make_what_administrators_and_auditors_see(world)
    for label in SEEN["applications"]:
        world.add("applications", label, label)
    # When a host was here is noted every time, and when a token was used never: no answer depends on the time of day.
    OwnerHost.objects.update(last_contact=None)
    ApiToken.objects.update(last_used_at=timezone.now() + timedelta(days=1))
    for kind, named in SEEN.items():
        assert set(named) == set(world.things.get(kind, {})), f"the rows and the table of {kind} differ"
    return world


def word_of(*parts: str) -> str:
    return "canary-" + "-".join(parts).replace(" ", "-")


def _make_people(world: World) -> None:
    for name, staff in PEOPLE.items():
        organisation = Organisation.objects.create(name=name, title=name.title())
        for username, roles in staff.items():
            world.people[username] = _person(username, organisation, *roles)
    hospital = Organisation.objects.get(name="north-hospital")
    world.people["ivan"] = _person("ivan", hospital, Role.DATA_OWNER, Role.ADMINISTRATOR)
    world.people["nora"] = _person("nora", None, *Role)
    world.people["root"] = Person.objects.create_superuser(
        "root", email=f"{word_of('root')}@example.org", password=PASSWORD, organisation=hospital
    )
    for username, person in world.people.items():
        world.keys[username] = _register(person)
        world.tokens[username] = ApiToken.objects.create(user=person)[1]
    assert set(world.people) == EVERY_PERSON
    Person.objects.filter(username="ivan").update(is_active=False)
    Organisation.objects.create(name="spare", title="Spare")
    for name in SEEN["organisations"]:
        world.add("organisations", name, Organisation.objects.get(name=name).pk)
    spare = _person("spare", hospital)
    ApiToken.objects.create(user=spare)
    SecondFactor.objects.create(user=spare, name="app", salt="0" * 64)
    place, token = invitations.path_for(spare).strip("/").split("/")[-2:]
    world.add("invitations", "spares", token)
    world.place_of_spare = place
    for username in SEEN["people"]:
        world.add("people", username, Person.objects.get(username=username).pk, word_of(username))
    for name in SEEN["keys"]:
        key = PersonKey.objects.get(person__username=name.removesuffix("s"))
        world.add("keys", name, key.pk)


def _make_hosts(world: World) -> None:
    owners = {
        "north": "north-hospital",
        "south": "south-bank",
        "lab": "institute",
        "closed": "north-hospital",
    }
    for seed, (name, owner) in enumerate(owners.items()):
        world.hosts[name] = _host(
            name, Organisation.objects.get(name=owner), seed, is_reference=name == "lab"
        )
        world.add("hosts", name, world.hosts[name].row.pk, f"canary-{name}" if name == "closed" else "")
    closed = world.hosts["closed"].row
    OwnerHost.objects.filter(pk=closed.pk).update(is_active=False, name="canary-closed")
    closed.refresh_from_db()
    spare = _host("spare", Organisation.objects.get(name="south-bank"), 9)
    world.add("hosts", "spare", spare.row.pk)
    sealing = SealingKey.generate()
    world.hosts["stranger"] = ScriptedHost(closed, SigningKey.generate(), sealing, 0)
    for host, name, offered in (
        ("north", "north", True),
        ("south", "south", True),
        ("north", "withdrawn", False),
        ("closed", "of closed", True),
    ):
        word = f"canary-{name}".replace(" ", "-")
        dataset = Dataset.objects.create(
            host=world.hosts[host].row,
            name=word,
            title="Requests",
            description=word_of("description", name),
            reader="labelled_lines",
            columns=["request"],
            classes=["benign", "attack"],
            rows=1000,
            current_version=secrets.token_hex(32),
            announced_at=timezone.now(),
            is_offered=offered,
        )
        _make_versions(world, name, host, dataset)
        world.add("datasets", name, dataset.pk, word)


def _make_versions(world: World, name: str, host: str, dataset: Dataset) -> None:
    """The version that is offered, with a mock sample that is here, and for two hosts one that is not."""
    sample = mock_sample(name)
    version = {"first_announced": dataset.announced_at, "last_announced": dataset.announced_at}
    MockSample.objects.create(digest=digest_of(sample), content=sample)
    DatasetVersion.objects.create(
        dataset=dataset, digest=dataset.current_version, rows=1000, mock_digest=digest_of(sample), **version
    )
    world.names[name] = {"host": world.hosts[host].row.name, "name": dataset.name}
    if name in ("north", "south"):
        wanted = mock_sample(f"{name} wanted")
        version |= {"digest": secrets.token_hex(32), "mock_digest": digest_of(wanted)}
        other = Dataset.objects.get(pk=dataset.pk)
        other.pk, other.name, other.current_version = None, f"more-{name}", version["digest"]
        other.save()
        DatasetVersion.objects.create(dataset=other, rows=1000, **version)
        world.add("mocks", f"{name}s", digest_of(wanted))
        world.mocks[digest_of(wanted)] = wanted


def _make_requests(world: World) -> None:
    people, north, south = world.people, world.hosts["north"], world.hosts["south"]
    world.federation = Federation(
        sam=people["sam"],
        sam_key=world.keys["sam"],
        eve=people["eve"],
        owners={"north": people["olga"], "south": people["paul"]},
        north=north,
        south=south,
        lab=world.hosts["lab"],
        deal=world.hosts["lab"],
        rung=[],
    )
    elsewhere = {"elsewhere": south, "eves": south}
    asks = {"eves": "eve", "doras": "dora"}
    for name in SEEN["requests"]:
        if name == "renewal":
            continue
        asked = _ask(world, asks.get(name, "sam"), elsewhere.get(name, north), word_of("request", name))
        world.add("requests", name, asked.pk, word_of("request", name))
        if name in ("granted", "revoked"):
            decisions.approve(asked, people["olga"])
        if name in elsewhere:
            decisions.approve(asked, people["paul"])
        if name in SEEN["grants"]:
            world.add("grants", name, asked.pk)
            assert elsewhere.get(name, north).stand(asked.pk).status_code == 200
        if name == "revoked":
            decisions.revoke(asked, people["olga"], "No longer.")
        if name == "refused":
            decisions.refuse(asked, people["olga"], "Not this.")
        if name == "asked back":
            decisions.ask(asked, people["olga"], "What for?")
    renewal = _renewal(world)
    world.add("requests", "renewal", renewal.pk, word_of("request", "renewal"))


def _renewal(world: World) -> AccessRequest:
    """Sam asks for the granted one again, for other releases."""
    old = AccessRequest.objects.get(pk=world.things["requests"]["granted"].key)
    asked = wire.AccessRequest.parse(old.text)
    anew = {"reason": word_of("request", "renewal"), "replaces": old.pk, "nonce": secrets.token_hex(16)}
    message = asked.model_copy(update=anew | {"releases": 3})
    return submissions.submit_request(message.signed_by(world.keys["sam"]), world.people["sam"])[0]


def _ask(world: World, username: str, host: ScriptedHost, reason: str) -> AccessRequest:
    person = world.people[username]
    assert person.organisation is not None
    message = access_request(world, username, host, reason=reason)
    return submissions.submit_request(message.signed_by(world.keys[username]), person)[0]


def access_request(world: World, username: str, host: ScriptedHost, **changes: Any) -> Any:
    """A request for a host's dataset in somebody's name; someone without an organisation says Sam's."""
    organisation = world.people[username].organisation
    facts: dict[str, Any] = {
        "dataset": world.federation.dataset(host),
        "purpose": "security-research",
        "organisation": organisation.name if organisation else "university",
        "pipelines": (Federation.pipeline(),),
        "protocols": tuple(Protocol),
        "backends": ("keyed_tokens", "plaintext"),
        "models": ("linear",),
        "releases": 5,
        "download": True,
        "expires_at": int(time.time()) + 86_400,
        "nonce": secrets.token_hex(16),
    }
    return wire.AccessRequest(**facts | changes)


def run_spec(world: World, title: str = "Detector", **changes: Any) -> RunSpec:
    """A pooled run over both owners' data, under Sam's grants."""
    requests = world.things["requests"]
    grants = (requests["granted"].key, requests["elsewhere"].key)
    world.federation.requests = {
        "north": AccessRequest.objects.get(pk=grants[0]),
        "south": AccessRequest.objects.get(pk=grants[1]),
    }
    spec: RunSpec = world.federation.spec(title=title, **changes)
    return spec


def _make_runs(world: World) -> None:
    finished = _submit(world, word_of("run", "finished"))
    assert world.federation.drive(finished).state == "finished"
    evaluated = _submit(world, word_of("run", "evaluated"))
    world.federation.at(evaluated, Phase.EVALUATE)
    running = _submit(world, word_of("run", "running"))
    _bring_to_prepare(world, running)
    for name, run in (("finished", finished), ("running", running), ("evaluated", evaluated)):
        world.add("runs", name, run.pk, word_of("run", name))
    for host in ("north", "south"):
        order = RunOrder.objects.get(run=running, host__name=host, phase=Phase.PREPARE)
        world.add("orders", f"{host}s", order.pk)
    order = RunOrder.objects.get(run=evaluated, host__name="north", phase=Phase.EVALUATE)
    world.add("orders", "to evaluate", order.pk)
    world.model = evaluated.artefacts.get(order=None, role="model").digest
    world.digest = hashlib.sha256(UPLOADED).hexdigest()
    norths = world.things["orders"]["norths"].key
    taken = world.hosts["north"].upload_chunk(norths, world.digest, 0, len(UPLOADED), UPLOADED[:50])
    assert taken.status_code == 204
    eves = _eves_run(world)
    world.add("runs", "eves", eves.pk, word_of("run", "eves"))


def _bring_to_prepare(world: World, run: Run) -> None:
    """The hosts agree on the run's key, and leave the orders of other runs alone."""
    before = (Phase.CHECK, Phase.OFFER, Phase.SHARE, Phase.CONFIRM)
    for _ in range(len(before) + 1):
        advance(run.pk)
        for host in ("north", "south"):
            world.hosts[host].work(before)


def _submit(world: World, title: str) -> Run:
    return submit(world.people["sam"], run_spec(world, title).signed_by(world.keys["sam"]))[0]


def _eves_run(world: World) -> Run:
    """A run of Eve over South Bank's data alone, copied from Sam's finished one."""
    finished = Run.objects.get(pk=world.things["runs"]["finished"].key)
    spec = run_spec(world, title=word_of("run", "eves"))
    signed = spec.signed_by(world.keys["eve"])
    request = AccessRequest.objects.get(pk=world.things["requests"]["eves"].key)
    copy = Run.objects.get(pk=finished.pk)
    copy.pk, copy.title, copy.scientist = signed.digest, spec.title, world.people["eve"]
    copy.envelope = signed.encode()
    copy.report = json.loads(json.dumps(copy.report).replace(word_of("run", "finished"), spec.title))
    copy.save(force_insert=True)
    dataset = finished.datasets.get(host__name="south")
    RunDataset.objects.create(
        run=copy, position=0, host=dataset.host, name=dataset.name, version=dataset.version, request=request
    )
    RunEvent.objects.create(run=copy, state="finished", text="The run has finished.")
    return copy


def _make_notices_and_dry_runs(world: World) -> None:
    """A notice for everybody, and dry runs of requests and of a plan that Eve has."""
    Notice.objects.all().delete()
    for username, person in world.people.items():
        subject = world.things["requests"]["waiting"].key
        word = word_of("notice", username)
        notice = Notice.objects.create(person=person, about="decision", subject=subject, text=word)
        if f"{username}s" in SEEN["notices"]:
            world.add("notices", f"{username}s", notice.pk, word)
    DryRun.objects.update(state="done")
    for name in ("waiting", "eves"):
        tried = DryRun.objects.get(request=world.things["requests"][name].key)
        world.add("dry runs", f"of {name}", tried.pk)
    plan = DryRun.objects.create(asked_by=world.people["eve"], subject={}, state="done")
    world.add("dry runs", "of a plan", plan.pk)


def _make_what_administrators_and_auditors_see(world: World) -> None:
    """Sam's failed login, his token, and what the audit has of two decisions."""
    known = {"username": "sam", "ip_address": "192.0.2.1", "user_agent": "", "path_info": "/admin/login/"}
    attempt = AccessAttempt.objects.create(failures_since_start=1, attempt_time=timezone.now(), **known)
    world.add("lockouts", "sams", attempt.pk)
    token = ApiToken.objects.get(user=world.people["sam"])
    world.add("tokens", "sams", token.name)
    for name, request in (("of olgas approval", "granted"), ("of pauls approval", "eves")):
        entry = AuditEntry.objects.get(
            action="approve_request", thing_id=world.things["requests"][request].key
        )
        world.add("entries", name, entry.pk)


def _person(username: str, organisation: Organisation | None, *roles: Role) -> Person:
    person = Person.objects.create_user(
        username, email=f"{word_of(username)}@example.org", password=PASSWORD, organisation=organisation
    )
    Membership.objects.bulk_create(Membership(person=person, role=role) for role in roles)
    return person


def _register(person: Person) -> SigningKey:
    key = SigningKey.generate()
    PersonKey.objects.create(person=person, public_key=key.public)
    return key


def _host(name: str, organisation: Organisation, seed: int, **facts: Any) -> ScriptedHost:
    key, sealing = SigningKey.generate(), SealingKey.generate()
    row = OwnerHost.objects.create(
        name=name, organisation=organisation, signing_key=key.public, sealing_key=sealing.public, **facts
    )
    PEER_SEALING_KEYS[key.public] = sealing.public
    return ScriptedHost(row, key, sealing, seed)
