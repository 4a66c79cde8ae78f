"""Attacks in the course of a run: phases out of order, evidence that is tampered with, models that are none.

They are stopped by more than one rule, by evidence, digests, the store of orders and the gate. Whatever comes before
them was done by both owners as it should be.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from fedcore.plugin_api.serialise import StoredModel, pack_model
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import ArtefactRef, Phase
from fedcore.wire.reports import Confirmed, Offered, Report, Settled
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Protocol
from tests.faults.wrong_orders import Wrong
from tests.owner.cast import FITTED_AT, LINEAR, RANKED, Plan
from tests.owner.hostile.attack import Orders
from tests.owner.hostile.forging import attack
from tests.owner.hostile.scene import Delivered, Scene

# -- the order of things


def early(phase: Phase, **content: Any) -> Orders:
    """A phase is ordered before those that it needs."""

    def orders(scene: Scene) -> list[Delivered]:
        plan = scene.honest()
        scene.play(plan, Phase.CHECK)
        return [plan.order(phase, scene.north, **content)]

    return orders


def after_the_run(scene: Scene) -> list[Delivered]:
    plan = scene.honest(Protocol.LOCAL)
    scene.play(plan, Phase.CHECK)
    scene.play(plan, Phase.CLOSE, keep=True)
    return [plan.order(phase, scene.north) for phase in (Phase.TRAIN, Phase.EVALUATE)]


def kept_back(**wrong: Any) -> Orders:
    """Orders that never expire by themselves are delivered when the grant, or the run's time, is over."""

    def orders(scene: Scene) -> list[Delivered]:
        far = {"expires_at": 2**53 - 1, "issued_at": 2**52}
        made = scene.forged(Wrong("", order=far, **wrong))
        scene.shift[0] = 3 * 86_400
        return [*made]

    return orders


LATER: Final = int(time.time()) + 10 * 86_400
SOON: Final = int(time.time()) + 86_400

ORDER_OF_THINGS: Final = [
    attack(
        "rows are asked for before the owners agreed on a key", RefusalCode.OUT_OF_ORDER, early(Phase.PREPARE)
    ),
    attack("a run is evaluated before rows were prepared", RefusalCode.OUT_OF_ORDER, early(Phase.EVALUATE)),
    attack("shares are asked for before keys were offered", RefusalCode.OUT_OF_ORDER, early(Phase.SHARE)),
    attack(
        "a step is summed up that is not fitted", RefusalCode.OUT_OF_ORDER, early(Phase.SUMMARISE, step=3)
    ),
    attack(
        "north is to train alone in a pooled run, and tell the curve",
        RefusalCode.OUT_OF_ORDER,
        early(Phase.TRAIN),
    ),
    attack(
        "a run goes on after its end",
        (RefusalCode.OUT_OF_ORDER, RefusalCode.CANCELLED),
        after_the_run,
    ),
    attack(
        "an order is kept back until its grant is over",
        RefusalCode.GRANT_EXPIRED,
        kept_back(spec={"deadline": LATER}, request={"expires_at": SOON}),
    ),
    attack(
        "an order is kept back until its run is over", RefusalCode.EXPIRED, kept_back(spec={"deadline": SOON})
    ),
]

# -- evidence: what the other owners are said to have signed

NEEDED: Final = {
    Phase.SHARE: (Phase.OFFER,),
    Phase.CONFIRM: (Phase.OFFER, Phase.SHARE),
    Phase.PREPARE: (Phase.CONFIRM,),
}
EVIDENCE_CODES: Final = (
    RefusalCode.OUT_OF_ORDER,
    RefusalCode.CONFLICT,
    RefusalCode.UNKNOWN_SIGNER,
    RefusalCode.BAD_SIGNATURE,
    RefusalCode.KEY_AGREEMENT_FAILED,
)
Tamper = Callable[[Scene, tuple[Signed, ...], Plan], tuple[Signed, ...]]


def with_evidence(phase: Phase, tamper: Tamper) -> Orders:
    """The owners have come as far as `phase`, and north is shown something else of what they said."""

    def orders(scene: Scene) -> list[Delivered]:
        plan = scene.honest()
        scene.play(plan, Phase.CHECK)
        scene.play(plan, Phase.OFFER)
        if phase is not Phase.SHARE:
            scene.play(plan, Phase.SHARE, evidence=plan.said(Phase.OFFER))
        if phase is Phase.PREPARE:
            scene.play(plan, Phase.CONFIRM, evidence=plan.said(Phase.OFFER) + plan.said(Phase.SHARE))
        good = tuple(report for before in NEEDED[phase] for report in plan.said(before))
        return [plan.order(phase, scene.north, evidence=tamper(scene, good, plan))]

    return orders


def of_another_run(scene: Scene, good: tuple[Signed, ...], plan: Plan) -> tuple[Signed, ...]:
    other = scene.honest()
    scene.agree(other)
    phases = {report.open(Report).phase for report in good}
    return tuple(report for phase in phases for report in other.said(phase))


def said_by(key_of: Callable[[Scene], Any], which: int = 1) -> Tamper:
    """South's (or north's own) last word is told anew, with another content, by somebody else's key."""

    def tamper(scene: Scene, good: tuple[Signed, ...], plan: Plan) -> tuple[Signed, ...]:
        signer = scene.cast.owners[which].key
        place = max(number for number, signed in enumerate(good) if signed.signer == signer)
        report = good[place].open(Report)
        results = {Phase.OFFER: Offered(ephemeral="A" * 43), Phase.CONFIRM: Confirmed(proof="0" * 64)}
        told = report.model_copy(update={"result": results.get(report.phase, report.result)})
        forged = told.signed_by(key_of(scene)).model_copy(update={"signer": signer})
        return (*good[:place], forged, *good[place + 1 :])

    return tamper


def edited_report(scene: Scene, good: tuple[Signed, ...], plan: Plan) -> tuple[Signed, ...]:
    last = good[-1]
    return (*good[:-1], last.model_copy(update={"text": last.text.replace('"round":0', '"round":1')}))


def signed_by_a_stranger(scene: Scene, good: tuple[Signed, ...], plan: Plan) -> tuple[Signed, ...]:
    return (*good[:-1], good[-1].open(Report).signed_by(scene.sybil))


TAMPERINGS: Final[dict[str, Tamper]] = {
    "is left out": lambda scene, good, plan: (),
    "is left out of one owner": lambda scene, good, plan: good[:-1],
    "is shown twice": lambda scene, good, plan: (*good, good[0]),
    "is of another run": of_another_run,
    "is edited": edited_report,
    "is signed by the coordinator in south's name": said_by(lambda scene: scene.coordinator.key),
    "is invented in north's own name": said_by(lambda scene: scene.coordinator.key, which=0),
    "is signed by a stranger": signed_by_a_stranger,
}
EVIDENCE: Final = [
    attack(f"what the owners said before {phase} {what}", EVIDENCE_CODES, with_evidence(phase, tamper))
    for phase in NEEDED
    for what, tamper in TAMPERINGS.items()
]


def other_offers(scene: Scene) -> list[Delivered]:
    """North's shares are sealed under south's key; then it is told that south's key was another."""
    plan = scene.honest()
    for phase, evidence in ((Phase.CHECK, ()), (Phase.OFFER, ())):
        scene.play(plan, phase, evidence=evidence)
    scene.play(plan, Phase.SHARE, evidence=plan.said(Phase.OFFER))
    mine, souths = plan.said(Phase.OFFER)
    # South is in league with the coordinator, and signs whatever it likes.
    changed = souths.open(Report).model_copy(update={"result": Offered(ephemeral=scene.sybil.public)})
    told = changed.signed_by(scene.south.home.signing_key)
    return [plan.order(Phase.CONFIRM, scene.north, evidence=(mine, told, *plan.said(Phase.SHARE)))]


def another_state(scene: Scene) -> list[Delivered]:
    """South, in league with the coordinator, says that it fitted another vocabulary."""
    plan = fitted(scene)
    mine, souths = plan.said(Phase.SETTLE, FITTED_AT)
    told = souths.open(Report).model_copy(update={"result": Settled(state="00" * 32)})
    evidence = (*plan.said(Phase.CONFIRM), mine, told.signed_by(scene.south.home.signing_key))
    return [plan.order(Phase.PREPARE, scene.north, evidence=evidence)]


def fitted(scene: Scene) -> Plan:
    plan = scene.honest(pipeline=RANKED)
    scene.agree(plan)
    scene.play(plan, Phase.SUMMARISE, step=FITTED_AT, evidence=plan.said(Phase.CONFIRM))
    scene.play(plan, Phase.SETTLE, step=FITTED_AT, evidence=plan.said(Phase.SUMMARISE, FITTED_AT))
    return plan


def crafted_vocabulary(scene: Scene) -> list[Delivered]:
    """South's summary is replaced by bytes of the coordinator's own, under the digest that the report names."""
    plan = scene.honest(pipeline=RANKED)
    scene.agree(plan)
    scene.play(plan, Phase.SUMMARISE, step=FITTED_AT, evidence=plan.said(Phase.CONFIRM))
    said = plan.said(Phase.SUMMARISE, FITTED_AT)
    digest = said[1].open(Report).artefacts[0].digest
    scene.coordinator.artefacts[digest] = secrets.token_bytes(len(scene.coordinator.artefacts[digest]))
    return [plan.order(Phase.SETTLE, scene.north, step=FITTED_AT, evidence=said)]


LEAGUE: Final = [
    attack(
        "south's key is another after the shares were sealed", RefusalCode.KEY_AGREEMENT_FAILED, other_offers
    ),
    attack("south says that it fitted another vocabulary", RefusalCode.STATE_MISMATCH, another_state),
    attack(
        "the owners' counts of words are swapped for others", RefusalCode.ARTEFACT_INVALID, crafted_vocabulary
    ),
]

# -- models


def with_model(make: Callable[[Scene, Plan], tuple[ArtefactRef, ...]]) -> Orders:
    """Rows were prepared, and what comes back to be evaluated is not the model."""

    def orders(scene: Scene) -> list[Delivered]:
        plan = scene.honest()
        scene.agree(plan)
        scene.play(plan, Phase.PREPARE, evidence=plan.said(Phase.CONFIRM))
        return [plan.order(Phase.EVALUATE, scene.north, artefacts=make(scene, plan))]

    return orders


def stored_model(weights: np.ndarray[Any, Any], columns: int = 256) -> bytes:
    parameters = {"weight": weights.astype(np.float32), "bias": np.zeros(2, np.float32)}
    return pack_model(StoredModel(LINEAR, 2, "matrix", columns, 0, parameters))


def swapped_bytes(scene: Scene, plan: Plan) -> tuple[ArtefactRef, ...]:
    ref = plan.pooled_model()
    scene.coordinator.artefacts[ref.digest] = stored_model(np.ones((2, 256)))
    return (ref,)


def published(data: Callable[[], bytes]) -> Callable[[Scene, Plan], tuple[ArtefactRef, ...]]:
    return lambda scene, plan: (plan.publish(data()),)


MODEL_CODES: Final = (
    RefusalCode.ARTEFACT_INVALID,
    RefusalCode.NOT_FINITE,
    RefusalCode.STEP_FAILED,
    RefusalCode.MALFORMED,
)
MODELS: Final = [
    attack(
        "the model's bytes are swapped for others", RefusalCode.ARTEFACT_INVALID, with_model(swapped_bytes)
    ),
    attack(
        "no model comes to be evaluated", RefusalCode.ARTEFACT_INVALID, with_model(lambda scene, plan: ())
    ),
    attack(
        "two models come to be evaluated",
        RefusalCode.ARTEFACT_INVALID,
        with_model(lambda scene, plan: (plan.pooled_model(), plan.publish(stored_model(np.ones((2, 256)))))),
    ),
    attack(
        "a model is not there that the order names",
        RefusalCode.ARTEFACT_INVALID,
        with_model(lambda scene, plan: (ArtefactRef(role="model", digest="0" * 64, size=10),)),
    ),
    attack(
        "a pickle is passed off as a model",
        MODEL_CODES,
        with_model(published(lambda: b"\x80\x05cos\nsystem\n.")),
    ),
    attack(
        "a model counts in numbers that are none",
        MODEL_CODES,
        with_model(published(lambda: stored_model(np.full((2, 256), np.nan)))),
        runs_tasks=True,
    ),
    attack(
        "a model has another shape than the rows",
        MODEL_CODES,
        with_model(published(lambda: stored_model(np.ones((2, 7)), columns=7))),
        runs_tasks=True,
    ),
]

ON_THE_WAY: Final = [*ORDER_OF_THINGS, *EVIDENCE, *LEAGUE, *MODELS]
