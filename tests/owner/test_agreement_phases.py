"""Owner hosts agree on a run's key, and refuse every way of leading them to another one."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fedcore.owner.agent import Agent
from fedcore.owner.run_folder import RunFolder
from fedcore.wire.codes import RefusalCode
from fedcore.wire.keys import SigningKey
from fedcore.wire.orders import Phase, order_id
from fedcore.wire.reports import Offered, Report, Shared, Status
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Protocol
from tests.owner.cast import Cast, Plan
from tests.owner.playing import agree, code_of, do, play

Evidence = tuple[Signed, ...]


@pytest.fixture
def cast(tmp_path: Path) -> Cast:
    return Cast(tmp_path).settle_in(["north", "south"], rows=150)


@pytest.fixture
def plan(cast: Cast) -> Plan:
    return cast.spec(Protocol.POOLED)


def folders(cast: Cast, plan: Plan) -> list[RunFolder]:
    return [RunFolder(owner.home.run_directory(plan.run)) for owner in cast.owners]


def test_two_owners_hold_one_key_in_files_that_only_they_can_read(
    cast: Cast, plan: Plan, agents: list[Agent]
) -> None:
    agree(plan, agents)
    assert len({folder.run_key() for folder in folders(cast, plan)}) == 1
    for folder in folders(cast, plan):
        assert stat.S_IMODE(folder.run_key_path.stat().st_mode) == 0o600
        assert {path.name for path in folder.directory.iterdir()} == {
            "run.key",
            "agreement.json",
            "spec.json",
        }


def test_three_owners_hold_one_key(tmp_path: Path) -> None:
    cast = Cast(tmp_path).settle_in(["north", "south", "east"], rows=150)
    plan, agents = cast.spec(Protocol.POOLED), [owner.agent() for owner in cast.owners]
    agree(plan, agents)
    assert len({folder.run_key() for folder in folders(cast, plan)}) == 1
    for agent in agents:
        agent.close()


def test_a_run_of_its_own_has_a_key_of_its_own(cast: Cast, agents: list[Agent]) -> None:
    plans = [cast.spec(Protocol.POOLED) for _ in range(2)]
    for plan in plans:
        agree(plan, agents)
    assert len({folder.run_key() for plan in plans for folder in folders(cast, plan)}) == 2


def test_the_coordinator_never_sees_the_key_or_a_contribution(
    cast: Cast, plan: Plan, agents: list[Agent]
) -> None:
    do(plan, agents, Phase.CHECK)
    do(plan, agents, Phase.OFFER)
    do(plan, agents, Phase.SHARE, evidence=plan.said(Phase.OFFER))
    secrets = [folder.contribution() for folder in folders(cast, plan)]
    do(plan, agents, Phase.CONFIRM, evidence=plan.said(Phase.OFFER) + plan.said(Phase.SHARE))
    secrets += [folder.run_key() for folder in folders(cast, plan)]
    seen = b"".join(signed.encode().encode() for signed in cast.coordinator.every_report)
    for secret in secrets:
        assert secret not in seen
        assert secret.hex().encode() not in seen


def missing(evidence: Evidence, plan: Plan) -> Evidence:
    return evidence[:1]


def twice(evidence: Evidence, plan: Plan) -> Evidence:
    return (*evidence, evidence[1])


def altered(evidence: Evidence, plan: Plan) -> Evidence:
    text = evidence[1].text.replace('"finished_at":', '"finished_at": ')
    return (evidence[0], evidence[1].model_copy(update={"text": text}))


def of_a_stranger(evidence: Evidence, plan: Plan) -> Evidence:
    return (evidence[0], evidence[1].open(Report).signed_by(SigningKey.generate()))


def by_the_coordinator(evidence: Evidence, plan: Plan) -> Evidence:
    return (evidence[0], evidence[1].open(Report).signed_by(plan.cast.coordinator.key))


def of_another_run(evidence: Evidence, plan: Plan) -> Evidence:
    south = plan.cast.owners[1]
    other = "ab" * 32
    report = (
        evidence[1]
        .open(Report)
        .model_copy(update={"run": other, "order": order_id(other, Phase.OFFER, 0, 0, south.key)})
    )
    return (evidence[0], report.signed_by(south.home.signing_key))


def with_another_own_offer(evidence: Evidence, plan: Plan) -> Evidence:
    """What north never said, though its key signed it: as after a restored backup, or a stolen key."""
    report = evidence[0].open(Report)
    changed = report.model_copy(update={"result": Offered(ephemeral=SigningKey.generate().public)})
    return (changed.signed_by(plan.cast.owners[0].home.signing_key), evidence[1])


BAD_EVIDENCE: list[tuple[Callable[[Evidence, Plan], Evidence], RefusalCode]] = [
    (missing, RefusalCode.OUT_OF_ORDER),
    (twice, RefusalCode.CONFLICT),
    (altered, RefusalCode.BAD_SIGNATURE),
    (of_a_stranger, RefusalCode.UNKNOWN_SIGNER),
    (by_the_coordinator, RefusalCode.UNKNOWN_SIGNER),
    (of_another_run, RefusalCode.CONFLICT),
    (with_another_own_offer, RefusalCode.CONFLICT),
]


@pytest.mark.parametrize(("change", "code"), BAD_EVIDENCE, ids=[case[0].__name__ for case in BAD_EVIDENCE])
def test_bad_evidence_is_refused(
    plan: Plan, agents: list[Agent], change: Callable[[Evidence, Plan], Evidence], code: RefusalCode
) -> None:
    do(plan, agents, Phase.CHECK)
    do(plan, agents, Phase.OFFER)
    order = plan.order(Phase.SHARE, plan.cast.owners[0], evidence=change(plan.said(Phase.OFFER), plan))
    report = play(plan, agents[0], order)
    assert (report.status, report.code) == (Status.FAILED, code)


def test_a_share_for_other_ephemeral_keys_is_refused(cast: Cast, plan: Plan, agents: list[Agent]) -> None:
    do(plan, agents, Phase.CHECK)
    do(plan, agents, Phase.OFFER)
    do(plan, agents, Phase.SHARE, evidence=plan.said(Phase.OFFER))
    shares = list(plan.said(Phase.SHARE))
    report = shares[1].open(Report)
    assert isinstance(report.result, Shared)
    changed = report.model_copy(update={"result": report.result.model_copy(update={"transcript": "00" * 32})})
    shares[1] = changed.signed_by(cast.owners[1].home.signing_key)
    evidence = (*plan.said(Phase.OFFER), *shares)
    assert code_of(plan, agents[0], plan.order(Phase.CONFIRM, cast.owners[0], evidence=evidence)) is (
        RefusalCode.KEY_AGREEMENT_FAILED
    )
    assert not folders(cast, plan)[0].run_key_path.exists()


def test_an_owner_with_another_key_is_noticed_before_anything_is_prepared(
    cast: Cast, plan: Plan, agents: list[Agent]
) -> None:
    agree(plan, agents)
    confirms = list(plan.said(Phase.CONFIRM))
    report = confirms[1].open(Report)
    assert report.result is not None
    changed = report.model_copy(update={"result": report.result.model_copy(update={"proof": "00" * 32})})
    confirms[1] = changed.signed_by(cast.owners[1].home.signing_key)
    order = plan.order(Phase.PREPARE, cast.owners[0], evidence=tuple(confirms))
    assert code_of(plan, agents[0], order) is RefusalCode.KEY_AGREEMENT_FAILED


def test_a_confirmation_that_was_cut_off_after_the_key_was_kept_is_done_again(
    cast: Cast, plan: Plan, agents: list[Agent]
) -> None:
    do(plan, agents, Phase.CHECK)
    do(plan, agents, Phase.OFFER)
    do(plan, agents, Phase.SHARE, evidence=plan.said(Phase.OFFER))
    evidence = plan.said(Phase.OFFER) + plan.said(Phase.SHARE)
    orders = plan.orders(Phase.CONFIRM, evidence=evidence)
    first = play(plan, agents[0], orders[0])
    agents[0].store._database.execute(
        "UPDATE orders SET life = 'reserved', report = NULL, status = NULL WHERE phase = 'confirm'"
    )
    cast.coordinator.reports.pop(first.order)
    again = play(plan, agents[0], orders[0])
    assert again.result == first.result


def test_phases_out_of_order_are_refused(plan: Plan, agents: list[Agent]) -> None:
    do(plan, agents, Phase.CHECK)
    order = plan.order(Phase.CONFIRM, plan.cast.owners[0])
    report = play(plan, agents[0], order)
    assert (report.status, report.code) == (Status.REFUSED, RefusalCode.OUT_OF_ORDER)
