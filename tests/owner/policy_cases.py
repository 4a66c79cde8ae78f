"""A valid order of each kind, and ways to change one thing in it. Olga owns the data, Sam has the grant.

North (Olga's host) and south bring data, refer is the reference host, deal the dealer, and Eve is whoever was not
asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from fedcore.owner.config import Config, Dataset, parse_config
from fedcore.owner.facts import (
    BackendFacts,
    DatasetFacts,
    Done,
    Facts,
    GrantFacts,
    LedgerFacts,
    PluginFacts,
    Refused,
    Role,
    Ruling,
)
from fedcore.owner.limits import Limits
from fedcore.plugin_api.backends import BackendStatus, KeyHolders, Leak
from fedcore.wire.access import AccessRequest, Grant
from fedcore.wire.keys import HostCard, SealingKey, SigningKey
from fedcore.wire.orders import Order, Phase, PluginPin, order_id
from fedcore.wire.spec import DatasetVersion, Pipeline, PluginChoice, Privacy, Protocol, RunSpec

NOW = 1_800_000_000
LATER = NOW + 86_400
VERSION = "a" * 64

SAM, EVE = SigningKey.generate(), SigningKey.generate()
COORDINATOR = SigningKey.generate()
NORTH, SOUTH, REFEREE, DEALER, STRANGER = (SigningKey.generate() for _ in range(5))

WORDS = Pipeline(
    steps=tuple(PluginChoice(name=name) for name in ("fields", "words", "protect", "hash_columns"))
)
NGRAMS = Pipeline(
    steps=tuple(PluginChoice(name=name) for name in ("fields", "char_ngrams", "protect", "hash_columns"))
)
PINS = (PluginPin(group="models", name="linear", version="1", digest="b" * 64),)
KEYED_TOKENS = BackendFacts(
    renames_only=True,
    key_holders=KeyHolders.OWNERS,
    leakage=frozenset({Leak.SIZES, Leak.EQUALITY}),
    minimum_owners=2,
    status=BackendStatus.STABLE,
    shares=False,
)
PLAINTEXT = BackendFacts(
    renames_only=False,
    key_holders=KeyHolders.NOBODY,
    leakage=frozenset({Leak.SIZES, Leak.PLAINTEXT}),
    minimum_owners=1,
    status=BackendStatus.STABLE,
    shares=False,
)
RSA = BackendFacts(
    renames_only=False,
    key_holders=KeyHolders.OWNERS,
    leakage=frozenset({Leak.LENGTHS, Leak.EQUALITY, Leak.FREQUENCY}),
    minimum_owners=2,
    status=BackendStatus.TEACHING,
    shares=False,
)
SHARES = BackendFacts(
    renames_only=False,
    key_holders=KeyHolders.OWNERS,
    leakage=frozenset({Leak.LENGTHS}),
    minimum_owners=2,
    status=BackendStatus.STABLE,
    shares=True,
)


CURRENT = DatasetFacts(VERSION, rows=1000)
NOTHING_SPENT = LedgerFacts()


def card(key: SigningKey) -> str:
    return str(HostCard(key.public, SealingKey.generate().public))


POLICY = parse_config(
    f"""
organisation = "north-hospital"

[coordinator]
url = "https://fedcore.example.org"
key = "{COORDINATOR.public}"
organisation = "cloud-house"

[[scientists]]
name = "sam"
key = "{SAM.public}"
organisation = "university"

[[peers]]
name = "south"
card = "{card(SOUTH)}"
organisation = "south-bank"

[[peers]]
name = "refer"
card = "{card(REFEREE)}"
organisation = "referees"
reference = true

[[peers]]
name = "deal"
card = "{card(DEALER)}"
organisation = "card-house"
dealer = true

[datasets.access-2026]
title = "Access logs"
reader = "labelled_lines"
files = [{{path = "good.txt", label = "benign"}}]
purposes = ["security-research"]
protocols = ["local", "reference", "pooled", "shared"]
backends = ["plaintext", "keyed_tokens", "secret_sharing"]
models = ["linear", "mlp"]
releases = 50
retention = 2027-12-31
minimum_rows = 100
download = true

[datasets.access-2026.ceilings]
purposes = ["security-research"]
protocols = ["local", "reference", "pooled", "shared"]
backends = ["plaintext", "keyed_tokens", "secret_sharing"]
models = ["linear", "mlp"]
releases = 50
days = 2
epsilon = "none"
minimum_owners = 2
download = true

[reference]
serves = true
"""
)


@dataclass(frozen=True)
class Case:
    """What the facts of one order are made from: change a part, and all digests and signatures follow."""

    phase: Phase = Phase.PREPARE
    done: frozenset[Done] = frozenset(
        {Done(Phase.CHECK), Done(Phase.OFFER), Done(Phase.SHARE), Done(Phase.CONFIRM)}
    )
    host: SigningKey = NORTH
    role: Role = Role.OWNER
    policy: Config | None = POLICY
    backend: BackendFacts = KEYED_TOKENS
    character_steps: tuple[str, ...] = ()
    fitted: tuple[tuple[int, int], ...] = ()
    plugins: Refused | None = None
    dataset: DatasetFacts | Refused | None = CURRENT
    held_for: SigningKey | None = None
    ruling: Ruling | None = Ruling.CONFIRMED
    received_at: int = NOW - 60
    releases_spent: int = 0
    counted: bool = False
    ledger: LedgerFacts = NOTHING_SPENT
    unbounded: str = ""
    scientist: SigningKey = SAM
    requester: SigningKey = SAM
    coordinator: SigningKey = COORDINATOR
    with_grant: bool = True
    addressed_to: SigningKey | None = None
    run: str | None = None
    spec: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    grant: dict[str, Any] = field(default_factory=dict)
    held: dict[str, Any] = field(default_factory=dict)
    order: dict[str, Any] = field(default_factory=dict)

    def but(self, **changes: Any) -> Case:
        """This case with one thing changed; changes of messages add to those made before."""
        merged = {
            name: getattr(self, name) | value if isinstance(value, dict) else value
            for name, value in changes.items()
        }
        return replace(self, **merged)

    def with_dataset_policy(self, **changes: Any) -> Case:
        """This case with other settings in [datasets.access-2026]."""
        assert self.policy is not None
        offer = self.policy.datasets["access-2026"]
        changed = Dataset.model_validate(offer.model_dump() | changes)
        return self.but(policy=self.policy.model_copy(update={"datasets": {"access-2026": changed}}))

    def with_ceilings(self, **changes: Any) -> Case:
        """This case with other settings in [datasets.access-2026.ceilings], and nobody's confirmation."""
        assert self.policy is not None
        ceilings = self.policy.datasets["access-2026"].ceilings.model_dump() | changes
        return self.but(ruling=None).with_dataset_policy(ceilings=ceilings)

    def with_policy(self, **changes: Any) -> Case:
        assert self.policy is not None
        return self.but(policy=Config.model_validate(self.policy.model_dump() | changes))

    def facts(self) -> Facts:
        named = DatasetVersion(host=NORTH.public, name="access-2026", version=VERSION)
        request = AccessRequest(
            **{
                "dataset": named,
                "purpose": "security-research",
                "organisation": "university",
                "pipelines": (WORDS,),
                "protocols": tuple(Protocol),
                "backends": ("plaintext", "keyed_tokens", "secret_sharing"),
                "models": ("linear",),
                "releases": 10,
                "download": True,
                "expires_at": LATER,
                "nonce": "0" * 32,
            }
            | self.request
        )
        signed_request = request.signed_by(self.requester)
        spec = RunSpec(
            **{
                "title": "Malicious requests",
                "purpose": "security-research",
                "datasets": (named, DatasetVersion(host=SOUTH.public, name="logs", version="c" * 64)),
                "pipeline": WORDS,
                "protocol": Protocol.POOLED,
                "backend": PluginChoice(name="keyed_tokens"),
                "model": PluginChoice(name="linear"),
                "grants": (signed_request.digest, "d" * 64),
                "submitted_at": NOW - 60,
                "deadline": LATER,
                "nonce": "1" * 32,
            }
            | self.spec
        )
        signed_spec = spec.signed_by(self.scientist)
        grant = Grant.of(
            signed_request, **({"releases": 10, "expires_at": LATER, "download": True} | self.grant)
        )
        run = self.run or signed_spec.digest
        audience = (self.addressed_to or self.host).public
        step, round = self.order.get("step", 0), self.order.get("round", 0)
        order = Order(
            **{
                "id": order_id(run, self.phase, step, round, audience),
                "phase": self.phase,
                "audience": audience,
                "run": run,
                "spec": signed_spec,
                "grant": grant if self.with_grant else None,
                "pins": PINS,
                "issued_at": NOW - 10,
                "expires_at": NOW + 600,
            }
            | self.order
        )
        return Facts(
            order=order,
            order_signer=self.coordinator.public,
            spec=spec,
            request=request if self.with_grant else None,
            held=self._held(request, grant) if self.with_grant else None,
            host=self.host.public,
            role=self.role,
            policy=self.policy,
            now=NOW,
            dataset=self.dataset,
            plugins=self.plugins
            or PluginFacts(PINS, self.character_steps, self.fitted, self.backend, self.unbounded),
            releases_spent=self.releases_spent,
            counted=self.counted,
            done=self.done,
            ledger=self.ledger,
        )

    def _held(self, request: AccessRequest, grant: Grant) -> GrantFacts:
        """What the host holds of the grant: as the order says, but for what `held` changes."""
        limits = Limits.of_grant(grant).within(Limits.of_request(request))
        held = limits.model_copy(update=self.held)
        return GrantFacts(
            (self.held_for or self.scientist).public,
            held,
            self.ruling,
            self.received_at,
            self.character_steps,
        )


POOLED = Case()
LOCAL = POOLED.but(
    phase=Phase.TRAIN,
    done=frozenset({Done(Phase.CHECK)}),
    backend=PLAINTEXT,
    spec={"protocol": Protocol.LOCAL, "backend": PluginChoice(name="plaintext")},
)
TEACHING = (
    POOLED.with_dataset_policy(backends=["rsa"], teaching_backends=["rsa"])
    .with_ceilings(backends=["rsa"])
    .but(
        backend=RSA,
        spec={"backend": PluginChoice(name="rsa")},
        request={"backends": ("rsa",)},
    )
)
"""A run under a backend for teaching, which the policy names as such."""

PRIVATE = LOCAL.but(
    spec={"privacy": Privacy(epsilon_micro=1_000_000, delta=1e-6)},
    request={"privacy": Privacy(epsilon_micro=3_000_000, delta=1e-6)},
    ledger=LedgerFacts(receipt_age=60, grant_micro=1_000_000, dataset_micro=1_000_000),
)
"""A local run with epsilon 1, under a grant of 3."""

REFERENCE = POOLED.but(
    done=frozenset({Done(Phase.CHECK)}),
    backend=PLAINTEXT,
    spec={
        "protocol": Protocol.REFERENCE,
        "backend": PluginChoice(name="plaintext"),
        "reference_host": REFEREE.public,
    },
)
SERVING = REFERENCE.but(
    phase=Phase.TRAIN,
    host=REFEREE,
    role=Role.REFERENCE,
    dataset=None,
    with_grant=False,
).with_policy(
    organisation="referees",
    datasets={},
    peers=[
        {"name": "north", "card": card(NORTH), "organisation": "north-hospital"},
        {"name": "south", "card": card(SOUTH), "organisation": "south-bank"},
    ],
)
SHARED = POOLED.but(
    backend=SHARES,
    spec={
        "protocol": Protocol.SHARED,
        "backend": PluginChoice(name="secret_sharing"),
        "dealer": DEALER.public,
    },
)
COMPUTING = SHARED.but(phase=Phase.TRAIN, done=SHARED.done | {Done(Phase.PREPARE)})
"""North, a compute owner, is to train on shares."""

DEALING = SHARED.but(
    phase=Phase.DEAL,
    done=frozenset({Done(Phase.CHECK)}),
    host=DEALER,
    role=Role.DEALER,
    dataset=None,
    with_grant=False,
).with_policy(
    organisation="card-house",
    datasets={},
    dealer={"serves": True},
    peers=[
        {"name": "north", "card": card(NORTH), "organisation": "north-hospital"},
        {"name": "south", "card": card(SOUTH), "organisation": "south-bank"},
    ],
)
CLOSING = POOLED.but(phase=Phase.CLOSE)
YESTERDAY = date(2027, 1, 14)
"""The day before `NOW`, in UTC."""
