"""Five thousand orders that an owner's host must not carry out, from a scripted coordinator into the real agent.

The other half of the ten thousand is in `test_mutated_messages.py`. The home, the keys, the policy, the journal
and the work are real; what is counted is what the agent has done, not what it answered. Journal and state are kept in
memory by the system (no sync to the disk for each entry), which changes when something is durable and nothing else.
"""

from __future__ import annotations

import json
import logging
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fedcore.owner.agent import Agent
from fedcore.owner.tasks import InlineBell
from fedcore.wire.encoding import WireError, check_json
from fedcore.wire.orders import Order, Phase
from fedcore.wire.reports import Status
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Protocol
from tests.faults.mutations import Mutant, mutants_of
from tests.faults.wrong_orders import Wrong, signed_order, wrong_evidence, wrongs
from tests.owner.cast import Cast, Owner, Plan
from tests.owner.playing import agree, do

SEED = int(os.environ.get("FEDCORE_SEED", "2021"))
AT_ONCE = 200

pytestmark = pytest.mark.xdist_group("mutations")


class CountingBell(InlineBell):
    """Has each task done at once, and counts them."""

    rings = 0

    def ring(self, kind: str, order_id: str, shard: int) -> None:
        self.rings += 1
        super().ring(kind, order_id, shard)


@dataclass
class Host:
    """North's host: the agent under test, and the coordinator that it asks."""

    cast: Cast
    owner: Owner
    agent: Agent
    peer: Agent
    bell: CountingBell
    delivered: int = 0

    @property
    def agents(self) -> list[Agent]:
        return [self.agent, self.peer]

    def deliver(self, *envelopes: bytes) -> None:
        """Give the agent these orders in one answer, and wait until it has answered those that are its own."""
        self.delivered += len(envelopes)
        body = b'{"cursor":1,"orders":[' + b",".join(envelopes) + b"]}"
        self.cast.coordinator._orders = lambda *_: (200, {}, body)  # type: ignore[method-assign]
        self.agent.ask(0)

    def deliver_signed(self, orders: list[Signed]) -> None:
        """Orders that the agent decides on; returns when it has answered all of them."""
        for start in range(0, len(orders), AT_ONCE):
            some = orders[start : start + AT_ONCE]
            self.deliver(*(signed.encode().encode() for signed in some))
            self.cast.coordinator.wait_for([signed for signed in some if self.is_own(signed)])

    def settle(self) -> None:
        """Wait until the agent's threads have finished with every order that they were given."""
        until = time.monotonic() + 30
        while self.agent._in_hand and time.monotonic() < until:
            time.sleep(0.01)
        assert not self.agent._in_hand

    def is_own(self, signed: Signed) -> bool:
        return signed.open(Order).audience == self.owner.key

    def effects(self) -> dict[str, Any]:
        """Everything that carrying out an order leaves: work, files, releases, and answers that say `done`."""
        home, coordinator = self.owner.home, self.cast.coordinator
        reports = [signed for signed in coordinator.reports.values() if signed.signer == self.owner.key]
        releases = [entry.head for entry in self.agent.ledger.chain.entries()]
        return {
            "tasks": self.bell.rings,
            "files": {
                path: path.stat().st_size for folder in (home.runs, home.spool) for path in folder.rglob("*")
            },
            "releases": sorted(releases),
            "done": {s.digest for s in reports if json.loads(s.text)["status"] == Status.DONE},
            "uploads": set(coordinator.artefacts),
        }

    def journalled(self) -> int:
        """Orders that the journal has: those that were decided on, and those that were dropped, of which it counts
        most together."""
        self.agent._dropping.close()
        said = [json.loads(entry.content) for entry in self.agent.journal.entries() if entry.kind == "order"]
        named = sum(content.keys() != {"besides"} for content in said)
        return named + sum(sum(content.get("besides", {}).values()) for content in said)


@pytest.fixture
def host(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Host]:
    caplog.set_level(logging.CRITICAL, "fedcore")
    cast = Cast(tmp_path).settle_in(["north", "south"], rows=300)
    owner = cast.owners[0]
    bell = CountingBell(owner.home)
    host = Host(cast, owner, owner.agent(bell), cast.owners[1].agent(), bell)
    for agent in host.agents:
        agent.journal._database.execute("PRAGMA synchronous = OFF")
        agent.store._database.execute("PRAGMA synchronous = OFF")
    yield host
    for agent in host.agents:
        agent.close()


def test_over_four_thousand_mutated_orders_have_no_effect(host: Host) -> None:
    chance, plan = random.Random(SEED), host.cast.spec(Protocol.POOLED)
    before = host.effects()
    for phase in (Phase.CHECK, Phase.OFFER, Phase.PREPARE, Phase.EVALUATE, Phase.CLOSE):
        order = plan.order(phase, host.owner).open(Order)
        mutants = list(mutants_of(order, host.cast.coordinator.key, chance, 840))
        whole = [mutant for mutant in mutants if is_envelope(mutant)]
        for start in range(0, len(whole), AT_ONCE):
            host.deliver(*(mutant.body for mutant in whole[start : start + AT_ONCE]))
        for mutant in mutants:
            if not is_envelope(mutant):
                with pytest.raises(WireError):
                    host.deliver(mutant.body)
    host.settle()
    assert host.effects() == before
    assert host.delivered >= 4_200
    assert host.journalled() == host.delivered
    assert host.agent.store.unfinished() == []


def test_what_the_coordinator_may_not_order_has_no_effect_though_it_has_signed_it(host: Host) -> None:
    chance, plan = random.Random(SEED), host.cast.spec(Protocol.POOLED)
    single = wrongs(host.cast, plan)
    pairs = [chance.choice(single).and_also(chance.choice(single)) for _ in range(250)]
    before = host.effects()
    host.deliver_signed([signed_order(plan, host.owner, wrong) for wrong in [*single, *pairs]])
    assert host.effects() == before
    assert host.journalled() == host.delivered


def test_evidence_that_was_tampered_with_ends_a_run_before_anything_is_computed(host: Host) -> None:
    elsewhere = host.cast.spec(Protocol.POOLED)
    agree(elsewhere, host.agents)
    south = host.cast.owners[1]
    for phase, needed in (
        (Phase.SHARE, (Phase.OFFER,)),
        (Phase.CONFIRM, (Phase.OFFER, Phase.SHARE)),
        (Phase.PREPARE, (Phase.CONFIRM,)),
    ):
        there = tuple(report for before in needed for report in elsewhere.said(before))
        for number in range(10):
            plan = host.cast.spec(Protocol.POOLED)
            agree_until(plan, host.agents, phase)
            good = tuple(report for before in needed for report in plan.said(before))
            wrong = list(wrong_evidence(good, there, south))[number]
            before = host.effects()
            host.deliver_signed([plan.order(phase, host.owner, evidence=wrong)])
            after = host.effects()
            assert without_notes(after) == without_notes(before), (phase, number)


def test_replayed_orders_are_answered_with_the_same_bytes_and_no_work(host: Host) -> None:
    plan = host.cast.spec(Protocol.POOLED)
    agree(plan, host.agents)
    do(plan, host.agents, Phase.PREPARE, evidence=plan.said(Phase.CONFIRM))
    orders = [signed for id, audience, signed in host.cast.coordinator.orders if audience == host.owner.key]
    before, sent = host.effects(), len(host.cast.coordinator.every_report)
    for _ in range(20):
        host.deliver_signed(orders)
    assert host.effects() == before
    again = host.cast.coordinator.every_report[sent:]
    assert len({signed.encode() for signed in again}) <= len(orders)


def test_an_order_with_nothing_wrong_has_every_effect(host: Host) -> None:
    plan = host.cast.spec(Protocol.POOLED)
    before = host.effects()
    order = signed_order(plan, host.owner, Wrong("nothing"))
    host.deliver_signed([order])
    assert changed(before, host.effects()) == {"files", "done"}
    agree(plan, host.agents)
    before = host.effects()
    do(plan, host.agents, Phase.PREPARE, evidence=plan.said(Phase.CONFIRM))
    assert changed(before, host.effects()) == {"tasks", "files", "releases", "done", "uploads"}


def agree_until(plan: Plan, agents: list[Agent], phase: Phase) -> None:
    """The phases of the agreement before `phase`, by both owners."""
    do(plan, agents, Phase.CHECK)
    do(plan, agents, Phase.OFFER)
    if phase is not Phase.SHARE:
        do(plan, agents, Phase.SHARE, evidence=plan.said(Phase.OFFER))
    if phase is Phase.PREPARE:
        do(plan, agents, Phase.CONFIRM, evidence=plan.said(Phase.OFFER) + plan.said(Phase.SHARE))


def without_notes(effects: dict[str, Any]) -> dict[str, Any]:
    """Effects but for what is written before the evidence is looked at: the release that is booked when the work
    is taken on, and the notes of an agreement that then fails."""
    notes = {"agreement.json", "contribution.key"}
    files = {
        path: size for path, size in effects["files"].items() if path.name not in notes and path.is_file()
    }
    return {**effects, "files": files, "releases": None}


def is_envelope(mutant: Mutant) -> bool:
    """Whether it can stand in a list of orders without spoiling the others."""
    try:
        return isinstance(json.loads(check_json(mutant.body)), dict)
    except WireError:
        return False


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in after if after[name] != before[name]}
