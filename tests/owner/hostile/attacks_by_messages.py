"""Attacks by what messages say: forged words, broken forms, and runs that no host can or may compute."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, Final

from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import MAXIMUM_MESSAGE_BYTES
from fedcore.wire.orders import Order, Phase
from fedcore.wire.signing import Signed, signed_bytes
from fedcore.wire.spec import Pipeline, PluginChoice, RunSpec
from tests.faults.wrong_orders import Wrong
from tests.owner.cast import HASHED
from tests.owner.hostile.attack import Orders
from tests.owner.hostile.forging import attack
from tests.owner.hostile.scene import Delivered, Scene

# -- signatures


def reworded(change: Callable[[str], str], part: str) -> Orders:
    """The spec or the request inside the order says something else; its signature stays."""

    def orders(scene: Scene) -> list[Delivered]:
        order = scene.forged(Wrong(""))[0].open(Order)
        assert order.grant is not None
        if part == "request":
            request = order.grant.request
            forged = request.model_copy(update={"text": change(request.text)})
            return [
                scene.signed({**facts_of(order), "grant": order.grant.model_copy(update={"request": forged})})
            ]
        spec = order.spec.model_copy(update={"text": change(order.spec.text)})
        assert spec.text != order.spec.text
        return [scene.signed({**facts_of(order), "spec": spec, "run": spec.digest})]

    return orders


def facts_of(order: Order) -> dict[str, Any]:
    return {name: getattr(order, name) for name in type(order).model_fields if name != "id"}


def edited(change: Callable[[dict[str, Any]], Any]) -> Orders:
    """The coordinator signs an order whose text is otherwise than the schema says."""

    def orders(scene: Scene) -> list[Delivered]:
        return [signed_text(scene, json.dumps(change(json.loads(scene.forged(Wrong(""))[0].text))))]

    return orders


def signed_text(scene: Scene, text: str) -> Signed:
    key = scene.coordinator.key
    signature = base64.b64encode(key.sign(signed_bytes(Order.KIND, text))).decode()
    return Signed.model_construct(text=text, signer=key.public, signature=signature)


def after_signing(scene: Scene) -> list[Delivered]:
    order = scene.forged(Wrong(""))[0]
    return [order.model_copy(update={"text": order.text.replace('"check"', '"train"')})]


def by_the_scientist(scene: Scene) -> list[Delivered]:
    order = scene.forged(Wrong(""))[0].open(Order)
    return [order.signed_by(scene.cast.sam)]


def a_spec_for_an_order(scene: Scene) -> list[Delivered]:
    return [scene.forged(Wrong(""))[0].open(Order).spec.open(RunSpec).signed_by(scene.coordinator.key)]


def with_(name: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: {**content, name: value}


def deep(content: dict[str, Any]) -> Any:
    inner: Any = 0
    for _ in range(40):
        inner = [inner]
    return {**content, "evidence": inner}


def no_number(scene: Scene) -> list[Delivered]:
    text = scene.forged(Wrong(""))[0].text
    return [signed_text(scene, text.replace('"round":0', '"round":NaN'))]


def twice_named(scene: Scene) -> list[Delivered]:
    text = scene.forged(Wrong(""))[0].text
    return [signed_text(scene, '{"phase":"train",' + text[1:])]


def huge(scene: Scene) -> list[Delivered]:
    text = scene.forged(Wrong(""))[0].text
    return [signed_text(scene, text + " " * MAXIMUM_MESSAGE_BYTES)]


MESSAGES: Final = [
    attack("an order is changed after it was signed", RefusalCode.BAD_SIGNATURE, after_signing, dropped=True),
    attack("the scientist's key signs an order", RefusalCode.UNKNOWN_SIGNER, by_the_scientist, dropped=True),
    attack(
        "a signature on a run spec is passed off as one on an order",
        RefusalCode.BAD_SIGNATURE,
        a_spec_for_an_order,
        dropped=True,
    ),
    attack(
        "the purpose in Sam's spec is rewritten under his signature",
        RefusalCode.BAD_SIGNATURE,
        reworded(lambda text: text.replace("security-research", "marketing"), "spec"),
    ),
    attack(
        "the deadline in Sam's spec is put off under his signature",
        RefusalCode.BAD_SIGNATURE,
        reworded(lambda text: text.replace('"deadline":', '"deadline":9'), "spec"),
    ),
    attack(
        "the limits in Sam's request are widened under his signature",
        RefusalCode.BAD_SIGNATURE,
        reworded(lambda text: text.replace('"releases":5', '"releases":500'), "request"),
    ),
    attack(
        "an order has a field that none has",
        RefusalCode.UNKNOWN_FIELD,
        edited(with_("force", True)),
        dropped=True,
    ),
    attack(
        "an order lacks its expiry",
        RefusalCode.MALFORMED,
        edited(lambda content: {name: value for name, value in content.items() if name != "expires_at"}),
        dropped=True,
    ),
    attack(
        "an order has the version of tomorrow",
        RefusalCode.MALFORMED,
        edited(with_("version", 2)),
        dropped=True,
    ),
    attack(
        "an order asks for a phase of its own",
        RefusalCode.MALFORMED,
        edited(with_("phase", "dump")),
        dropped=True,
    ),
    attack("an order is nested forty deep", RefusalCode.MALFORMED, edited(deep), dropped=True),
    attack("an order counts to infinity", RefusalCode.MALFORMED, no_number, dropped=True),
    attack("an order names its phase twice", RefusalCode.MALFORMED, twice_named, dropped=True),
    attack(
        "an order is larger than any may be",
        (RefusalCode.TOO_LARGE, RefusalCode.MALFORMED),
        huge,
        dropped=True,
    ),
    attack(
        "the dataset of a run is a path",
        RefusalCode.MALFORMED,
        lambda scene: [
            *scene.forged(
                Wrong(
                    "",
                    spec={
                        "datasets": tuple(
                            dataset.model_copy(update={"name": "../../etc/passwd"})
                            for dataset in scene.honest().spec.datasets
                        )
                    },
                )
            )
        ],
    ),
]

# -- runs that the schema allows and no host can or may compute


def unknown(**spec: Any) -> Orders:
    return lambda scene: [*scene.forged(Wrong("", spec=spec, request=requested(spec)))]


def requested(spec: dict[str, Any]) -> dict[str, Any]:
    """What the request must allow for this spec."""
    asked: dict[str, Any] = {}
    if "pipeline" in spec:
        asked["pipelines"] = (spec["pipeline"],)
    if "backend" in spec:
        asked["backends"] = (spec["backend"].name,)
    if "model" in spec:
        asked["models"] = (spec["model"].name,)
    return asked


def with_step(step: PluginChoice) -> Pipeline:
    return Pipeline(steps=(*HASHED.steps[:-1], step))


def without_a_grant(scene: Scene) -> list[Delivered]:
    return [*scene.forged(Wrong("", order={"grant": None}))]


def souths_grant(scene: Scene) -> list[Delivered]:
    plan = scene.honest()
    return [plan.order(Phase.CHECK, scene.north, grant=plan.grants[scene.south.key])]


def not_offered(scene: Scene) -> list[Delivered]:
    datasets = tuple(
        dataset.model_copy(update={"name": "secrets"}) for dataset in scene.honest().spec.datasets
    )
    return [*scene.forged(Wrong("", spec={"datasets": datasets}, request={"dataset": datasets[0]}))]


def without_north(scene: Scene) -> list[Delivered]:
    datasets = scene.honest().spec.datasets[1:]
    return [*scene.forged(Wrong("", spec={"datasets": datasets}))]


COMPUTING: Final = [
    attack("an order carries no grant", RefusalCode.NOT_GRANTED, without_a_grant),
    attack("an order carries the grant of another owner", RefusalCode.NOT_GRANTED, souths_grant),
    attack("a dataset is asked for that is not offered", RefusalCode.UNKNOWN_DATASET, not_offered),
    attack("a run does not name north's data at all", (RefusalCode.NOT_GRANTED,), without_north),
    attack(
        "a step is asked for that nobody has installed",
        RefusalCode.PLUGIN_MISSING,
        unknown(pipeline=with_step(PluginChoice(name="exfiltrate"))),
    ),
    attack(
        "a backend is asked for that nobody has installed",
        RefusalCode.PLUGIN_MISSING,
        unknown(backend=PluginChoice(name="rot13")),
    ),
    attack(
        "a model type is asked for that nobody has installed",
        RefusalCode.PLUGIN_MISSING,
        unknown(model=PluginChoice(name="memoriser")),
    ),
    attack(
        "a step is to make more columns than any memory has",
        RefusalCode.INVALID_OPTIONS,
        unknown(pipeline=with_step(PluginChoice(name="hash_columns", options={"columns": 2**40}))),
    ),
    attack(
        "a pipeline protects nothing before it ends",
        RefusalCode.INVALID_OPTIONS,
        unknown(pipeline=Pipeline(steps=tuple(step for step in HASHED.steps if step.name != "protect"))),
    ),
    attack(
        "a step gets an option that it does not have",
        RefusalCode.INVALID_OPTIONS,
        unknown(
            pipeline=with_step(PluginChoice(name="hash_columns", options={"columns": 64, "out": "/tmp"}))
        ),
    ),
]

BY_MESSAGES: Final = [*MESSAGES, *COMPUTING]
