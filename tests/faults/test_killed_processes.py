"""Real processes are killed with `kill -9` during each phase, and the run still finishes; or it ends with an owner's
name, the dataset and the remedy where there is nothing that could go on.

A phase is held by stopping (SIGSTOP) the owners' workers, so that the kill comes in the middle of it. Whatever a
process supervisor would start again, the test does; what the product starts again itself, it leaves alone.
`pytest -m slow tests/faults` kills at random moments for some minutes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from examples.demo.coordinator import answers
from fedcore.client import Refused, RunPlan
from fedcore.owner.journal import Journal
from tests.faults.conftest import Running
from tests.faults.federation import DATASET, Federation

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("federation")]

WORKER: Final = "fedcore.owner.worker"
PHASES: Final = ("prepare", "train", "evaluate")
TARGETS: Final = ("the owner's worker", "the agent", "the coordinator's worker", "the web process")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("target", TARGETS)
def test_a_run_finishes_though_a_process_is_killed(running: Running, target: str, phase: str) -> None:
    federation = running.federation
    plan = long_training(running) if phase != "prepare" else running.pooled
    with held_at(running, plan, phase) as run:
        kill(federation, target)
        restart(federation, target)
    ended = federation.finish(run)
    assert (ended["state"], ended["message"]) == ("finished", "The run has finished.")
    assert federation.session("sam").report(run)["metrics"]["rows"] > 0


@pytest.mark.parametrize("target", ["the owner's worker", "the agent"])
def test_an_owners_own_training_is_done_again_after_a_kill(running: Running, target: str) -> None:
    federation = running.federation
    with held_at(running, running.local, "train") as run:
        kill(federation, target)
        restart(federation, target)
    assert federation.finish(run)["state"] == "finished"


def test_a_worker_that_is_killed_in_the_middle_of_a_task_costs_only_time(running: Running) -> None:
    """Killed when the first task is claimed: its message is lost with it, and the agent has the task done again."""
    federation = running.federation
    run = running.submit(running.pooled)
    spool = federation.north.home / "spool"
    federation.until("a task is taken up", lambda: any(spool.glob("*/shard-*.claim")), 60, every=0.001)
    kill(federation, "the owner's worker")
    assert federation.finish(run)["state"] == "finished"


def test_both_owners_and_the_coordinator_may_fall_at_once(running: Running) -> None:
    federation = running.federation
    with held_at(running, running.pooled, "prepare") as run:
        for target in TARGETS:
            kill(federation, target)
        kill_host(federation, federation.south.name)
        for target in ("the agent", "the coordinator's worker", "the web process"):
            restart(federation, target)
        federation.start_host(federation.south)
    assert federation.finish(run)["state"] == "finished"


def test_a_broker_that_loses_all_messages_costs_only_time(running: Running) -> None:
    from tests.faults.federation import broker_at

    federation = running.federation
    with held_at(running, running.pooled, "prepare") as run:
        for some in (federation.cast.operator, *federation.cast.owners):
            broker_at(some.home / "broker").flushall()
    assert federation.finish(run)["state"] == "finished"


def test_an_owner_that_is_away_ends_the_run_at_its_deadline(running: Running) -> None:
    federation = running.federation
    with federation.held("fedcore-owner", [federation.north]):
        run = running.submit(running.pooled, seconds=45)
        ended = federation.finish(run, 150)
    assert (ended["state"], ended["code"]) == ("expired", "owner_away")
    assert ended["culprit"]["host_name"] == federation.north.name
    assert ended["culprit"]["dataset"] == DATASET
    assert f"{federation.north.name} ({DATASET}): " in ended["message"]
    assert "Ask the owner to start it." in ended["message"]
    assert federation.finish(running.submit(running.pooled))["state"] == "finished"


def remove(log: Path) -> None:
    log.rename(log.with_suffix(".away"))


def spoil(log: Path) -> None:
    log.write_text("this is, no, access, log\n" * 500)


def empty(log: Path) -> None:
    log.write_text("")


@pytest.mark.parametrize(
    ("harm", "code", "remedy"),
    [
        (remove, "dataset_unreadable", "`fedcore-owner check`"),
        (spoil, "dataset_unreadable", "`fedcore-owner check`"),
        (empty, "dataset_empty", "Ask the owner to look at its files."),
    ],
    ids=["a missing file", "a wrong column", "an empty dataset"],
)
def test_a_dataset_that_cannot_be_used_ends_the_run_with_the_owner_the_dataset_and_the_remedy(
    running: Running, harm: Callable[[Path], None], code: str, remedy: str
) -> None:
    federation = running.federation
    log = federation.north.directory / "access.log"
    with as_it_was(federation, log):
        harm(log)
        ended = federation.finish(running.submit(running.pooled), 60)
    assert (ended["state"], ended["code"]) == ("failed", code)
    assert ended["message"].startswith(f"{federation.north.name} ({DATASET}): ")
    assert remedy in ended["message"]
    assert str(log) not in str(ended), "paths stay in the owner's own log"
    assert f"[datasets.{DATASET}]" in last_refusal(federation.north.home)


def test_a_column_that_no_dataset_has_is_refused_before_anybody_works(running: Running) -> None:
    federation = running.federation
    plan = federation.plan(pipeline=federation.pipeline("no_such_column"))
    with pytest.raises(Refused) as refused:
        running.federation.submit(plan, federation.grants(plan))
    assert "no column no_such_column" in str(refused.value)
    assert DATASET in str(refused.value)


@pytest.mark.slow
def test_runs_finish_while_processes_are_killed_at_random(running: Running) -> None:
    """Ten runs; during each, processes are killed at random moments. `FEDCORE_SEED` draws others."""
    federation, chance = running.federation, random.Random(int(os.environ.get("FEDCORE_SEED", "7")))
    for _ in range(10):
        run = running.submit(long_training(running))
        for _ in range(3):
            time.sleep(chance.uniform(0.1, 4))
            target = chance.choice(TARGETS)
            kill(federation, target)
            restart(federation, target)
        assert federation.finish(run, 240)["state"] == "finished"


@contextmanager
def held_at(running: Running, plan: RunPlan, phase: str) -> Iterator[str]:
    """A run that stands still in this phase: its owners' workers do nothing, or its long training goes on."""
    federation = running.federation
    trains_alone = phase == "train" and plan is running.local
    by_owners = phase == "prepare" or trains_alone
    held = federation.held(WORKER, federation.cast.owners)
    with held if by_owners else nullcontext():
        run = running.submit(plan)
        in_phase(federation, run, phase if by_owners else "train")
        with held if phase == "evaluate" else nullcontext():
            in_phase(federation, run, phase)
            yield run


def in_phase(federation: Federation, run: str, phase: str) -> None:
    sam = federation.session("sam")

    def there() -> bool:
        found = sam.run(run)
        # The training has begun when the first steps are told of.
        return found["phase"] == phase and (
            found["protocol"] != "pooled" or phase != "train" or "step" in found["message"]
        )

    federation.until(f"the run is in {phase}", there, 90)


def long_training(running: Running) -> RunPlan:
    """The same run, with a training of some seconds."""
    return running.federation.plan(training=running.federation.training(epochs=60))


def kill(federation: Federation, target: str) -> None:
    """`kill -9`: of north's worker with all its processes, of north's agent, or of one process of the coordinator."""
    if target == "the owner's worker":
        for pid in federation.pids(WORKER, federation.north):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    elif target == "the agent":
        kill_host(federation, federation.north.name)
    else:
        federation.kill(federation.parts["web" if target == "the web process" else "worker"])


def kill_host(federation: Federation, name: str) -> None:
    federation.kill(federation.hosts[name])


def restart(federation: Federation, target: str) -> None:
    """What systemd would do. A host's worker is started again by its own agent."""
    if target == "the agent":
        federation.start_host(federation.north)
    elif target == "the web process":
        federation.start_part("web")
        federation.until("the coordinator answers", lambda: answers(federation.url), 60)
    elif target == "the coordinator's worker":
        federation.start_part("worker")


def last_refusal(home: Path) -> str:
    """What the host's own journal says about the order that it refused last."""
    with Journal(home / "journal.sqlite") as journal:
        decisions = [json.loads(entry.content) for entry in journal.entries() if entry.kind == "decision"]
    return str([decision["why"] for decision in decisions if not decision["allowed"]][-1])


@contextmanager
def as_it_was(federation: Federation, log: Path) -> Iterator[None]:
    """The log's content comes back at the end, and the dataset is offered again as the version that it was."""
    content, version = log.read_bytes(), federation.datasets[0].version
    try:
        yield
    finally:
        log.write_bytes(content)
        log.with_suffix(".away").unlink(missing_ok=True)
        federation.until("the dataset is offered again", lambda: offered(federation, version), 60, every=0.5)


def offered(federation: Federation, version: str) -> bool:
    found: list[Any] = federation.session("clara").datasets()
    return any(dataset.version == version for dataset in found)
