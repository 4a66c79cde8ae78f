"""With `release = "review"` nothing that depends on rows leaves before a person of the host has released it."""

from __future__ import annotations

import json
import os
import pwd
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedcore.owner.agent import Agent
from fedcore.owner.cli import app
from fedcore.owner.home import HomeError
from fedcore.owner.orders import Life, OrderStore
from fedcore.owner.outbox import Outbox
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Order, Phase
from fedcore.wire.reports import Status
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Protocol
from tests.owner.cast import Cast, Owner, Plan
from tests.owner.playing import agree, do


@pytest.fixture
def cast(tmp_path: Path, warmed: None) -> Cast:
    return Cast(tmp_path).settle_in(["north", "south"], rows=200, dataset='release = "review"')


@pytest.fixture
def north(cast: Cast) -> Owner:
    return cast.owners[0]


@pytest.fixture
def store(north: Owner) -> Iterator[OrderStore]:
    store = OrderStore(north.home.state_path)
    yield store
    store.close()


def held_order(plan: Plan, agents: list[Agent]) -> Signed:
    """An order to prepare, which was carried out and whose answer waits."""
    agree(plan, agents)
    order = plan.order(Phase.PREPARE, plan.cast.owners[0], evidence=plan.said(Phase.CONFIRM))
    agents[0].handle(order)
    return order


def command(owner: Owner, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["outbox", *words, "--home", str(owner.home.path)])
    return result.exit_code, result.output


def id_of(order: Signed) -> str:
    return order.open(Order).id


def test_what_depends_on_rows_waits_and_nothing_else_does(cast: Cast, agents: list[Agent]) -> None:
    plan = cast.spec(Protocol.POOLED)
    order = held_order(plan, agents)
    assert len(plan.said(Phase.CONFIRM)) == 2, "phases that say nothing of rows go on"
    stored = agents[0].store.find(id_of(order))
    assert stored is not None
    assert stored.life is Life.HELD
    assert id_of(order) not in cast.coordinator.reports
    assert not cast.coordinator.artefacts
    for _ in range(3):
        agents[0].handle(order)
    agents[0].resume()
    assert not cast.coordinator.artefacts


def test_released_it_leaves_as_it_was_shown(cast: Cast, north: Owner, agents: list[Agent]) -> None:
    order = held_order(cast.spec(Protocol.POOLED), agents)
    before = agents[0].store.find(id_of(order))
    assert before is not None
    assert before.report is not None
    status, shown = command(north, "show", id_of(order)[:8])
    assert status == 0
    assert before.report.digest in shown
    assert command(north, "release", id_of(order)[:8])[0] == 0
    agents[0].handle(order)
    assert cast.coordinator.reports[id_of(order)].text == before.report.text
    assert len(cast.coordinator.artefacts) >= 1
    assert "Nothing waits." in command(north, "list")[1]


def test_refused_it_never_leaves_and_the_coordinator_gets_a_code(
    cast: Cast, north: Owner, agents: list[Agent]
) -> None:
    order = held_order(cast.spec(Protocol.POOLED), agents)
    status, said = command(north, "refuse", id_of(order), "--reason", "too many columns")
    assert (status, "Refused" in said) == (0, True)
    agents[0].handle(order)
    report = cast.coordinator.report_on(order)
    assert (report.status, report.code) == (Status.REFUSED, RefusalCode.RELEASE_REFUSED)
    assert not cast.coordinator.artefacts
    assert not north.home.spool_directory(id_of(order)).exists()
    assert "too many columns" in " ".join(entry.content for entry in agents[0].journal.entries())
    assert "too many columns" not in str([signed.text for signed in cast.coordinator.every_report])


def test_the_list_and_the_view_say_in_plain_words_what_would_leave(
    cast: Cast, north: Owner, agents: list[Agent]
) -> None:
    plan = cast.spec(Protocol.LOCAL)
    do(plan, agents, Phase.CHECK)
    train = plan.order(Phase.TRAIN, north)
    agents[0].handle(train)
    assert id_of(train) in command(north, "list")[1]
    shown = command(north, "show", id_of(train))[1]
    assert "sam" in shown
    assert "security-research" in shown
    assert "curve of loss" in shown
    command(north, "release", id_of(train))
    agents[0].handle(train)
    evaluate = plan.order(Phase.EVALUATE, north)
    agents[0].handle(evaluate)
    counts = command(north, "show", id_of(evaluate))[1]
    assert "held-out rows" in counts
    assert "by a single row" in counts
    assert "class 1" in counts


@pytest.mark.parametrize("words", [("show", "ff" * 16), ("release", ""), ("refuse", "zz")])
def test_an_order_that_does_not_wait_is_told(
    cast: Cast, north: Owner, agents: list[Agent], words: tuple[str, str]
) -> None:
    held_order(cast.spec(Protocol.POOLED), agents)
    status, said = command(north, *words)
    assert status == 1
    assert "`fedcore-owner outbox list` shows them" in said


def test_an_answer_that_waits_survives_a_restart_and_leaves_from_the_next_agent(
    cast: Cast, north: Owner, agents: list[Agent]
) -> None:
    order = held_order(cast.spec(Protocol.POOLED), agents)
    before = agents[0].store.find(id_of(order))
    agents[0].close()
    restarted = north.agent()
    restarted.resume()
    assert restarted.store.find(id_of(order)) == before
    assert not cast.coordinator.artefacts
    command(north, "release", id_of(order))
    restarted.close()
    last = north.agent()
    last.resume()
    cast.coordinator.wait_for([order], 20)
    last.close()
    assert before is not None
    assert before.report is not None
    assert cast.coordinator.reports[id_of(order)].text == before.report.text


def test_the_running_agent_sends_what_was_released_beside_it(
    cast: Cast, north: Owner, agents: list[Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedcore.owner.agent._OUTBOX_SECONDS", 0.05)
    order = held_order(cast.spec(Protocol.POOLED), agents)
    watching = threading.Thread(target=agents[0]._watch_outbox)
    watching.start()
    command(north, "release", id_of(order))
    assert cast.coordinator.wait_for([order], 20)[0].status is Status.DONE
    agents[0].stop()
    watching.join()


def test_when_the_run_is_closed_what_waits_is_dropped(cast: Cast, north: Owner, agents: list[Agent]) -> None:
    plan = cast.spec(Protocol.POOLED)
    order = held_order(plan, agents)
    do(plan, agents, Phase.CLOSE, keep=False)
    agents[0].resume()
    report = cast.coordinator.wait_for([order], 20)[0]
    assert (report.status, report.code) == (Status.FAILED, RefusalCode.CANCELLED)
    assert not cast.coordinator.artefacts
    assert command(north, "release", id_of(order))[0] == 1
    assert not list(north.home.spool.iterdir())


def test_after_the_deadline_nothing_is_released(
    cast: Cast, north: Owner, agents: list[Agent], store: OrderStore
) -> None:
    plan = cast.spec(Protocol.POOLED)
    order = held_order(plan, agents)
    late = Outbox(north.home, store, clock=lambda: plan.spec.deadline)
    with pytest.raises(HomeError, match="Refuse it"):
        late.release(late.find(id_of(order)))
    stored = store.find(id_of(order))
    assert stored is not None
    assert stored.life is Life.HELD


def test_of_two_decisions_the_first_counts(
    cast: Cast, north: Owner, agents: list[Agent], store: OrderStore
) -> None:
    order = held_order(cast.spec(Protocol.POOLED), agents)
    outbox = Outbox(north.home, store)
    waiting = outbox.find(id_of(order))
    outbox.refuse(waiting, "")
    with pytest.raises(HomeError, match="no longer waits"):
        outbox.release(waiting)
    agents[0].handle(order)
    assert cast.coordinator.report_on(order).code is RefusalCode.RELEASE_REFUSED
    assert not cast.coordinator.artefacts


def test_what_waits_is_no_phase_that_was_done(cast: Cast, agents: list[Agent]) -> None:
    plan = cast.spec(Protocol.POOLED)
    held_order(plan, agents)
    assert Phase.PREPARE not in {done.phase for done in agents[0].store.done(plan.run)}


def test_every_decision_of_a_person_is_journalled_with_the_digest_of_the_answer(
    cast: Cast, north: Owner, agents: list[Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "somebody-else")
    order = held_order(cast.spec(Protocol.POOLED), agents)
    command(north, "release", id_of(order))
    agents[0].handle(order)
    entries = [json.loads(entry.content) for entry in agents[0].journal.entries()]
    decided = next(entry for entry in entries if entry.get("released") is True)
    assert decided["report"] == cast.coordinator.reports[id_of(order)].digest
    assert decided["by"] == pwd.getpwuid(os.getuid()).pw_name, "no variable can claim another"
    assert any(entry.get("held") for entry in entries)
