"""An order's life on the host: what is stored is what is sent, however often, and a crash loses nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedcore.owner.agent import Agent
from fedcore.owner.deciding import Decided
from fedcore.owner.facts import Allowed, Refused
from fedcore.owner.journal import EntryKind, JournalError
from fedcore.owner.orders import Life, OrderStore
from fedcore.owner.spool import OrderSpool
from fedcore.owner.tasks import InlineBell
from fedcore.wire.codes import RefusalCode
from fedcore.wire.keys import SigningKey
from fedcore.wire.orders import Order, Phase
from fedcore.wire.reports import Status, Trained
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Protocol
from tests.owner.cast import PLAIN, Cast, Owner, Plan
from tests.owner.playing import agree, code_of, do, play


@pytest.fixture
def cast(tmp_path: Path, warmed: None) -> Cast:
    return Cast(tmp_path).settle_in(["north", "south"], rows=200)


@pytest.fixture
def north(cast: Cast) -> Owner:
    return cast.owners[0]


class CountingBell(InlineBell):
    """Counts the tasks that are asked for."""

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner.home)
        self.rings = 0

    def ring(self, kind: str, order_id: str, shard: int) -> None:
        self.rings += 1
        super().ring(kind, order_id, shard)


def prepare_order(cast: Cast, agents: list[Agent]) -> tuple[Plan, Signed]:
    plan = cast.spec(Protocol.POOLED)
    agree(plan, agents)
    return plan, plan.order(Phase.PREPARE, cast.owners[0], evidence=plan.said(Phase.CONFIRM))


def test_a_second_delivery_of_an_order_releases_the_same_bytes(cast: Cast, agents: list[Agent]) -> None:
    plan, order = prepare_order(cast, agents)
    play(plan, agents[0], order)
    known = {digest: bytes(data) for digest, data in cast.coordinator.artefacts.items()}
    for _ in range(3):
        agents[0].handle(order)
    about = [
        signed
        for signed in cast.coordinator.every_report
        if signed.digest == cast.coordinator.reports[order.open(Order).id].digest
    ]
    assert len(about) == 4
    assert cast.coordinator.artefacts == known


def test_a_reissued_order_with_another_text_releases_the_same_bytes(cast: Cast, agents: list[Agent]) -> None:
    plan, order = prepare_order(cast, agents)
    play(plan, agents[0], order)
    before = len(cast.coordinator.artefacts)
    again = plan.order(
        Phase.PREPARE,
        cast.owners[0],
        evidence=plan.said(Phase.CONFIRM),
        expires_at=order.open(Order).expires_at + 9,
    )
    agents[0].handle(again)
    assert len({signed.text for signed in cast.coordinator.every_report[-2:]}) == 1
    assert len(cast.coordinator.artefacts) == before


@pytest.mark.parametrize("life", [Life.CLAIMED, Life.RESERVED])
def test_an_order_that_was_not_stored_is_done_again_after_a_restart(
    cast: Cast, north: Owner, agents: list[Agent], life: Life
) -> None:
    plan = cast.spec(Protocol.LOCAL)
    do(plan, agents[:1], Phase.CHECK)
    order = plan.order(Phase.TRAIN, north)
    store = OrderStore(north.home.state_path)
    store.claim(order.open(Order), order, 0)
    if life is Life.RESERVED:
        store.reserve(order.open(Order).id)
    store.close()
    restarted = north.agent()
    restarted.resume()
    report = cast.coordinator.wait_for([order])[0]
    restarted.close()
    assert isinstance(report.result, Trained)


def test_a_stored_answer_is_sent_after_a_restart_without_computing_again(cast: Cast, north: Owner) -> None:
    plan, bell = cast.spec(Protocol.LOCAL), CountingBell(north)
    agent = north.agent(bell)
    do(plan, [agent], Phase.CHECK)
    order = plan.order(Phase.TRAIN, north)
    agent.handle(order)
    agent.store._database.execute("UPDATE orders SET life = 'stored' WHERE phase = 'train'")
    first = cast.coordinator.reports.pop(order.open(Order).id)
    agent.close()
    rings = bell.rings
    restarted = north.agent(bell)
    restarted.resume()
    cast.coordinator.wait_for([order])
    restarted.close()
    assert bell.rings == rings
    assert cast.coordinator.reports[order.open(Order).id] == first


def test_an_agent_that_stops_leaves_work_under_way_to_the_next_one(cast: Cast, north: Owner) -> None:
    plan, stopping = cast.spec(Protocol.LOCAL), threading.Event()

    class StoppingBell(InlineBell):
        def ring(self, kind: str, order_id: str, shard: int) -> None:
            stopping.set()

    agent = north.agent(StoppingBell(north.home), stopping=stopping)
    do(plan, [agent], Phase.CHECK)
    order = plan.order(Phase.TRAIN, north)
    agent.handle(order)
    stored = agent.store.find(order.open(Order).id)
    agent.close()
    assert stored is not None
    assert (stored.life, stored.report) == (Life.RESERVED, None)
    restarted = north.agent()
    restarted.resume()
    cast.coordinator.wait_for([order])
    restarted.close()


def test_closing_a_run_gives_up_what_is_under_way(cast: Cast, north: Owner) -> None:
    plan, rung = cast.spec(Protocol.LOCAL), threading.Event()

    class SilentBell(InlineBell):
        def ring(self, kind: str, order_id: str, shard: int) -> None:
            rung.set()

    agent = north.agent(SilentBell(north.home))
    do(plan, [agent], Phase.CHECK)
    train = plan.order(Phase.TRAIN, north)
    agent.take(train)
    assert rung.wait(20)
    close = plan.order(Phase.CLOSE, north, keep=False)
    agent.take(close)
    ended, closed = cast.coordinator.wait_for([train, close], 20)
    agent.close()
    assert (ended.status, ended.code) == (Status.FAILED, RefusalCode.CANCELLED)
    assert closed.status is Status.DONE
    assert not north.home.run_directory(plan.run).exists()


@pytest.mark.parametrize(
    "code", [RefusalCode.STEP_FAILED, RefusalCode.DATASET_UNREADABLE, RefusalCode.RESOURCE_LIMIT]
)
def test_what_a_worker_fails_with_is_what_leaves(cast: Cast, north: Owner, code: RefusalCode) -> None:
    class FailingBell(InlineBell):
        def ring(self, kind: str, order_id: str, shard: int) -> None:
            OrderSpool(north.home.spool_directory(order_id)).refuse(shard, code)

    plan, agent = cast.spec(Protocol.LOCAL, backend=PLAIN), north.agent(FailingBell(north.home))
    do(plan, [agent], Phase.CHECK)
    report = play(plan, agent, plan.order(Phase.TRAIN, north))
    agent.close()
    assert (report.status, report.code) == (Status.FAILED, code)
    assert not north.home.spool_directory(report.order).exists()


def test_a_run_is_booked_once_with_the_first_order_that_lets_something_leave(
    cast: Cast, north: Owner, agents: list[Agent]
) -> None:
    plan, ledger = cast.spec(Protocol.LOCAL), agents[0].ledger
    grant = plan.grants[north.key].request.digest
    do(plan, agents, Phase.CHECK)
    assert not ledger.booked(grant=grant)
    do(plan, agents, Phase.TRAIN)
    do(plan, agents, Phase.EVALUATE)
    do(plan, agents, Phase.CLOSE)
    assert [entry.subject for entry in ledger.booked(grant=grant)] == [plan.run]
    kinds = [entry.kind for entry in ledger.chain.entries()]
    assert kinds == ["reserved", "released", "released"]


def test_a_run_that_ends_without_an_answer_gives_its_release_back(cast: Cast, north: Owner) -> None:
    class FailingBell(InlineBell):
        def ring(self, kind: str, order_id: str, shard: int) -> None:
            OrderSpool(north.home.spool_directory(order_id)).refuse(shard, RefusalCode.STEP_FAILED)

    plan, agent = cast.spec(Protocol.LOCAL), north.agent(FailingBell(north.home))
    grant = plan.grants[north.key].request.digest
    do(plan, [agent], Phase.CHECK)
    play(plan, agent, plan.order(Phase.TRAIN, north))
    assert len(agent.ledger.booked(grant=grant)) == 1, "until it is closed the run could still be answered"
    play(plan, agent, plan.order(Phase.CLOSE, north))
    assert not agent.ledger.booked(grant=grant)
    agent.close()


def test_what_does_not_come_from_the_coordinator_gets_no_answer_and_leaves_no_trace_but_the_journal(
    cast: Cast, agents: list[Agent]
) -> None:
    plan = cast.spec(Protocol.LOCAL)
    order = plan.order(Phase.CHECK, cast.owners[0])
    eve = order.open(Order).signed_by(SigningKey.generate())
    for_south = plan.order(Phase.CHECK, cast.owners[1])
    renamed = order.open(Order).model_copy(update={"id": "0" * 32}).signed_by(cast.coordinator.key)
    altered = order.model_copy(update={"text": order.text + " "})
    for message in (eve, for_south, renamed, altered):
        assert agents[0].handle(message) is None
    assert not cast.coordinator.reports
    assert not agents[0].store.of_run(plan.run)
    assert len(list(agents[0].journal.entries())) == 4


def test_nothing_leaves_when_the_journal_cannot_be_written(
    cast: Cast, agents: list[Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = cast.spec(Protocol.LOCAL)
    order = plan.order(Phase.CHECK, cast.owners[0])

    def fail(kind: EntryKind, content: Any) -> None:
        raise JournalError("the disk is full")

    monkeypatch.setattr(agents[0].journal, "append", fail)
    monkeypatch.setattr("fedcore.owner.agent._PAUSE_SECONDS", 0.01)
    agents[0].handle(order)
    assert not cast.coordinator.reports
    monkeypatch.undo()
    agents[0].handle(order)
    assert cast.coordinator.report_on(order).status is Status.DONE


def test_a_broken_policy_answers_nobody(cast: Cast, north: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedcore.owner.agent._PAUSE_SECONDS", 0.01)
    plan, agent = cast.spec(Protocol.LOCAL), north.agent()
    order = plan.order(Phase.CHECK, north)
    north.home.config_path.write_text("organisation = 1\n")
    assert agent.handle(order) is None
    assert not cast.coordinator.reports
    agent.close()


def test_too_few_rows_let_nothing_leave(tmp_path: Path, warmed: None) -> None:
    cast = Cast(tmp_path).settle_in(["north", "south"], rows=200, minimum_rows="250")
    agents = [owner.agent() for owner in cast.owners]
    plan, order = prepare_order(cast, agents)
    report = play(plan, agents[0], order)
    assert (report.status, report.code) == (Status.REFUSED, RefusalCode.TOO_FEW_ROWS)
    assert not cast.coordinator.artefacts
    for agent in agents:
        agent.close()


def test_runs_that_were_decided_on_at_once_take_no_more_releases_than_the_grant_has(
    cast: Cast, north: Owner
) -> None:
    """The decision is taken before the work is booked: here all are decided on before the first is booked."""
    agent, one = north.agent(), cast.spec(Protocol.LOCAL, releases=1)
    plans = [one, *(one.again() for _ in range(3))]
    for plan in plans:
        do(plan, [agent], Phase.CHECK)
    orders = [plan.order(Phase.TRAIN, north) for plan in plans]
    deciding = agent._answering._deciding
    decided = [deciding.decide(order.open(Order), order.signer) for order in orders]
    assert all(isinstance(found, Decided) and found.decision == Allowed() for found in decided)
    booking = agent._answering._booking

    def reserve(found: object) -> Refused | None:
        assert isinstance(found, Decided)
        return booking.reserve(found.facts, found.wanted)

    with ThreadPoolExecutor(len(plans)) as pool:
        refused = list(pool.map(reserve, decided))
    assert [found.code for found in refused if found is not None] == [RefusalCode.RELEASES_SPENT] * 3
    winner = refused.index(None)
    assert reserve(decided[winner]) is None, "a run that is booked may go on"
    loser = play(plans[winner - 1], agent, orders[winner - 1])
    assert (loser.status, loser.code) == (Status.REFUSED, RefusalCode.RELEASES_SPENT)
    agent.close()


def test_for_a_scientist_whom_nobody_named_no_plugin_and_no_file_is_looked_at(
    cast: Cast, agents: list[Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options go to the code of plugins, and files take long to read: whoever can sign something could ask for both."""
    looks: list[str] = []
    monkeypatch.setattr(
        "fedcore.owner.deciding.plugin_facts",
        lambda *_: looks.append("plugins") or Refused(RefusalCode.INTERNAL, ""),
    )
    monkeypatch.setattr("fedcore.owner.datasets.Datasets.facts", lambda *_: looks.append("files"))
    plan = cast.spec(Protocol.LOCAL)
    strange = replace(plan, signed=plan.spec.signed_by(SigningKey.generate()))
    assert (
        code_of(strange, agents[0], strange.order(Phase.CHECK, cast.owners[0]))
        is RefusalCode.UNKNOWN_SCIENTIST
    )
    assert looks == []
    known = plan.again()
    code_of(known, agents[0], known.order(Phase.CHECK, cast.owners[0]))
    assert set(looks) == {"plugins", "files"}
