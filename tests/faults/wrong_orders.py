"""Orders that the coordinator itself has signed, and that an owner's host still must not carry out."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from fedcore.plugin_api.pipeline import pins_of
from fedcore.wire.access import AccessRequest
from fedcore.wire.keys import SigningKey
from fedcore.wire.orders import Order, Phase, PluginPin, order_id
from fedcore.wire.reports import Confirmed, Offered, Report
from fedcore.wire.signing import Signed
from fedcore.wire.spec import DatasetVersion, Pipeline, PluginChoice, Privacy, Protocol
from tests.faults.mutations import STRANGER
from tests.owner.cast import HASHED, Cast, Owner, Plan

LARGEST: Final = 2**53 - 1


@dataclass(frozen=True)
class Wrong:
    """One thing (or more) that is wrong about an order; all digests and signatures follow from it."""

    what: str
    phase: Phase = Phase.CHECK
    spec: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    grant: dict[str, Any] = field(default_factory=dict)
    order: dict[str, Any] = field(default_factory=dict)
    scientist: SigningKey | None = None
    requester: SigningKey | None = None

    def and_also(self, other: Wrong) -> Wrong:
        """Both things wrong in one order."""
        return Wrong(
            f"{self.what}, and {other.what}",
            self.phase if self.phase is not Phase.CHECK else other.phase,
            {**self.spec, **other.spec},
            {**self.request, **other.request},
            {**self.grant, **other.grant},
            {**self.order, **other.order},
            self.scientist or other.scientist,
            self.requester or other.requester,
        )


def signed_order(plan: Plan, owner: Owner, wrong: Wrong) -> Signed:
    """The order of a new run like `plan`, with what is wrong about it, signed by the pinned coordinator."""
    cast = plan.cast
    request = plan.grants[owner.key].request.open(AccessRequest)
    request = request.model_copy(update={"nonce": secrets.token_hex(16), **wrong.request})
    signed_request = request.signed_by(wrong.requester or cast.sam)
    grants = tuple(
        signed_request.digest if dataset.host == owner.key else grant
        for dataset, grant in zip(plan.spec.datasets, plan.spec.grants, strict=True)
    )
    spec = plan.spec.model_copy(update={"nonce": secrets.token_hex(16), "grants": grants, **wrong.spec})
    signed_spec = spec.signed_by(wrong.scientist or cast.sam)
    run, step, round = signed_spec.digest, wrong.order.get("step", 0), wrong.order.get("round", 0)
    facts: dict[str, Any] = {
        "id": order_id(run, wrong.phase, step, round, owner.key),
        "phase": wrong.phase,
        "audience": owner.key,
        "run": run,
        "spec": signed_spec,
        "grant": plan.grants[owner.key].model_copy(update={"request": signed_request, **wrong.grant}),
        "pins": tuple(pins_of(cast.registry, plan.spec.pipeline, plan.spec.backend, plan.spec.model)),
        "issued_at": int(time.time()),
        "expires_at": int(time.time()) + 600,
    }
    return Order(**facts | wrong.order).signed_by(cast.coordinator.key)


def wrongs(cast: Cast, plan: Plan) -> list[Wrong]:
    """Everything that one order can have wrong, by what is wrong."""
    return [*_times(), *_people(cast, plan), *_uses(cast, plan), *_phases(), *_pins(cast, plan)]


def _times() -> Iterator[Wrong]:
    now = int(time.time())
    for moment in (0, 1, now - 86_400, now - 1):
        yield Wrong("the order has expired", order={"expires_at": moment})
        yield Wrong("the deadline has passed", spec={"deadline": moment})
        yield Wrong("the request has expired", request={"expires_at": moment})
        yield Wrong("the grant has expired", grant={"expires_at": moment})


def _people(cast: Cast, plan: Plan) -> Iterator[Wrong]:
    north, south = cast.owners
    other = plan.grants[south.key].request
    yield Wrong("a stranger's run", scientist=STRANGER)
    yield Wrong("a stranger's request", requester=STRANGER)
    yield Wrong("a stranger's run and request", scientist=STRANGER, requester=STRANGER)
    yield Wrong("a run of the coordinator's own", scientist=cast.coordinator.key)
    yield Wrong("a run of the other owner", scientist=south.home.signing_key)
    yield Wrong("no grant", order={"grant": None})
    yield Wrong("the grant of the other owner", grant={"request": other})
    yield Wrong("the grant of another run", grant={"request": plan.grants[north.key].request})
    yield Wrong("a download without leave", grant={"download": True})
    broken = other.model_copy(update={"signer": STRANGER.public})
    yield Wrong("a request whose signature does not fit", grant={"request": broken})
    stranger = DatasetVersion(host=STRANGER.public, name="logs", version="0" * 64)
    yield Wrong("an owner that is not pinned", spec={"datasets": (plan.spec.datasets[0], stranger)})
    yield Wrong("without this host", spec={"datasets": (stranger, plan.spec.datasets[1])})
    yield Wrong("its own audience twice", order={"audience": south.key})


def _uses(cast: Cast, plan: Plan) -> Iterator[Wrong]:
    own, other = plan.spec.datasets
    for what, dataset in {
        "another version": own.model_copy(update={"version": "0" * 64}),
        "another dataset": own.model_copy(update={"name": "secrets"}),
        "a path for a name": own.model_copy(update={"name": "../../etc/passwd"}),
    }.items():
        yield Wrong(what, spec={"datasets": (dataset, other)}, request={"dataset": dataset})
        yield Wrong(f"{what} in the request", request={"dataset": dataset})
    ngrams = Pipeline(steps=(*HASHED.steps[:3], PluginChoice(name="char_ngrams"), *HASHED.steps[4:]))
    for what, spec, request in (
        ("another purpose", {"purpose": "marketing"}, {"purpose": "marketing"}),
        (
            "plaintext for the coordinator",
            {"backend": PluginChoice(name="plaintext")},
            {"backends": ("plaintext",)},
        ),
        ("an unknown backend", {"backend": PluginChoice(name="rot13")}, {"backends": ("rot13",)}),
        ("an unknown model type", {"model": PluginChoice(name="gpt")}, {"models": ("gpt",)}),
        ("character n-grams", {"pipeline": ngrams}, {"pipelines": (ngrams,)}),
    ):
        yield Wrong(what, spec=spec, request=request)
        yield Wrong(f"{what}, without leave", spec=spec)
    for steps in ((HASHED.steps[0],), HASHED.steps[1:], (*HASHED.steps, HASHED.steps[-1])):
        wrong = Pipeline(steps=steps)
        yield Wrong("an unusable pipeline", spec={"pipeline": wrong}, request={"pipelines": (wrong,)})
    yield Wrong(
        "a reference host that is not trusted",
        spec={"protocol": Protocol.REFERENCE, "reference_host": other.host},
    )
    yield Wrong("a protocol without leave", spec={"protocol": Protocol.LOCAL})
    yield Wrong("a privacy limit that nothing keeps", spec={"privacy": Privacy(epsilon_micro=1, delta=0.0)})
    yield Wrong("too few rows", spec={"first_rows": 3})
    yield Wrong("too few owners", spec={"minimum_owners": 3})
    yield Wrong("too few owners for the request", request={"minimum_owners": 3})


def _phases() -> Iterator[Wrong]:
    for phase in Phase:
        if phase not in (Phase.CHECK, Phase.CLOSE):
            yield Wrong(f"{phase} before anything else", phase=phase)
            yield Wrong(
                f"{phase} of a step that is not there", phase=phase, order={"step": 31, "round": 1_000_000}
            )
    yield Wrong("a round of the check", order={"round": 1})


def _pins(cast: Cast, plan: Plan) -> Iterator[Wrong]:
    pins = tuple(pins_of(cast.registry, plan.spec.pipeline, plan.spec.backend, plan.spec.model))
    more = PluginPin(group="models", name="gpt", version="1", digest="0" * 64)
    for changed in (
        (),
        pins[1:],
        (*pins, more),
        (pins[0].model_copy(update={"version": "0.0.1"}), *pins[1:]),
        (*pins[:-1], pins[-1].model_copy(update={"digest": "0" * 64})),
    ):
        yield Wrong("other plugins than are installed", order={"pins": changed})


def wrong_evidence(
    good: tuple[Signed, ...], elsewhere: tuple[Signed, ...], peer: Owner
) -> Iterator[tuple[Signed, ...]]:
    """Evidence with reports left out, repeated, forged, taken from another run, or of a peer that says otherwise."""
    yield ()
    yield good[:-1]
    yield good[1:]
    yield (*good, good[0])
    yield elsewhere
    yield (*good[:-1], *elsewhere[-1:])
    last = good[-1]
    yield (*good[:-1], last.model_copy(update={"text": last.text.replace('"round":0', '"round":1')}))
    for key in (STRANGER, peer.home.signing_key):
        yield (*good[:-1], *(_retold(report, key) for report in good[-1:]))
    yield (*good[:-1], _retold(last, STRANGER).model_copy(update={"signer": peer.key}))


def _retold(signed: Signed, key: SigningKey) -> Signed:
    """The report with another content, signed by `key`."""
    report = signed.open(Report)
    match report.result:
        case Offered():
            result: Any = Offered(ephemeral="A" * 43)  # A point of small order.
        case Confirmed():
            result = Confirmed(proof="0" * 64)
        case _:
            result = report.result
            return report.model_copy(update={"run": "0" * 64}).signed_by(key)
    return report.model_copy(update={"result": result}).signed_by(key)
