"""Ten thousand messages that are not what the coordinator signed, through the endpoint into the real agent.

What counts are side effects, not replies: nothing is claimed, computed, kept or sent.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedcore.owner.agent import Agent
from fedcore.owner.dropping import EACH
from fedcore.owner.journal import Journal
from fedcore.owner.tasks import InlineBell
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import SigningKey
from fedcore.wire.orders import Order, Phase
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Protocol
from tests.owner.cast import Cast, Owner, Plan

MESSAGES = 10_000
AT_ONCE = 500

Change = Callable[[random.Random, Signed, Plan], dict[str, Any]]


class SilentBell(InlineBell):
    """Counts what workers are asked to do, and does nothing."""

    rings = 0

    def ring(self, kind: str, order_id: str, shard: int) -> None:
        self.rings += 1


@pytest.fixture
def cast(tmp_path: Path) -> Cast:
    return Cast(tmp_path).settle_in(["north", "south"], rows=50)


def flipped(rng: random.Random, signed: Signed, plan: Plan) -> dict[str, Any]:
    """One character of the signed text is another."""
    place = rng.randrange(len(signed.text))
    other = chr(rng.choice([value for value in range(32, 126) if chr(value) != signed.text[place]]))
    return {**envelope(signed), "text": signed.text[:place] + other + signed.text[place + 1 :]}


def cut(rng: random.Random, signed: Signed, plan: Plan) -> dict[str, Any]:
    return {**envelope(signed), "text": signed.text[: rng.randrange(len(signed.text))]}


def with_another_signature(rng: random.Random, signed: Signed, plan: Plan) -> dict[str, Any]:
    place = rng.randrange(80)
    letter = "A" if signed.signature[place] != "A" else "B"
    return {
        **envelope(signed),
        "signature": signed.signature[:place] + letter + signed.signature[place + 1 :],
    }


def by_a_stranger(rng: random.Random, signed: Signed, plan: Plan) -> dict[str, Any]:
    return envelope(signed.open(Order).signed_by(SigningKey.generate()))


def by_the_scientist(rng: random.Random, signed: Signed, plan: Plan) -> dict[str, Any]:
    return envelope(signed.open(Order).signed_by(plan.cast.sam))


def for_another_host(rng: random.Random, signed: Signed, plan: Plan) -> dict[str, Any]:
    changed = signed.open(Order).model_copy(update={"audience": plan.cast.owners[1].key})
    return envelope(changed.signed_by(plan.cast.coordinator.key))


def with_another_identity(rng: random.Random, signed: Signed, plan: Plan) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": f"{rng.getrandbits(128):032x}",
        "run": f"{rng.getrandbits(256):064x}",
        "round": rng.randrange(1, 1000),
        "step": rng.randrange(1, 31),
    }
    name = rng.choice(list(fields))
    changed = signed.open(Order).model_copy(update={name: fields[name]})
    return envelope(changed.signed_by(plan.cast.coordinator.key))


def with_unknown_fields(rng: random.Random, signed: Signed, plan: Plan) -> dict[str, Any]:
    return {**envelope(signed), f"x{rng.randrange(1000)}": rng.random()}


def of_another_form(rng: random.Random, signed: Signed, plan: Plan) -> dict[str, Any]:
    values: list[Any] = [None, 1, True, [], {}, "", "x" * 50, -1, 0.5]
    return {**envelope(signed), rng.choice(["text", "signer", "signature"]): rng.choice(values)}


CHANGES: list[Change] = [
    flipped,
    cut,
    with_another_signature,
    by_a_stranger,
    by_the_scientist,
    for_another_host,
    with_another_identity,
    with_unknown_fields,
    of_another_form,
]


def envelope(signed: Signed) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(signed.encode())
    return content


def traces(owner: Owner, agent: Agent, plan: Plan) -> dict[str, object]:
    return {
        "orders": agent.store.of_run(plan.run) + agent.store.unfinished(),
        "runs": list(owner.home.runs.iterdir()),
        "spool": list(owner.home.spool.iterdir()),
        "reports": list(plan.cast.coordinator.reports),
        "artefacts": list(plan.cast.coordinator.artefacts),
    }


def besides(contents: list[dict[str, Any]]) -> int:
    return sum(sum(content.get("besides", {}).values()) for content in contents)


def test_ten_thousand_bad_messages_have_no_effect(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, north = random.Random(7), cast.owners[0]
    plan, bell = cast.spec(Protocol.POOLED), SilentBell(north.home)
    agent = north.agent(bell)
    phases = (Phase.CHECK, Phase.OFFER, Phase.PREPARE, Phase.EVALUATE, Phase.CLOSE)
    good = [plan.order(phase, north) for phase in phases]
    monkeypatch.setattr("fedcore.owner.agent._FIRST_PAUSE", 0.0)
    cast.coordinator.orders.clear()
    before = traces(north, agent, plan)
    sent = 0
    while sent < MESSAGES:
        batch = [rng.choice(CHANGES)(rng, rng.choice(good), plan) for _ in range(AT_ONCE)]
        answer = json.dumps({"cursor": 1, "orders": batch}).encode()
        monkeypatch.setattr(cast.coordinator, "_orders", lambda *_, answer=answer: (200, {}, answer))
        agent.ask(0)
        sent += len(batch)
    assert traces(north, agent, plan) == before
    assert bell.rings == 0
    agent.close()
    with Journal(north.home.journal_path) as journal:
        contents = [json.loads(entry.content) for entry in journal.entries()]
        assert journal.verify() < 2 * EACH, "they do not fill the disk"
    assert sum("dropped" in content for content in contents) >= EACH
    assert sum("dropped" in content for content in contents) + besides(contents) == sent


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b'{"cursor": -1, "orders": []}',
        b'{"cursor": 1, "orders": {}}',
        b"\xff",
        b"[" * 99999,
    ],
)
def test_an_answer_that_is_no_list_of_orders_stops_nothing(cast: Cast, answer: bytes) -> None:
    agent = cast.owners[0].agent()
    cast.coordinator._orders = lambda *_: (200, {}, answer)  # type: ignore[method-assign,assignment]
    with pytest.raises(WireError):
        agent.ask(0)
    agent.close()
