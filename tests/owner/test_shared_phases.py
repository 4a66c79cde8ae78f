"""What one host does in a run on shares so that nothing serves twice, nothing stays, and nobody is flooded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedcore.owner import sharing_phases
from fedcore.owner.description import Kind, Work
from fedcore.owner.isolation import WorkFailed
from fedcore.owner.relay_session import MOST_KEPT, MOST_UNSAID, Session
from fedcore.owner.run_folder import RunFolder
from fedcore.owner.shards import Shards
from fedcore.owner.spending import tells_of_rows
from fedcore.owner.spool import OrderSpool
from fedcore.sharing.plan import SharedPlan, plan_of
from fedcore.sharing.scales import Scales
from fedcore.wire.channel import Channel
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import SigningKey
from fedcore.wire.orders import Phase
from fedcore.wire.relay import Greeting
from fedcore.wire.reports import Report, Status
from fedcore.wire.spec import Protocol
from tests.owner.cast import ON_SHARES
from tests.owner.policy_cases import POOLED, SHARED
from tests.owner.test_shards import ORDER, ScriptedBell, a_work

RUN = "ab" * 32


def a_plan(rows: int = 2000, columns: int = 10, epochs: int = 3) -> SharedPlan:
    training = ON_SHARES.model_copy(update={"epochs": epochs, "batch_size": 100})
    return plan_of(training, Scales(13, 6), columns, [rows])


# -- once


def test_a_training_on_shares_is_begun_once_in_a_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.use_shares()
    with pytest.raises(WireError) as refused:
        RunFolder(tmp_path / "run").use_shares()
    assert refused.value.code is RefusalCode.MASK_REUSED


def test_a_training_on_shares_whose_worker_is_lost_is_not_begun_again(tmp_path: Path) -> None:
    work = a_work(1).model_copy(update={"kind": Kind.TRAIN_SHARES})
    spool = OrderSpool(tmp_path)

    def lost(spool: OrderSpool, shard: int) -> None:
        spool.claim(shard)
        spool.lose(shard)

    bell = ScriptedBell(spool, lost)
    with pytest.raises(WorkFailed) as failed:
        Shards(spool, ORDER, work, bell).compute(lambda: None, poll=0.001)
    assert failed.value.code is RefusalCode.WORKER_LOST
    assert bell.rings == [0]


def test_other_work_is_done_again(tmp_path: Path) -> None:
    kinds = set(Kind) - {Kind.TRAIN_SHARES}
    works: list[Work] = [a_work(1).model_copy(update={"kind": kind}) for kind in kinds]
    assert {work.attempts for work in works} == {3}


# -- nothing stays


def test_secrets_and_shares_go_with_the_end_of_a_run_also_where_its_model_is_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.mask_secret(create=True)
    folder.deal_secret(create=True)
    folder.run_key(create=True)
    folder.keep_share(0, b"masked")
    folder.keep_share(1, b"masked")
    folder.keep_model(b"model")
    assert folder.close(keep=True)
    assert sorted(path.name for path in folder.directory.iterdir()) == ["model.safetensors", "run.key"]


def test_parts_of_an_earlier_attempt_do_not_stay_beside_those_of_the_next(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.mask_secret(create=True)
    for part in range(3):
        folder.keep_share(part, b"earlier")
    folder.forget_shares()
    folder.keep_share(0, b"now")
    assert [path.read_bytes() for path in folder.shares] == [b"now"]


# -- nobody is flooded


def dealing(release_mb: int) -> Any:
    policy = SimpleNamespace(dealer=SimpleNamespace(release_mb=release_mb))
    return SimpleNamespace(means=SimpleNamespace(policy=policy))


def test_a_dealer_deals_no_more_than_its_policy_allows() -> None:
    plan = a_plan(epochs=100)
    assert 400 * 2**20 < plan.dealt_bytes < 405 * 2**20 + 2**20
    sharing_phases._check_size(dealing(406), plan)
    with pytest.raises(WireError, match=r"\[dealer\] release_mb") as refused:
        sharing_phases._check_size(dealing(400), plan)
    assert refused.value.code is RefusalCode.TOO_LARGE


def test_a_dealer_deals_no_more_blocks_than_a_report_can_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing_phases, "MOST_PARTS", a_plan(epochs=100).blocks)
    with pytest.raises(WireError) as refused:
        sharing_phases._check_size(dealing(2**20), a_plan(epochs=100))
    assert refused.value.code is RefusalCode.TOO_LARGE


def test_greetings_without_end_end_the_session() -> None:
    async def flooded() -> None:
        one, other = SigningKey.generate(), SigningKey.generate()
        mine = Session(Channel(RUN, one, other.public), asyncio.StreamReader(), None, asyncio.Event())  # type: ignore[arg-type]
        mine._connection = "a" * 16
        hello = Channel(RUN, other, one.public).hello
        for number in range(10 * MOST_UNSAID):
            mine._hear(Greeting(hello=hello, received=0, connection=f"{number:016x}", answer=False))

    with pytest.raises(WireError, match="without end") as refused:
        asyncio.run(flooded())
    assert refused.value.code is RefusalCode.ARTEFACT_INVALID


def test_a_peer_that_acknowledges_nothing_ends_the_session() -> None:
    class Silent:
        unacknowledged, received, told, is_open = 2 * MOST_KEPT + 1, 0, 0, True

        def open(self, frame: bytes) -> Any:
            return SimpleNamespace(is_last=False, data=b"")

    async def heard() -> None:
        mine = Session(Silent(), asyncio.StreamReader(), None, asyncio.Event())  # type: ignore[arg-type]
        await mine._open(b"frame")

    with pytest.raises(WireError, match="acknowledges nothing"):
        asyncio.run(heard())


# -- what an answer tells


@pytest.mark.parametrize("code", [RefusalCode.OUT_OF_RANGE, RefusalCode.NOT_FINITE])
def test_that_a_number_is_too_large_counts_as_an_answer_where_rows_leave_as_shares(code: RefusalCode) -> None:
    """Whoever chooses what is too large could otherwise ask for free, and find the largest number of a row."""
    shared, pooled = SHARED.facts().spec, POOLED.facts().spec
    assert (shared.protocol, pooled.protocol) == (Protocol.SHARED, Protocol.POOLED)
    assert tells_of_rows(shared, failed(code))
    assert not tells_of_rows(pooled, failed(code))
    assert not tells_of_rows(shared, failed(RefusalCode.WORKER_LOST))


def failed(code: RefusalCode) -> Report:
    return Report(
        order="a" * 32, run=RUN, phase=Phase.PREPARE, status=Status.FAILED, code=code, finished_at=1
    )
