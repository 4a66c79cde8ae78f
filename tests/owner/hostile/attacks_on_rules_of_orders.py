"""Attacks that one rule on orders, phases or reference hosts stops: without it they succeed.

The coordinator orders every phase, one after the other. Where a second defence stands behind the rule, `behind` takes
it away, so that it can be asked what the rule alone is worth.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

import pytest

from fedcore.owner.agent import Agent
from fedcore.owner.phase_work import PhaseWork
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Order, Phase
from fedcore.wire.spec import Protocol
from tests.faults.wrong_orders import Wrong
from tests.owner.hostile.attack import Orders
from tests.owner.hostile.forging import (
    NOW,
    attack_on_rule,
    forged,
    forged_with,
    other_dataset,
    own_dataset,
    rewritten,
)
from tests.owner.hostile.scene import Delivered, Scene

# -- second defences, taken away where a test asks what the rule alone is worth


def without_looking_at_the_envelope(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent hands on whatever is signed by anybody, for whomever."""
    monkeypatch.setattr(Agent, "verified", lambda self, signed: signed.open(Order))


def without_giving_up_what_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PhaseWork, "go_on", lambda self: None)


# -- on every order


def addressed_to_south(scene: Scene) -> list[Delivered]:
    return [*scene.forged(Wrong("", order={"audience": scene.south.key}))]


def signed_by_eve(scene: Scene) -> list[Delivered]:
    return [order.open(Order).signed_by(scene.eve) for order in scene.forged(Wrong(""))]


def under_another_id(scene: Scene) -> list[Delivered]:
    return [
        order.open(Order).model_copy(update={"id": secrets.token_hex(16)}).signed_by(scene.coordinator.key)
        for order in scene.forged(Wrong(""))
    ]


def after_the_end(scene: Scene) -> list[Delivered]:
    plan = scene.honest()
    scene.play(plan, Phase.CHECK)
    scene.play(plan, Phase.CLOSE, keep=True)
    return [plan.order(Phase.OFFER, scene.north)]


EVERY_ORDER: Final = [
    attack_on_rule(
        "an order for south is passed on to north",
        "order_is_for_this_host",
        RefusalCode.WRONG_AUDIENCE,
        addressed_to_south,
        "every_order",
        behind=without_looking_at_the_envelope,
        dropped=True,
    ),
    attack_on_rule(
        "Eve signs an order in the coordinator's place",
        "order_comes_from_the_pinned_coordinator",
        RefusalCode.UNKNOWN_SIGNER,
        signed_by_eve,
        "every_order",
        behind=without_looking_at_the_envelope,
        dropped=True,
    ),
    attack_on_rule(
        "an order for one run carries the spec of another",
        "run_is_the_signed_spec",
        RefusalCode.CONFLICT,
        forged_with(lambda scene: {"order": {"run": secrets.token_hex(32)}}),
        "every_order",
        behind=without_looking_at_the_envelope,
        dropped=True,
    ),
    attack_on_rule(
        "the same work comes under an id of its own, to be answered twice",
        "order_has_the_id_of_its_work",
        RefusalCode.CONFLICT,
        under_another_id,
        "every_order",
        behind=without_looking_at_the_envelope,
        dropped=True,
    ),
    attack_on_rule(
        "a run goes on after it was closed",
        "run_is_not_closed",
        RefusalCode.OUT_OF_ORDER,
        after_the_end,
        "every_order",
        behind=without_giving_up_what_is_closed,
        also=(RefusalCode.CANCELLED,),
    ),
]

# -- on all work

ALL_WORK: Final = [
    attack_on_rule(
        "an order is kept back until it has expired",
        "order_has_not_expired",
        RefusalCode.EXPIRED,
        forged(order={"expires_at": NOW - 1}),
        "all_work",
    ),
    attack_on_rule(
        "a run is ordered after its deadline",
        "deadline_has_not_passed",
        RefusalCode.EXPIRED,
        forged(spec={"submitted_at": NOW - 100, "deadline": NOW - 1}),
        "all_work",
    ),
    attack_on_rule(
        "the coordinator signs a run and a request of its own",
        "scientist_is_trusted",
        RefusalCode.UNKNOWN_SCIENTIST,
        forged_with(lambda scene: {"scientist": scene.coordinator.key, "requester": scene.coordinator.key}),
        "all_work",
        backed="a host takes no grant of a scientist whom its policy does not name",
    ),
    attack_on_rule(
        "a host that nobody has pinned joins the run",
        "every_owner_is_pinned",
        RefusalCode.UNKNOWN_PEER,
        forged_with(
            lambda scene: {
                "spec": {
                    "datasets": (
                        own_dataset(scene),
                        other_dataset(scene.south.key),
                        other_dataset(scene.sybil.public),
                    )
                }
            }
        ),
        "all_work",
    ),
]

# -- on the work itself


def evaluated_again(scene: Scene) -> list[Delivered]:
    plan = scene.honest(Protocol.LOCAL)
    for phase in (Phase.CHECK, Phase.TRAIN, Phase.EVALUATE):
        scene.play(plan, phase)
    return [plan.order(Phase.EVALUATE, scene.north, round=round) for round in (1, 2)]


def other_pins(scene: Scene) -> list[Delivered]:
    pins = scene.forged(Wrong(""))[0].open(Order).pins
    swapped = (*pins[:-1], pins[-1].model_copy(update={"digest": "0" * 64}))
    return [*scene.forged(Wrong("", order={"pins": swapped}))]


WORK: Final = [
    attack_on_rule(
        "another model type's files are pinned than north has installed",
        "plugins_are_those_pinned",
        RefusalCode.PLUGIN_MISMATCH,
        other_pins,
    ),
    attack_on_rule(
        "an order leaves the pins of its plugins out",
        "plugins_are_those_pinned",
        RefusalCode.PLUGIN_MISMATCH,
        forged(order={"pins": ()}),
    ),
    attack_on_rule(
        "a run is evaluated again and again as other rounds, for fresh answers",
        "phase_follows_what_was_done",
        RefusalCode.OUT_OF_ORDER,
        evaluated_again,
    ),
]


# -- on a host in the place of the reference host


def north_as_reference(*, with_own_rows: bool = False, **wrong: Any) -> Orders:
    def orders(scene: Scene) -> list[Delivered]:
        datasets = (other_dataset(scene.south.key), *([own_dataset(scene)] if with_own_rows else []))
        spec = {
            "reference_host": scene.north.key,
            "datasets": datasets,
        }
        order = {"grant": None, **wrong.get("order", {})}
        phases = wrong.get("phases", (Phase.CHECK, Phase.TRAIN))
        return [*scene.forged(Wrong("", spec=spec, order=order), Protocol.REFERENCE, phases)]

    return orders


SERVES: Final = rewritten("[worker]", "[reference]\nserves = true\n[worker]")

REFERENCE_HOST: Final = [
    attack_on_rule(
        "north is to train on others' plaintext though it is no reference host",
        "this_host_serves_as_reference",
        RefusalCode.REFERENCE_NOT_TRUSTED,
        north_as_reference(),
        "reference_host",
    ),
    attack_on_rule(
        "an owner is to be the reference host of its own run",
        "run_names_this_reference_host",
        RefusalCode.NOT_GRANTED,
        north_as_reference(with_own_rows=True),
        "reference_host",
        policy=SERVES,
    ),
    attack_on_rule(
        "a reference host is to compute with other files than it has",
        "plugins_are_those_pinned",
        RefusalCode.PLUGIN_MISMATCH,
        north_as_reference(order={"pins": ()}),
        "reference_host",
        policy=SERVES,
    ),
    attack_on_rule(
        "a reference host is drawn into the owners' agreement on a key",
        "phase_follows_what_was_done",
        RefusalCode.OUT_OF_ORDER,
        north_as_reference(phases=(Phase.OFFER,)),
        "reference_host",
        policy=SERVES,
        backed="the gate lets no such answer leave it",
    ),
]

ON_ORDERS: Final = [*EVERY_ORDER, *ALL_WORK, *WORK, *REFERENCE_HOST]
