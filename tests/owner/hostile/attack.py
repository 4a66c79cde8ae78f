"""What an attack of a hostile coordinator is, and what must hold when it is over."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest

from fedcore.wire.access import Standing
from fedcore.wire.codes import RefusalCode
from fedcore.wire.signing import Signed
from tests.owner.hostile.scene import Delivered, Scene, Told, Watched

Orders = Callable[[Scene], Sequence[Delivered]]
Behind = Callable[[pytest.MonkeyPatch], None]

EMPTY_REPORT: dict[str, Any] = {"result": None, "artefacts": [], "seconds": {}, "version": 1}
"""What a refusal says beside the order's own facts, a code and the time: nothing."""


@dataclass(frozen=True)
class Attack:
    """What is tried, and the orders that try it, made when everything before them is done.

    `codes` are the only words that may come back. `rule` is the rule of the policy without which it succeeds, where
    that is so; `behind` takes away a second defence that stands behind this rule, and `second` is with what else that
    defence refuses. `backed` says which other rule or check refuses too, so that with either alone the attack fails;
    it is not taken away. `dropped`: there is no answer at all. `stands` is what the coordinator is told of the grant.
    """

    what: str
    orders: Orders
    codes: frozenset[RefusalCode]
    part: str = ""
    rule: str = ""
    policy: Callable[[str], str] | None = None
    behind: Behind | None = None
    second: frozenset[RefusalCode] = frozenset()
    backed: str = ""
    stands: Standing | None = None
    dropped: bool = False
    runs_tasks: bool = False
    """Whether rows are worked on before the gate refuses, so that files and tasks are no sign of success."""


def check_nothing_left(watched: Watched, attack: Attack) -> None:
    """North has sent nothing but refusals, has computed nothing, and has written down why."""
    assert [
        one for one in watched.sent if (one.method, one.path) not in POSSIBLE and not is_question(one)
    ] == []
    allowed = {code.value for code in attack.codes}
    by_id = {order["id"]: order for order in map(opened, watched.delivered)}
    for report in watched.reports:
        order = by_id[report["order"]]
        same = ("run", "phase", "step", "round")
        said = {name: order.get(name, 0) for name in same} | {"order": order["id"]} | EMPTY_REPORT
        free = {name: report[name] for name in ("status", "code", "finished_at")}
        assert report == said | free
        assert report["status"] in ("refused", "failed")
        assert report["code"] in allowed
        assert isinstance(report["finished_at"], int)
    assert (watched.reports == []) == attack.dropped
    for standing in watched.standings:
        assert set(standing) == {"request", "standing", "decided_at", "version"}
    if attack.stands is not None:
        assert watched.standings[-1]["standing"] == attack.stands
    if not attack.runs_tasks:
        assert watched.tasks == 0
    journalled = [
        entry.get("code") or entry.get("dropped") or entry.get("failed") for entry in watched.journalled()
    ]
    assert allowed & {code for code in journalled if code}, journalled
    assert len([code for code in journalled if code in allowed]) >= len(watched.reports)


POSSIBLE = frozenset({("POST", "/api/host/reports"), ("POST", "/api/host/standings")})
"""What a host may send while it refuses: its answers, and how grants stand."""


def is_question(sent: Any) -> bool:
    """Asking for orders or for bytes of others tells nothing: neither has a body."""
    return sent.method == "GET" and sent.body == b""


def opened(order: Delivered) -> dict[str, Any]:
    """What the order says, as far as it is one and can be read at all."""
    if isinstance(order, Told):
        return {"id": None}
    try:
        content = json.loads(order.text if isinstance(order, Signed) else json.loads(order)["text"])
    except (ValueError, KeyError, TypeError):
        content = {}
    return {"id": None, **content} if isinstance(content, dict) else {"id": None}


def succeeded(scene: Scene, watched: Watched) -> bool:
    """Whether north has done something of what was ordered."""
    orders = {opened(order)["id"] for order in watched.delivered}
    return any(report["order"] in orders and report["status"] == "done" for report in watched.reports)


def play(scene: Scene, attack: Attack) -> Watched:
    """Everything before the attack, and then the attack itself, watched."""
    with scene.policy(attack.policy) if attack.policy else nullcontext(), scene.undoing():
        orders = attack.orders(scene)
        with scene.watched() as watched:
            scene.deliver(*orders)
    return watched
