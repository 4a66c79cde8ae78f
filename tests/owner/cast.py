"""The cast of the owner's tests: owners with homes, keys and logs of their own, Sam who trains, and a coordinator."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedcore.owner.agent import Agent
from fedcore.owner.config import Config
from fedcore.owner.coordinator_api import CoordinatorApi
from fedcore.owner.datasets import Datasets
from fedcore.owner.home import Home
from fedcore.owner.installed import allowed_registry
from fedcore.owner.shards import Bell
from fedcore.owner.tasks import InlineBell
from fedcore.plugin_api.models import LabelledRows
from fedcore.plugin_api.pipeline import BuiltPipeline, pins_of
from fedcore.plugin_api.registry import Registry
from fedcore.plugin_api.serialise import StoredModel, pack_model, unpack_features
from fedcore.wire.access import AccessRequest, Grant
from fedcore.wire.keys import SigningKey
from fedcore.wire.orders import ArtefactRef, Phase
from fedcore.wire.reports import Report
from fedcore.wire.signing import Signed
from fedcore.wire.spec import (
    DatasetVersion,
    Pipeline,
    PluginChoice,
    Privacy,
    Protocol,
    RunSpec,
    Training,
)
from tests.owner.scripted import ScriptedCoordinator

HASHED = Pipeline(
    steps=(
        PluginChoice(name="fields", options={"names": ["request"]}),
        PluginChoice(name="url_decode"),
        PluginChoice(name="lower"),
        PluginChoice(name="words"),
        PluginChoice(name="protect"),
        PluginChoice(name="hash_columns", options={"columns": 256}),
    )
)
RANKED = Pipeline(
    steps=(
        PluginChoice(name="fields", options={"names": ["request"]}),
        PluginChoice(name="words"),
        PluginChoice(name="protect"),
        PluginChoice(name="joint_vocabulary", options={"minimum_count": 2}),
        PluginChoice(name="bag_of_words"),
    )
)
FITTED_AT = 3
KEYED = PluginChoice(name="keyed_tokens")
PLAIN = PluginChoice(name="plaintext")
SHARING = PluginChoice(name="secret_sharing")
ON_SHARES = Training(
    optimiser=PluginChoice(name="sgd", options={"lr": 2.0, "momentum": 0.5}), epochs=3, batch_size=64
)
"""A training that can be done on shares."""
LINEAR = PluginChoice(name="linear")


CEILINGS = """
[datasets.logs.ceilings]
purposes = ["security-research"]
protocols = ["local", "reference", "pooled", "shared"]
backends = ["plaintext", "keyed_tokens", "secret_sharing", "their_tokens"]
models = ["linear", "mlp", "logistic_regression"]
releases = 5
days = 2
epsilon = "none"
minimum_owners = 1
download = true
"""
"""Whatever the dataset's own settings allow takes effect at once."""


def ceilings_like(settings: Mapping[str, str]) -> str:
    """The ceilings that allow at once whatever these settings of the dataset allow."""
    text = CEILINGS
    for name in ("backends", "models"):
        if name in settings:
            text = re.sub(rf"^{name} = .*$", f"{name} = {settings[name]}", text, flags=re.MULTILINE)
    return text


def benign_lines(rows: int, seed: int) -> str:
    rng = random.Random(seed)
    pages = ("index", "cart", "search", "help", "news", "login", "item", "about")
    names = ("alpha", "beta", "gamma", "delta", "omega", "sigma")
    return "".join(
        f"/{rng.choice(pages)}/{rng.choice(names)}{rng.choice('abcdefghij')}?q={rng.choice(names)}{rng.choice(names)}"
        f"&v={rng.choice('klmnopqrst')}{rng.choice('uvwxyzabcd')}\n"
        for _ in range(rows)
    )


def attack_lines(rows: int, seed: int) -> str:
    rng = random.Random(seed)
    tricks = ("union select", "<script>alert", "../../etc/passwd", "or 1=1 --", "cmd.exe /c dir", "sleep(5)")
    return "".join(
        f"/{rng.choice('abcdefghij')}{rng.choice('klmnop')}.php?id={rng.choice(tricks)} {rng.choice('qrstuvwxyz')}"
        f"{rng.choice('abcdefghij')}\n"
        for _ in range(rows)
    )


@dataclass
class Owner:
    """One owner host on this machine: Olga's, say."""

    name: str
    home: Home
    coordinator: ScriptedCoordinator
    extra: str = ""
    policy: Config = field(init=False)

    @property
    def key(self) -> str:
        return self.home.card.signing

    def agent(self, bell: Bell | None = None, **more: Any) -> Agent:
        api = CoordinatorApi(
            "http://127.0.0.1", self.home.signing_key, transport=self.coordinator.transport()
        )
        return Agent(self.home, api, bell or InlineBell(self.home), **more)

    def version(self) -> str:
        return (
            Datasets(self.home, self.policy, allowed_registry(self.policy, self.home.path))
            .look("logs")
            .version
        )


@dataclass
class Cast:
    """Everybody of one run. The referee is its reference host, or its dealer."""

    directory: Path
    coordinator: ScriptedCoordinator = field(default_factory=ScriptedCoordinator)
    sam: SigningKey = field(default_factory=SigningKey.generate)
    owners: list[Owner] = field(default_factory=list)
    referee: Owner | None = None
    url: str = "http://127.0.0.1:1"

    @property
    def registry(self) -> Registry:
        """The plugins as the first owner has them: third-party ones only as stand-ins."""
        owner = self.owners[0]
        return allowed_registry(owner.policy, owner.home.path)

    @property
    def everyone(self) -> list[Owner]:
        return [*self.owners, *([self.referee] if self.referee else [])]

    def settle_in(self, names: list[str], rows: int = 600, reference: bool = False, **settings: str) -> Cast:
        """Make the owners' homes, keys, logs and policies, each pinning the others."""
        for number, name in enumerate(names):
            owner = self._move_in(name)
            self.owners.append(owner)
            (owner.home.path / "good.txt").write_text(benign_lines(rows, seed=number))
            (owner.home.path / "bad.txt").write_text(attack_lines(rows // 2, seed=100 + number))
        if reference:
            self.referee = self._move_in("referee")
        for owner in self.everyone:
            owner.home.config_path.write_text(self._policy(owner, settings))
            owner.policy = owner.home.load_config()
        return self

    def _move_in(self, name: str) -> Owner:
        home = Home(self.directory / name)
        home.create()
        home.split_key  # noqa: B018  (made on first use)
        self.coordinator.hosts.add(home.card.signing)
        return Owner(name, home, self.coordinator)

    def _policy(self, owner: Owner, settings: dict[str, str]) -> str:
        peers = "".join(
            f'[[peers]]\nname = "{peer.name}"\ncard = "{peer.home.card}"\norganisation = "{peer.name}-org"\n'
            f"reference = {str(peer is self.referee).lower()}\ndealer = {str(peer is self.referee).lower()}\n"
            for peer in self.everyone
            if peer is not owner
        )
        offer = (
            f"""
[datasets.logs]
title = "Requests"
reader = "{settings.get("reader", "labelled_lines")}"
files = [{{path = "good.txt", label = "benign"}}, {{path = "bad.txt", label = "attack"}}]
purposes = ["security-research"]
protocols = ["local", "reference", "pooled", "shared"]
backends = {settings.get("backends", '["plaintext", "keyed_tokens", "secret_sharing"]')}
models = {settings.get("models", '["linear", "mlp"]')}
{settings.get("privacy", "")}
minimum_owners = 1
minimum_rows = {settings.get("minimum_rows", "50")}
releases = 5
download = true
retention = 2099-12-31
{settings.get("dataset", "")}
{settings.get("ceilings", ceilings_like(settings))}
"""
            if owner is not self.referee
            else "\n[reference]\nserves = true\n\n[dealer]\nserves = true\n"
        )
        return f"""
organisation = "{owner.name}-org"
[coordinator]
url = "{self.url}"
key = "{self.coordinator.key.public}"
organisation = "cloud-house"
[[scientists]]
name = "sam"
key = "{self.sam.public}"
organisation = "university"
{peers}
[[plugins]]
distribution = "fedcore"
{settings.get("plugins", "")}
{offer}
[worker]
processes = 2
seconds = {settings.get("seconds", "120")}
{settings.get("worker", "")}
"""

    def spec(
        self, protocol: Protocol, pipeline: Pipeline = HASHED, backend: PluginChoice = KEYED, **more: Any
    ) -> Plan:
        """A signed run spec over all owners, with the grants that it needs."""
        now = int(time.time())
        datasets = tuple(
            DatasetVersion(host=owner.key, name="logs", version=owner.version()) for owner in self.owners
        )
        releases, asked = more.pop("releases", 5), more.pop("asked", Privacy())
        requests = {
            dataset.host: self._request(dataset, pipeline, protocol, backend, now, releases, asked)
            for dataset in datasets
        }
        spec = RunSpec(
            title="Find attacks",
            purpose="security-research",
            datasets=datasets,
            pipeline=pipeline,
            protocol=protocol,
            backend=backend,
            model=more.pop("model", LINEAR),
            training=more.pop("training", _TRAININGS.get(protocol, Training(epochs=3, batch_size=32))),
            minimum_owners=1,
            reference_host=self.referee.key if protocol is Protocol.REFERENCE and self.referee else None,
            dealer=self.referee.key if protocol is Protocol.SHARED and self.referee else None,
            grants=tuple(request.digest for request in requests.values()),
            submitted_at=now,
            deadline=now + 3600,
            nonce=f"{random.getrandbits(128):032x}",
            **more,
        )
        grants = {
            host: Grant.of(request, expires_at=now + 3600, download=False)
            for host, request in requests.items()
        }
        return Plan(self, spec.signed_by(self.sam), spec, grants)

    def _request(
        self,
        dataset: DatasetVersion,
        pipeline: Pipeline,
        protocol: Protocol,
        backend: PluginChoice,
        now: int,
        releases: int,
        privacy: Privacy,
    ) -> Signed:
        return AccessRequest(
            dataset=dataset,
            purpose="security-research",
            organisation="university",
            pipelines=(pipeline,),
            protocols=(protocol,),
            backends=(backend.name,),
            models=("linear", "logistic_regression"),
            privacy=privacy,
            releases=releases,
            expires_at=now + 3600,
            nonce=f"{random.getrandbits(128):032x}",
        ).signed_by(self.sam)


_TRAININGS = {Protocol.SHARED: ON_SHARES}


@dataclass
class Plan:
    """One run, and the orders of its phases as the coordinator gives them."""

    cast: Cast
    signed: Signed
    spec: RunSpec
    grants: dict[str, Grant]

    @property
    def run(self) -> str:
        return self.signed.digest

    def again(self, **changes: Any) -> Plan:
        """Another run under the same grants."""
        spec = self.spec.model_copy(update={"nonce": f"{random.getrandbits(128):032x}", **changes})
        return Plan(self.cast, spec.signed_by(self.cast.sam), spec, self.grants)

    def order(self, phase: Phase, owner: Owner, **content: Any) -> Signed:
        """The order for one owner."""
        pins = pins_of(self.cast.registry, self.spec.pipeline, self.spec.backend, self.spec.model)
        content = {"grant": self.grants.get(owner.key), "pins": tuple(pins), **content}
        return self.cast.coordinator.order(self.signed, phase, owner.key, **content)

    def orders(self, phase: Phase, **content: Any) -> list[Signed]:
        """The orders for all owners."""
        return [self.order(phase, owner, **content) for owner in self.cast.owners]

    def said(self, phase: Phase, step: int = 0, round: int = 0) -> tuple[Signed, ...]:
        """The signed reports on this work, in the order of the owners."""
        return tuple(
            signed
            for owner in self.cast.owners
            for signed in self.cast.coordinator.reports.values()
            if signed.signer == owner.key
            and (report := signed.open(Report)).run == self.run
            and (report.phase, report.step, report.round) == (phase, step, round)
        )

    def pooled_rows(self) -> LabelledRows:
        """What the coordinator received, merged in the order of the owners."""
        from fedcore.owner.work import merged

        refs = [ref for signed in self.said(Phase.PREPARE) for ref in signed.open(Report).artefacts]
        return merged([unpack_features(self.cast.coordinator.artefacts[ref.digest], 2) for ref in refs])

    def pooled_model(self) -> ArtefactRef:
        """Train at the coordinator as it does, and put the model where hosts can fetch it."""
        rows = self.pooled_rows()
        return self.publish(self.trained(rows))

    def trained(self, rows: LabelledRows) -> bytes:
        from fedcore.owner.work import kind_and_size

        found: Any = self.cast.registry.get("models", "linear")
        model = found(self.spec.model.options)
        initial = model.initial(rows.features, 2, self.spec.training)
        outcome = model.train(initial, rows, 2, self.spec.training)
        kind, size = kind_and_size(rows.features)
        return pack_model(StoredModel(LINEAR, 2, kind, rows.features.columns, size, outcome.parameters))

    def publish(self, data: bytes) -> ArtefactRef:
        import hashlib

        digest = hashlib.sha256(data).hexdigest()
        self.cast.coordinator.artefacts[digest] = data
        return ArtefactRef(role="model", digest=digest, size=len(data))

    def built(self) -> BuiltPipeline:
        return BuiltPipeline(self.cast.registry, self.spec.pipeline, self.spec.backend)
