"""How orders are forged: an honest run with one thing changed, and everything else about it fitting."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from fedcore.owner.budgets import Allowance
from fedcore.owner.facts import Refused
from fedcore.owner.ledger import Ledger, Reservation
from fedcore.wire.access import Grant
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Order, Phase
from fedcore.wire.signing import Signed
from fedcore.wire.spec import DatasetVersion, Privacy, Protocol, Training
from tests.faults.wrong_orders import Wrong
from tests.owner.hostile.attack import Attack, Orders
from tests.owner.hostile.scene import AT_WORK, Delivered, Scene, Told

NOW: Final = int(time.time())
ONE: Final = Privacy(epsilon_micro=1_000_000, delta=1e-6)
THREE: Final = Privacy(epsilon_micro=3_000_000, delta=1e-6)
NOISY: Final = Training(epochs=2)
"""A training under which an epsilon is kept."""
OVERSPENDS: Final = "it overspends the grant's budget"
UNBOUNDED: Final = "nothing without a bound is within the grant's budget"


def forged(protocol: Protocol = Protocol.POOLED, phases: tuple[Phase, ...] = AT_WORK, **wrong: Any) -> Orders:
    return lambda scene: scene.forged(Wrong("", **wrong), protocol, phases)


def forged_with(make: Callable[[Scene], dict[str, Any]], protocol: Protocol = Protocol.POOLED) -> Orders:
    """What is forged depends on the scene: its hosts and keys."""
    return lambda scene: scene.forged(Wrong("", **make(scene)), protocol)


def runs_of_one_grant(
    scene: Scene, number: int, request: dict[str, Any] | None = None, **wrong: Any
) -> list[list[Signed]]:
    """For each of several local runs under one grant: the orders to check, to train and to evaluate."""
    asked = {"nonce": secrets.token_hex(16), "expires_at": int(time.time()) + 3600, **(request or {})}
    phases = (Phase.CHECK, Phase.TRAIN, Phase.EVALUATE)
    return [scene.forged(Wrong("", request=asked, **wrong), Protocol.LOCAL, phases) for _ in range(number)]


def grant_of(orders: Sequence[Delivered]) -> Grant:
    """The grant that the first of these orders carries."""
    first = orders[0]
    assert isinstance(first, Signed)
    grant = first.open(Order).grant
    assert grant is not None
    return grant


def after(prepare: Callable[[Scene, Grant], Sequence[Told]], made: Orders) -> Orders:
    """Something is done with the grant of these orders, and something told of it, before they come."""

    def orders(scene: Scene) -> list[Delivered]:
        found = made(scene)
        return [*prepare(scene, grant_of(found)), *found]

    return orders


def without_counting_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger books whatever it is told to, however many runs there were and whatever they cost."""
    reserve = Ledger.reserve

    def unlimited(ledger: Ledger, wanted: Reservation, limits: Allowance) -> Refused | None:
        return reserve(ledger, wanted, replace(limits, runs=10**6, grant=None, dataset=None))

    monkeypatch.setattr(Ledger, "reserve", unlimited)


def without_a_look_before_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers leave whether their grant has ended meanwhile or not."""
    monkeypatch.setattr("fedcore.owner.answering._has_expired", lambda held, now: False)


def rewritten(old: str, new: str) -> Callable[[str], str]:
    """North's policy says `new` instead of `old`."""
    return lambda text: text.replace(old, new)


def attack_on_rule(
    what: str, rule: str, code: RefusalCode, orders: Orders, part: str = "owner", **more: Any
) -> Attack:
    return Attack(what, orders, frozenset({code, *more.pop("also", ())}), part, rule, **more)


def own_dataset(scene: Scene, **changes: Any) -> DatasetVersion:
    named = DatasetVersion(host=scene.north.key, name="logs", version=scene.north.version())
    return named.model_copy(update=changes)


def other_dataset(key: str) -> DatasetVersion:
    return DatasetVersion(host=key, name="logs", version="c" * 64)


def attack(what: str, codes: RefusalCode | tuple[RefusalCode, ...], orders: Orders, **more: Any) -> Attack:
    several = codes if isinstance(codes, tuple) else (codes,)
    return Attack(what, orders, frozenset(several), **more)


def evidence_of_nobody(order: Order) -> dict[str, Any]:
    return {"evidence": ()}


def another_expiry(order: Order) -> dict[str, Any]:
    return {"expires_at": order.expires_at + 1000, "issued_at": order.issued_at + 1}


def no_grant(order: Order) -> dict[str, Any]:
    return {"grant": None, "pins": ()}


def another_model(order: Order) -> dict[str, Any]:
    return {"artefacts": tuple(ref.model_copy(update={"digest": "1" * 64}) for ref in order.artefacts)}


PRETEXTS: Final = (another_expiry, evidence_of_nobody, no_grant, another_model)
"""What else an order can say that is for the same work."""
