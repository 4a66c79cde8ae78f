"""Whole runs under the other protocols, and with a vocabulary that all owners fit together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedcore.owner.agent import Agent
from fedcore.owner.run_folder import RunFolder
from fedcore.plugin_api.evaluation import from_evaluated, metrics_of
from fedcore.plugin_api.serialise import unpack_model
from fedcore.plugin_api.values import Matrix
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Closed, Evaluated, Prepared, Report, Settled, Trained
from fedcore.wire.signing import Signed
from fedcore.wire.spec import PluginChoice, Protocol, Training
from tests.owner.cast import FITTED_AT, HASHED, PLAIN, RANKED, Cast, Plan
from tests.owner.playing import agree, code_of, do, play

EXACT = Training(epochs=2, batch_size=32, precision="float64")


@pytest.fixture
def cast(tmp_path: Path, warmed: None) -> Cast:
    return Cast(tmp_path).settle_in(["north", "south"], rows=300, reference=True)


def fit(plan: Plan, agents: list[Agent]) -> None:
    """Agree on a key, and fit the vocabulary over all owners."""
    agree(plan, agents)
    do(plan, agents, Phase.SUMMARISE, step=FITTED_AT, evidence=plan.said(Phase.CONFIRM))
    do(plan, agents, Phase.SETTLE, step=FITTED_AT, evidence=plan.said(Phase.SUMMARISE, FITTED_AT))


def evidence_for_prepare(plan: Plan) -> tuple[Signed, ...]:
    return plan.said(Phase.CONFIRM) + plan.said(Phase.SETTLE, FITTED_AT)


def train_at_referee(plan: Plan, agents: list[Agent]) -> Report:
    cast = plan.cast
    assert cast.referee is not None
    play(plan, agents[2], plan.order(Phase.CHECK, cast.referee))
    report = play(plan, agents[2], plan.order(Phase.TRAIN, cast.referee, evidence=plan.said(Phase.PREPARE)))
    assert isinstance(report.result, Trained), report
    return report


def referees_word(plan: Plan) -> tuple[Signed, ...]:
    assert plan.cast.referee is not None
    key = plan.cast.referee.key
    reports = plan.cast.coordinator.reports.values()
    return tuple(s for s in reports if s.signer == key and s.open(Report).phase is Phase.TRAIN)


def f1_of(report: Report) -> float:
    assert isinstance(report.result, Evaluated)
    return metrics_of(from_evaluated(report.result)).f1


def test_local_training_lets_only_curve_and_counts_leave(cast: Cast, agents: list[Agent]) -> None:
    plan = cast.spec(Protocol.LOCAL, pipeline=RANKED, backend=PLAIN)
    do(plan, agents, Phase.CHECK)
    trained = do(plan, agents, Phase.TRAIN)
    for report in trained:
        assert isinstance(report.result, Trained)
        assert report.result.rows % 100 == 0
        assert 0 < len(report.result.curve.loss) < report.result.curve.steps
    evaluated = do(plan, agents, Phase.EVALUATE)
    assert min(map(f1_of, evaluated)) > 0.9
    assert not cast.coordinator.artefacts
    folder = RunFolder(cast.owners[0].home.run_directory(plan.run))
    assert list(folder.states) == [FITTED_AT]
    assert [report.result for report in do(plan, agents, Phase.CLOSE, keep=False)] == [Closed(kept=False)] * 2
    assert not folder.exists


def test_owners_fit_one_vocabulary_that_the_coordinator_cannot_read(cast: Cast, agents: list[Agent]) -> None:
    plan = cast.spec(Protocol.POOLED, pipeline=RANKED)
    fit(plan, agents)
    settled = [signed.open(Report).result for signed in plan.said(Phase.SETTLE, FITTED_AT)]
    assert len({result.state for result in settled if isinstance(result, Settled)}) == 1
    for data in cast.coordinator.artefacts.values():
        assert b"keys" not in data
    prepared = do(plan, agents, Phase.PREPARE, evidence=evidence_for_prepare(plan))
    columns = {report.result.columns for report in prepared if isinstance(report.result, Prepared)}
    assert len(columns) == 1
    evaluated = do(plan, agents, Phase.EVALUATE, artefacts=(plan.pooled_model(),))
    assert min(map(f1_of, evaluated)) > 0.9


def test_another_state_of_a_peer_stops_everything(cast: Cast, agents: list[Agent]) -> None:
    plan = cast.spec(Protocol.POOLED, pipeline=RANKED)
    fit(plan, agents)
    states = list(plan.said(Phase.SETTLE, FITTED_AT))
    changed = states[1].open(Report).model_copy(update={"result": Settled(state="00" * 32)})
    states[1] = changed.signed_by(cast.owners[1].home.signing_key)
    order = plan.order(Phase.PREPARE, cast.owners[0], evidence=(*plan.said(Phase.CONFIRM), *states))
    assert code_of(plan, agents[0], order) is RefusalCode.STATE_MISMATCH


def test_an_altered_summary_is_refused(cast: Cast, agents: list[Agent]) -> None:
    plan = cast.spec(Protocol.POOLED, pipeline=RANKED)
    agree(plan, agents)
    do(plan, agents, Phase.SUMMARISE, step=FITTED_AT, evidence=plan.said(Phase.CONFIRM))
    of_south = plan.said(Phase.SUMMARISE, FITTED_AT)[1].open(Report).artefacts[0].digest
    data = cast.coordinator.artefacts[of_south]
    cast.coordinator.artefacts[of_south] = data[:-1] + bytes([data[-1] ^ 1])
    evidence = plan.said(Phase.SUMMARISE, FITTED_AT)
    order = plan.order(Phase.SETTLE, cast.owners[0], step=FITTED_AT, evidence=evidence)
    assert code_of(plan, agents[0], order) is RefusalCode.ARTEFACT_INVALID


def test_the_reference_host_trains_on_what_only_it_can_open(cast: Cast, agents: list[Agent]) -> None:
    plan = cast.spec(Protocol.REFERENCE, backend=PLAIN)
    do(plan, agents, Phase.CHECK)
    do(plan, agents, Phase.PREPARE)
    for data in cast.coordinator.artefacts.values():
        assert b"indptr" not in data
    report = train_at_referee(plan, agents)
    assert {ref.audience for ref in report.artefacts} == {owner.key for owner in cast.owners}
    evaluated = do(plan, agents, Phase.EVALUATE, evidence=referees_word(plan))
    assert min(map(f1_of, evaluated)) > 0.9
    models = {RunFolder(owner.home.run_directory(plan.run)).model_path.read_bytes() for owner in cast.owners}
    assert len(models) == 1


def test_a_model_that_the_reference_host_did_not_make_is_refused(cast: Cast, agents: list[Agent]) -> None:
    plan = cast.spec(Protocol.REFERENCE, backend=PLAIN)
    do(plan, agents, Phase.CHECK)
    do(plan, agents, Phase.PREPARE)
    train_at_referee(plan, agents)
    forged = referees_word(plan)[0].open(Report).signed_by(cast.coordinator.key)
    order = plan.order(Phase.EVALUATE, cast.owners[0], evidence=(forged,))
    assert code_of(plan, agents[0], order) is RefusalCode.UNKNOWN_SIGNER


def test_pooled_on_pseudonyms_equals_the_reference_on_plain_tokens(cast: Cast, agents: list[Agent]) -> None:
    """Pseudonyms only rename: same vocabulary order, same initial weights, same model."""
    pooled = cast.spec(Protocol.POOLED, pipeline=RANKED, training=EXACT)
    fit(pooled, agents)
    do(pooled, agents, Phase.PREPARE, evidence=evidence_for_prepare(pooled))
    trained = unpack_model(pooled.trained(pooled.pooled_rows()))

    reference = cast.spec(Protocol.REFERENCE, pipeline=RANKED, backend=PLAIN, training=EXACT)
    fit(reference, agents)
    do(reference, agents, Phase.PREPARE, evidence=evidence_for_prepare(reference))
    train_at_referee(reference, agents)
    do(reference, agents, Phase.EVALUATE, evidence=referees_word(reference))
    folder = RunFolder(cast.owners[0].home.run_directory(reference.run))
    plain = unpack_model(folder.model_path.read_bytes())

    assert trained.parameters.keys() == plain.parameters.keys()
    for name, values in trained.parameters.items():
        np.testing.assert_allclose(values, plain.parameters[name], atol=1e-9, rtol=0)


def test_first_rows_limits_the_rows_and_takes_part_of_every_file(cast: Cast, agents: list[Agent]) -> None:
    plan = cast.spec(Protocol.LOCAL, first_rows=300)  # of which some 90 are kept back, and 50 are enough
    do(plan, agents, Phase.CHECK)
    do(plan, agents, Phase.TRAIN)
    reports = do(plan, agents, Phase.EVALUATE)
    for report in reports:
        assert isinstance(report.result, Evaluated)
        assert 0 < report.result.rows < 200
        assert all(sum(row) for row in report.result.confusion)


def test_held_out_rows_never_leave_and_never_train(cast: Cast, agents: list[Agent]) -> None:
    plan = cast.spec(Protocol.POOLED)
    agree(plan, agents)
    do(plan, agents, Phase.PREPARE, evidence=plan.said(Phase.CONFIRM))
    sent = plan.pooled_rows()
    assert isinstance(sent.features, Matrix)
    evaluated = do(plan, agents, Phase.EVALUATE, artefacts=(plan.pooled_model(),))
    held = sum(report.result.rows for report in evaluated if isinstance(report.result, Evaluated))
    assert held + len(sent.labels) == 2 * (300 + 150)
    assert 0.2 < held / 900 < 0.4


def test_rare_tokens_of_two_owners_become_one_in_a_pooled_run(cast: Cast, agents: list[Agent]) -> None:
    """`protect` is a fitted step then: both owners agree on what is frequent over both, before anything is prepared."""
    place = [step.name for step in HASHED.steps].index("protect")
    rows = {}
    for minimum_count in (1, 40):
        rule = PluginChoice(name="keyed_tokens", options={"minimum_count": minimum_count})
        plan = cast.spec(Protocol.POOLED, backend=rule)
        agree(plan, agents)
        evidence = plan.said(Phase.CONFIRM)
        if minimum_count > 1:
            do(plan, agents, Phase.SUMMARISE, step=place, evidence=evidence)
            do(plan, agents, Phase.SETTLE, step=place, evidence=plan.said(Phase.SUMMARISE, place))
            evidence += plan.said(Phase.SETTLE, place)
        do(plan, agents, Phase.PREPARE, evidence=evidence)
        rows[minimum_count] = plan.pooled_rows()
    used = {count: len(np.unique(of.features.indices)) for count, of in rows.items()}  # type: ignore[union-attr]
    assert len(rows[1].labels) == len(rows[40].labels)
    assert used[40] < used[1] / 2


def test_an_owner_prepares_nothing_under_a_minimum_count_that_was_not_settled(
    cast: Cast, agents: list[Agent]
) -> None:
    plan = cast.spec(Protocol.POOLED, backend=PluginChoice(name="keyed_tokens", options={"minimum_count": 5}))
    agree(plan, agents)
    order = plan.order(Phase.PREPARE, cast.owners[0], evidence=plan.said(Phase.CONFIRM))
    assert code_of(plan, agents[0], order) is RefusalCode.OUT_OF_ORDER
