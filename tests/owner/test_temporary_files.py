"""Temporary files go on every exit: after success, refusal, failure, cancelling, `kill -9` and a restart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fedcore.owner.agent import Agent
from fedcore.owner.orders import OrderStore
from fedcore.owner.spool import OrderSpool
from fedcore.owner.sweeping import delete_what_is_over
from fedcore.owner.tasks import InlineBell
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Status
from fedcore.wire.spec import Protocol
from tests.owner.cast import PLAIN, Cast, Owner, Plan
from tests.owner.playing import agree, do, play


@pytest.fixture
def cast(tmp_path: Path, warmed: None) -> Cast:
    return Cast(tmp_path).settle_in(["north", "south"], rows=200)


@pytest.fixture
def north(cast: Cast) -> Owner:
    return cast.owners[0]


def temporary(owner: Owner) -> list[str]:
    """All files of work in the owner's home, and everything that is half written."""
    spool = [path for path in owner.home.spool.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(owner.home.path)) for path in [*spool, *owner.home.path.rglob(".*")])


def test_after_a_whole_run(cast: Cast, north: Owner, agents: list[Agent]) -> None:
    plan = cast.spec(Protocol.POOLED)
    agree(plan, agents)
    do(plan, agents, Phase.PREPARE, evidence=plan.said(Phase.CONFIRM))
    kept = {name.split("/")[2] for name in temporary(north)}
    assert kept == {"artefacts"}, "until the run is closed, what was sent may be asked for again"
    do(plan, agents, Phase.EVALUATE, artefacts=(plan.pooled_model(),))
    do(plan, agents, Phase.CLOSE, keep=True)
    assert temporary(north) == []
    assert not list(north.home.spool.iterdir())


def test_after_a_local_run_whose_answers_have_no_artefacts(
    cast: Cast, north: Owner, agents: list[Agent]
) -> None:
    plan = cast.spec(Protocol.LOCAL)
    do(plan, agents, Phase.CHECK)
    do(plan, agents, Phase.TRAIN)
    assert not list(north.home.spool.iterdir())


def test_after_a_refusal_at_the_gate(tmp_path: Path, warmed: None) -> None:
    cast = Cast(tmp_path).settle_in(["north"], rows=200, minimum_rows="250")
    plan, agent = cast.spec(Protocol.LOCAL, backend=PLAIN), cast.owners[0].agent()
    do(plan, [agent], Phase.CHECK)
    report = play(plan, agent, plan.order(Phase.TRAIN, cast.owners[0]))
    agent.close()
    assert (report.status, report.code) == (Status.REFUSED, RefusalCode.TOO_FEW_ROWS)
    assert not list(cast.owners[0].home.spool.iterdir())


@pytest.mark.parametrize("code", [RefusalCode.STEP_FAILED, RefusalCode.RESOURCE_LIMIT])
def test_after_a_failure(cast: Cast, north: Owner, code: RefusalCode) -> None:
    class FailingBell(InlineBell):
        def ring(self, kind: str, order_id: str, shard: int) -> None:
            spool = OrderSpool(north.home.spool_directory(order_id))
            spool.explain(shard, "why")
            spool.refuse(shard, code)

    plan, agent = cast.spec(Protocol.LOCAL), north.agent(FailingBell(north.home))
    do(plan, [agent], Phase.CHECK)
    assert play(plan, agent, plan.order(Phase.TRAIN, north)).code is code
    agent.close()
    assert not list(north.home.spool.iterdir())


def test_after_cancelling_work_that_is_under_way(cast: Cast, north: Owner) -> None:
    rung = threading.Event()

    class SilentBell(InlineBell):
        def ring(self, kind: str, order_id: str, shard: int) -> None:
            rung.set()

    plan = cast.spec(Protocol.LOCAL)
    agent = north.agent(SilentBell(north.home))
    do(plan, [agent], Phase.CHECK)
    orders = [plan.order(Phase.TRAIN, north)]
    agent.take(orders[0])
    assert rung.wait(20)
    orders.append(plan.order(Phase.CLOSE, north, keep=False))
    agent.take(orders[1])
    cast.coordinator.wait_for(orders, 20)
    agent.close()
    assert temporary(north) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from fedcore.owner.spool import OrderSpool, replacing
spool = Path(sys.argv[1])
(spool / "artefacts").mkdir(parents=True, exist_ok=True)
with replacing(spool / "shard-0.safetensors") as file:
    file.write(b"rows")
    file.flush()
    with replacing(spool / "artefacts" / "x") as other:
        other.write(b"rows")
        other.flush()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(spool: Path) -> None:
    """A process that is killed with half-written files of work."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(spool)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert list(spool.rglob(".*.part"))


def test_after_kill_9_and_a_restart(cast: Cast, north: Owner) -> None:
    agent = north.agent()
    plan = cast.spec(Protocol.LOCAL)
    do(plan, [agent], Phase.CHECK)
    order = plan.order(Phase.TRAIN, north)
    stored = agent.store.claim(order.open(type(agent.verified(order))), order, 0)  # type: ignore[arg-type]
    agent.close()
    killed_while_writing(north.home.spool_directory(stored.id))
    restarted = north.agent()
    delete_what_is_over(north.home, restarted.store, 0)
    restarted.resume()
    assert cast.coordinator.wait_for([order], 30)[0].status is Status.DONE
    restarted.close()
    assert temporary(north) == []


def test_a_restart_deletes_what_a_killed_agent_had_not_deleted_yet(cast: Cast, north: Owner) -> None:
    """Killed after the answer was sent, or after the run was closed, and before the files went."""
    agent = north.agent()
    plan: Plan = cast.spec(Protocol.LOCAL)
    do(plan, [agent], Phase.CHECK)
    train = play(plan, agent, plan.order(Phase.TRAIN, north))
    play(plan, agent, plan.order(Phase.CLOSE, north, keep=False))
    agent.close()
    killed_while_writing(north.home.spool_directory(train.order))
    killed_while_writing(north.home.path / "predictions" / str(_gone()))
    (north.home.runs / "ab").mkdir()
    (north.home.runs / "ab" / ".state.1.2.part").write_bytes(b"half")
    (north.home.path / ".datasets-1").write_bytes(b"half")
    store = OrderStore(north.home.state_path)
    delete_what_is_over(north.home, store, 0)
    store.close()
    assert temporary(north) == []
    assert not list((north.home.path / "predictions").iterdir())


def test_a_prediction_that_runs_keeps_its_files(cast: Cast, north: Owner) -> None:
    spool = north.home.path / "predictions" / str(os.getpid())
    spool.mkdir(parents=True)
    store = OrderStore(north.home.state_path)
    delete_what_is_over(north.home, store, 0)
    store.close()
    assert spool.exists()


def _gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid
