"""Sam's runs over the data of Olga and Paul."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from fedcore.coordinator.governance import decisions, submissions
from fedcore.coordinator.governance.models import (
    AccessRequest,
    Dataset,
    Membership,
    Organisation,
    OwnerHost,
    Person,
    PersonKey,
    Role,
)
from fedcore.coordinator.runs import bell, ending
from fedcore.coordinator.runs.advance import advance
from fedcore.coordinator.runs.models import Run, RunOrder
from fedcore.coordinator.runs.training import train
from fedcore.coordinator.runs.validation import submit
from fedcore.wire import access as wire
from fedcore.wire.keys import SealingKey, SigningKey
from fedcore.wire.orders import Phase
from fedcore.wire.spec import (
    DatasetVersion,
    Pipeline,
    PluginChoice,
    Protocol,
    RunSpec,
    Training,
)
from tests.coordinator.runs.scripted_host import COLUMNS, PEER_SEALING_KEYS, ScriptedHost


@dataclass
class World:
    """The people, the hosts, and how Sam writes a spec."""

    sam: Person
    sam_key: SigningKey
    eve: Person
    owners: dict[str, Person]
    north: ScriptedHost
    south: ScriptedHost
    lab: ScriptedHost
    deal: ScriptedHost
    rung: list[tuple[str, str]]
    requests: dict[str, AccessRequest] = field(default_factory=dict)

    @property
    def hosts(self) -> list[ScriptedHost]:
        return [self.north, self.south, self.lab, self.deal]

    @staticmethod
    def pipeline() -> Pipeline:
        return pipeline()

    @staticmethod
    def fitted_pipeline() -> Pipeline:
        return fitted_pipeline()

    def dataset(self, host: ScriptedHost) -> DatasetVersion:
        row = Dataset.objects.get(host=host.row)
        return DatasetVersion(host=host.key.public, name=row.name, version=row.current_version)

    def ask(self, host: ScriptedHost, **changes: Any) -> AccessRequest:
        """Sam's request for the dataset of a host, waiting."""
        facts: dict[str, Any] = {
            "dataset": self.dataset(host),
            "purpose": "security-research",
            "organisation": "university",
            "pipelines": (pipeline(), fitted_pipeline()),
            "protocols": tuple(Protocol),
            "backends": ("keyed_tokens", "plaintext", "secret_sharing"),
            "models": ("linear", "mlp"),
            "releases": 5,
            "download": True,
            "expires_at": int(time.time()) + 86400,
            "nonce": secrets.token_hex(16),
        }
        signed = wire.AccessRequest.model_validate({**facts, **changes}).signed_by(self.sam_key)
        return submissions.submit_request(signed, self.sam)[0]

    def grant(
        self, host: ScriptedHost, limits: decisions.Limits | None = None, **changes: Any
    ) -> AccessRequest:
        """Sam's request, approved by the host's owner, and in force at the host."""
        request = self.ask(host, **changes)
        decisions.approve(request, self.owners[host.row.name], limits)
        assert host.stand(request.pk).status_code == 200
        return request

    def spec(self, protocol: Protocol = Protocol.POOLED, **changes: Any) -> RunSpec:
        for host in (self.north, self.south):
            if host.row.name not in self.requests:
                self.requests[host.row.name] = self.grant(host)
        backends = {Protocol.POOLED: "keyed_tokens", Protocol.SHARED: "secret_sharing"}
        backend = backends.get(protocol, "plaintext")
        is_shared = protocol is Protocol.SHARED
        optimiser = PluginChoice(
            name="sgd" if is_shared else "adam", options={"lr": 0.5 if is_shared else 0.05}
        )
        facts: dict[str, Any] = {
            "title": "Detector",
            "purpose": "security-research",
            "datasets": (self.dataset(self.north), self.dataset(self.south)),
            "pipeline": pipeline(),
            "protocol": protocol,
            "backend": PluginChoice(name=backend),
            "model": PluginChoice(name="linear"),
            "training": Training(epochs=3, batch_size=16, optimiser=optimiser),
            "reference_host": self.lab.key.public if protocol is Protocol.REFERENCE else None,
            "dealer": self.deal.key.public if is_shared else None,
            "grants": (self.requests["north"].pk, self.requests["south"].pk),
            "submitted_at": int(time.time()),
            "deadline": int(time.time()) + 3600,
            "nonce": secrets.token_hex(16),
        }
        return RunSpec.model_validate({**facts, **changes})

    def submit(self, protocol: Protocol = Protocol.POOLED, **changes: Any) -> Run:
        return submit(self.sam, self.spec(protocol, **changes).signed_by(self.sam_key))[0]

    def drive(self, run: Run, until: Callable[[Run], bool] = lambda run: run.ended, rounds: int = 40) -> Run:
        """Let everybody work until the run has ended, or is where the test wants it."""
        for _ in range(rounds):
            advance(run.pk)
            run.refresh_from_db()
            if run.ended:
                ending.close_hosts(run.pk)  # In the tests' transaction nothing is ever committed.
            if until(run):
                return Run.objects.get(pk=run.pk)
            train(run.pk)
            for host in self.hosts:
                host.work()
        raise AssertionError(f"{run.state}: {run.message}")

    @staticmethod
    def open_orders(run: Run) -> list[tuple[str, str]]:
        """(phase, host) of the orders without an answer."""
        rows = RunOrder.objects.filter(run=run, status="").select_related("host")
        return sorted((row.phase, row.host.name) for row in rows)

    def at(self, run: Run, phase: Phase) -> Run:
        """Drive the run to where the orders of `phase` are out."""
        return self.drive(run, lambda run: run.phase == phase or run.ended)


def pipeline() -> Pipeline:
    names = ("lower", "words", "protect")
    steps = [
        PluginChoice(name="fields", options={"names": ["request"]}),
        *(PluginChoice(name=n) for n in names),
    ]
    return Pipeline(steps=(*steps, PluginChoice(name="hash_columns", options={"columns": COLUMNS})))


def fitted_pipeline() -> Pipeline:
    steps = pipeline().steps[:-1]
    return Pipeline(steps=(*steps, PluginChoice(name="joint_vocabulary"), PluginChoice(name="bag_of_words")))


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The bells that were rung: (task, run); no broker is needed."""
    found: list[tuple[str, str]] = []

    class App:
        def send_task(self, task: str, kwargs: dict[str, str], **options: Any) -> None:
            found.append((task, kwargs["run_id"]))

    monkeypatch.setattr(bell, "current_app", App())
    return found


@pytest.fixture
def world(db: None, rung: list[tuple[str, str]]) -> World:
    names = ("north-hospital", "south-bank", "university", "institute", "cloud-house", "card-house")
    organisations = {name: Organisation.objects.create(name=name, title=name.title()) for name in names}
    sam = _person("sam", organisations["university"], Role.DATA_SCIENTIST)
    sam_key = SigningKey.generate()
    PersonKey.objects.create(person=sam, public_key=sam_key.public)
    return World(
        sam=sam,
        sam_key=sam_key,
        eve=_person("eve", organisations["institute"], Role.DATA_SCIENTIST),
        owners={
            "north": _person("olga", organisations["north-hospital"], Role.DATA_OWNER),
            "south": _person("paul", organisations["south-bank"], Role.DATA_OWNER),
        },
        north=_host("north", organisations["north-hospital"], 1),
        south=_host("south", organisations["south-bank"], 2),
        lab=_host("lab", organisations["institute"], 3, is_reference=True),
        deal=_host("deal", organisations["card-house"], 4, is_dealer=True),
        rung=rung,
    )


@pytest.fixture
def pooled(world: World) -> Run:
    """A pooled run that was just submitted."""
    return world.submit()


def _person(name: str, organisation: Organisation, role: Role) -> Person:
    person = Person.objects.create_user(name, password="correct horse battery", organisation=organisation)
    Membership.objects.create(person=person, role=role)
    return person


def _host(name: str, organisation: Organisation, seed: int, **facts: Any) -> ScriptedHost:
    key, sealing = SigningKey.generate(), SealingKey.generate()
    row = OwnerHost.objects.create(
        name=name, organisation=organisation, signing_key=key.public, sealing_key=sealing.public, **facts
    )
    PEER_SEALING_KEYS[key.public] = sealing.public
    if not (row.is_reference or row.is_dealer):
        Dataset.objects.create(
            host=row,
            name=f"access-{name}",
            title="Requests",
            reader="labelled_lines",
            columns=["request"],
            classes=["benign", "attack"],
            rows=1000,
            current_version=hashlib.sha256(name.encode()).hexdigest(),
            announced_at=timezone.now() - timedelta(minutes=1),
        )
    return ScriptedHost(row, key, sealing, seed)
