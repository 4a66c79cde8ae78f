"""Runs on shares between real processes: as good as on plaintext, nobody holds two sides, and what dies ends
cleanly."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from examples.demo.organisations import Organisation
from fedcore.client import Refused, RunPlan
from fedcore.sharing.masking import MaskKeys
from fedcore.wire.keys import read_secret
from fedcore.wire.spec import Pipeline, PluginChoice, Training
from tests.faults.conftest import Running
from tests.faults.federation import Federation, pids_below
from tests.faults.test_killed_processes import kill, restart

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("federation")]

_COLUMNS = 256
_PIECE = 4 * 1024 * 1024


@dataclass
class Sharing:
    """The federation with a grant that covers these runs."""

    federation: Federation
    plan: RunPlan
    grants: list[str]

    def submit(self, epochs: int = 6) -> str:
        return self.federation.submit(
            self.plan.with_seed(7) if epochs == 6 else long(self.plan, epochs), self.grants
        )


def long(plan: RunPlan, epochs: int) -> RunPlan:
    """A training of many small steps, so small that no score leaves its range."""
    slow = PluginChoice(name="sgd", options={"lr": 0.01})
    changes = {"epochs": epochs, "batch_size": 100, "optimiser": slow, "loss": "squared_error"}
    return replace(plan, training=plan.training.model_copy(update=changes))


@pytest.fixture(scope="module")
def sharing(running: Running) -> Sharing:
    federation = running.federation
    dealer = next(host for host in federation.session("sam").hosts() if host.is_dealer)
    steps = federation.pipeline().steps[:-1]
    pipeline = Pipeline(steps=(*steps, PluginChoice(name="hash_columns", options={"columns": _COLUMNS})))
    training = Training(
        optimiser=PluginChoice(name="sgd", options={"lr": 4.0, "momentum": 0.5}),
        batch_size=128,
        epochs=6,
        seed=7,
    )
    plan = federation.plan(pipeline=pipeline, training=training)
    shared = plan.as_shared(dealer.card.signing)
    reference = plan.as_reference(dealer.card.signing)
    return Sharing(federation, shared, federation.grants(shared, reference))


def test_a_model_trained_on_shares_is_as_good_as_one_on_plaintext(sharing: Sharing) -> None:
    federation, sam = sharing.federation, sharing.federation.session("sam")
    reference = sharing.plan.as_reference(sharing.plan.dealer or "")
    runs = [sharing.submit(), federation.submit(reference, sharing.grants)]
    ended = [federation.finish(run) for run in runs]
    assert [run["state"] for run in ended] == ["finished"] * 2, [run["message"] for run in ended]
    shared, plain = (sam.report(run)["metrics"] for run in runs)
    # Which tokens share a column depends on the run's key, so the two differ as any two keys do.
    assert abs(shared["roc_auc"] - plain["roc_auc"]) < 0.05
    assert shared["roc_auc"] > 0.8
    report = sam.report(runs[0])
    assert report["backend"]["leakage"] == ["how many numbers there are"]
    assert report["training"]["loss"] == []


def test_while_two_owners_train_no_process_holds_what_would_make_two_sides(sharing: Sharing) -> None:
    """While two owners train, the memory and files of all processes are searched for keys and rows that are not
    theirs."""
    federation = sharing.federation
    north, south = federation.cast.owners
    with training(sharing) as run:
        norths, souths = keys_of(north, run), keys_of(south, run)
        rows = masked_rows(north, run)
        found = {
            some.name: search(some, [*norths.both, *souths.both, rows]) for some in federation.cast.hosts
        }
        found["coordinator"] = search(federation.cast.operator, [*norths.both, *souths.both, rows])
    # The search finds what is there: each compute owner's own side of the other's rows.
    assert {souths.first} <= found[north.name] & {*souths.both}
    assert {norths.second} <= found[south.name] & {*norths.both}
    # The dealer had all keys while it dealt, and never a masked row.
    assert rows not in found[federation.cast.reference.name]
    assert souths.second not in found[north.name]
    assert norths.first not in found[south.name]
    assert rows in found[south.name]
    assert found["coordinator"] == set()


def test_a_training_on_shares_outlives_the_process_that_carries_it(sharing: Sharing) -> None:
    federation = sharing.federation
    with training(sharing, cancel=False) as run:
        kill(federation, "the web process")
        restart(federation, "the web process")
    ended = federation.finish(run, 180)
    assert ended["state"] == "finished", ended["message"]


@pytest.mark.parametrize("target", ["the owner's worker", "the agent"])
def test_a_training_on_shares_whose_process_dies_ends_and_is_not_begun_again(
    sharing: Sharing, target: str
) -> None:
    federation = sharing.federation
    with training(sharing, cancel=False) as run:
        kill(federation, target)
        restart(federation, target)
    ended = federation.finish(run, 180)
    assert (ended["state"], ended["code"]) in {
        ("failed", code) for code in ("worker_lost", "mask_reused", "owner_away", "key_agreement_failed")
    }
    federation.until("the host is up", lambda: federation.pids("fedcore.owner.worker", federation.north), 60)
    assert federation.finish(sharing.submit(), 180)["state"] == "finished"


def test_a_cancelled_training_on_shares_ends_at_both_owners(sharing: Sharing) -> None:
    federation = sharing.federation
    with training(sharing) as run:
        pass
    for owner in federation.cast.owners:
        federation.until("the pipes are gone", lambda owner=owner: not pipes(owner), 60)  # type: ignore[misc]
        federation.until("the keys are gone", lambda owner=owner: not keys_left(owner, run), 60)  # type: ignore[misc]
    assert federation.finish(sharing.submit(), 180)["state"] == "finished"


@dataclass(frozen=True)
class Keys:
    first: bytes
    second: bytes

    @property
    def both(self) -> tuple[bytes, bytes]:
        return self.first, self.second


@contextmanager
def training(sharing: Sharing, cancel: bool = True) -> Iterator[str]:
    """A run whose two compute owners are in the middle of a long training; it is cancelled afterwards."""
    federation = sharing.federation
    run = sharing.submit(epochs=600)

    def both() -> bool:
        ended = federation.session("sam").run(run)["state"] in ("failed", "expired")
        assert not ended, federation.session("sam").run(run)
        return all(pipes(owner) for owner in federation.cast.owners)

    federation.until("both owners train", both, 120)
    try:
        yield run
        found = federation.session("sam").run(run)
        assert not cancel or found["state"] == "running", found["message"]
    finally:
        if cancel:
            with suppress(Refused):  # It has ended already.
                federation.session("sam").cancel(run)
            federation.finish(run)


def pipes(owner: Organisation) -> list[Path]:
    return list((owner.home / "spool").glob("*/to-peer"))


def keys_left(owner: Organisation, run: str) -> list[Path]:
    return list((owner.home / "runs" / run).glob("*.key"))


def keys_of(owner: Organisation, run: str) -> Keys:
    """The keys of both sides for the first part of an owner's rows."""
    pair = MaskKeys.of_part(read_secret(owner.home / "runs" / run / "mask.key"), 0)
    return Keys(pair.first, pair.second)


def masked_rows(owner: Organisation, run: str) -> bytes:
    """Some bytes of an owner's masked rows: uniformly random, so that they stand nowhere else."""
    kept = (owner.home / "runs" / run / "share-0.bin").read_bytes()
    return kept[2048:2112]


def search(some: Organisation, wanted: list[bytes]) -> set[bytes]:
    """Which of these bytes stand in a file or in the memory of a process of an organisation."""
    found: set[bytes] = set()
    for path in some.home.rglob("*"):
        if path.is_file():
            with suppress(OSError):
                found |= within(path.read_bytes(), wanted)
    for pid in pids_below(some.directory):
        for piece in memory_of(pid):
            found |= within(piece, wanted)
    return found


def within(data: bytes, wanted: list[bytes]) -> set[bytes]:
    return {each for each in wanted if each in data}


def memory_of(pid: int) -> Iterator[bytes]:
    """What a process has written to its memory, in pieces that overlap."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if match and "/dev/" not in line:
                yield from pieces(pid, int(match[1], 16), int(match[2], 16))


def pieces(pid: int, start: int, end: int) -> Iterator[bytes]:
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for place in range(start, end, _PIECE):
            with suppress(OSError, OverflowError):
                memory.seek(place)
                yield memory.read(min(_PIECE + 128, end - place))
