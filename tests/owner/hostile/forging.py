"""How orders are forged: an honest run with one thing changed, and everything else about it fitting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase
from fedcore.wire.spec import DatasetVersion, Protocol
from tests.faults.wrong_orders import Wrong
from tests.owner.hostile.attack import Attack, Orders
from tests.owner.hostile.scene import AT_WORK, Scene

NOW: Final = int(time.time())


def forged(protocol: Protocol = Protocol.POOLED, phases: tuple[Phase, ...] = AT_WORK, **wrong: Any) -> Orders:
    return lambda scene: scene.forged(Wrong("", **wrong), protocol, phases)  # type: ignore[return-value]


def forged_with(make: Callable[[Scene], dict[str, Any]], protocol: Protocol = Protocol.POOLED) -> Orders:
    """What is forged depends on the scene: its hosts and keys."""
    return lambda scene: scene.forged(Wrong("", **make(scene)), protocol)  # type: ignore[return-value]


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
