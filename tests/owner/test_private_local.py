"""Local runs with an epsilon: only noisy counts leave, once, and they are paid for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fedcore.owner.agent import Agent
from fedcore.owner.config import Dataset
from fedcore.owner.datasets import DatasetProblem, Datasets
from fedcore.owner.facts import DatasetFacts
from fedcore.owner.run_folder import RunFolder
from fedcore.owner.spending import tells_of_rows
from fedcore.plugin_api.evaluation import from_evaluated, metrics_of
from fedcore.plugin_api.serialise import unpack_model
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Order, Phase
from fedcore.wire.reports import Announcement, Checked, Closed, Evaluated, Report, Status, Trained
from fedcore.wire.spec import PluginChoice, Privacy, Protocol, Training
from tests.owner.cast import PLAIN, RANKED, Cast, Owner, Plan
from tests.owner.playing import code_of, do, play

ONE = Privacy(epsilon_micro=1_000_000, delta=1e-6)
THREE = Privacy(epsilon_micro=3_000_000, delta=1e-6)
NOISY = Training(optimiser=PluginChoice(name="adam", options={"lr": 0.3}), epochs=40)


@pytest.fixture
def cast(tmp_path: Path, warmed: None) -> Cast:
    return Cast(tmp_path).settle_in(["north"], rows=3000, privacy="epsilon_total = 2.5")


@pytest.fixture
def north(cast: Cast) -> Owner:
    return cast.owners[0]


@pytest.fixture
def agent(north: Owner) -> Iterator[Agent]:
    agent = north.agent()
    yield agent
    agent.close()


def private(cast: Cast, privacy: Privacy = ONE, asked: Privacy = THREE, **more: object) -> Plan:
    return cast.spec(Protocol.LOCAL, backend=PLAIN, training=NOISY, privacy=privacy, asked=asked, **more)


def evaluated(plan: Plan, agent: Agent) -> Report:
    do(plan, [agent], Phase.CHECK)
    do(plan, [agent], Phase.TRAIN)
    return do(plan, [agent], Phase.EVALUATE)[0]


def test_only_noisy_counts_leave_and_they_say_what_they_cost(cast: Cast, agent: Agent) -> None:
    plan = private(cast)
    do(plan, [agent], Phase.CHECK)
    (trained,) = do(plan, [agent], Phase.TRAIN)
    assert trained.result == Trained(rows=0, curve=None)
    assert {str(report.open(Report).seconds) for report in cast.coordinator.every_report} == {"{}"}
    (report,) = do(plan, [agent], Phase.EVALUATE)
    assert isinstance(report.result, Evaluated)
    assert report.seconds == {}, "times tell of rows"
    assert report.result.spent is not None
    assert (report.result.spent.epsilon_micro, report.result.spent.delta) == (1_000_000, 1e-6)
    assert [title.split(" noise")[0] for title in report.result.spent.mechanisms] == [
        "discrete Gaussian",
        "discrete Laplace",
    ]
    assert metrics_of(from_evaluated(report.result)).f1 > 0.8
    assert not cast.coordinator.artefacts
    assert not report.artefacts
    assert do(plan, [agent], Phase.CLOSE, keep=True)[0].result == Closed(kept=True)


def test_the_counts_are_not_the_exact_ones(cast: Cast, agent: Agent) -> None:
    exact = cast.spec(Protocol.LOCAL, backend=PLAIN)
    cast.owners[0].home.config_path.write_text(
        cast.owners[0].home.config_path.read_text().replace("epsilon_total = 2.5", "")
    )
    rows = [evaluated(plan, agent).result for plan in (private(cast), private(cast), exact)]
    counts = [result.rows for result in rows if isinstance(result, Evaluated)]
    assert len({str(result.histograms) for result in rows if isinstance(result, Evaluated)}) == 3
    assert abs(counts[0] - counts[2]) < 60


def test_a_second_delivery_brings_the_same_noise(cast: Cast, north: Owner, agent: Agent) -> None:
    plan = private(cast)
    do(plan, [agent], Phase.CHECK)
    do(plan, [agent], Phase.TRAIN)
    order = plan.order(Phase.EVALUATE, north)
    play(plan, agent, order)
    for _ in range(3):
        agent.handle(order)
    agent.close()
    restarted = north.agent()
    later = plan.order(Phase.EVALUATE, north, expires_at=order.open(Order).expires_at + 5)
    restarted.handle(later)
    texts = {s.text for s in cast.coordinator.every_report if s.open(Report).phase is Phase.EVALUATE}
    assert len(texts) == 1
    assert restarted.ledger.spent(1e-6, dataset="logs") == pytest.approx(1_000_000, rel=0.02)
    restarted.close()


def test_grants_spend_one_dataset_until_its_budget_is_spent(cast: Cast, north: Owner, agent: Agent) -> None:
    for plan in (private(cast), private(cast)):
        assert evaluated(plan, agent).status is Status.DONE
    third = private(cast)
    assert code_of(third, agent, third.order(Phase.CHECK, north)) is RefusalCode.BUDGET_SPENT
    cheaper = private(cast, Privacy(epsilon_micro=200_000, delta=1e-6))
    assert evaluated(cheaper, agent).status is Status.DONE
    spent = agent.ledger.spent(1e-6, dataset="logs")
    assert spent is not None
    assert 2_000_000 < spent <= 2_500_000


def test_a_grant_pays_for_all_its_runs_together(cast: Cast, north: Owner, agent: Agent) -> None:
    plan = private(cast, asked=Privacy(epsilon_micro=1_500_000, delta=1e-6))
    evaluated(plan, agent)
    again = plan.again()
    assert code_of(again, agent, again.order(Phase.CHECK, north)) is RefusalCode.BUDGET_SPENT


def test_a_run_without_an_answer_costs_nothing_when_it_is_closed(
    cast: Cast, north: Owner, agent: Agent
) -> None:
    plan = private(cast)
    do(plan, [agent], Phase.CHECK)
    do(plan, [agent], Phase.TRAIN)
    assert agent.ledger.spent(1e-6, dataset="logs") != 0
    do(plan, [agent], Phase.CLOSE)
    assert agent.ledger.spent(1e-6, dataset="logs") == 0
    assert [entry.kind for entry in agent.ledger.chain.entries()] == ["reserved", "returned"]


def test_a_run_that_failed_over_rows_is_paid_for(cast: Cast, north: Owner, agent: Agent) -> None:
    """Whether it fails is an answer too, and without noise: whoever asks could choose for which row it does."""
    plan = private(cast)
    do(plan, [agent], Phase.CHECK)
    (north.home.keys / "split.key").rename(north.home.keys / "away.key")
    assert code_of(plan, agent, plan.order(Phase.TRAIN, north)) is not None
    (north.home.keys / "away.key").rename(north.home.keys / "split.key")
    do(plan, [agent], Phase.CLOSE)
    assert [entry.kind for entry in agent.ledger.chain.entries()] == ["reserved", "released"]
    assert agent.ledger.spent(1e-6, dataset="logs") == pytest.approx(1_000_000, rel=0.02)


def test_a_run_that_the_policy_refuses_before_it_is_booked_is_answered_and_costs_nothing(
    cast: Cast, north: Owner, agent: Agent
) -> None:
    plan = private(cast)
    do(plan, [agent], Phase.CHECK)
    policy = north.home.config_path.read_text()
    north.home.config_path.write_text(policy.replace("minimum_rows = 50", "minimum_rows = 50000"))
    assert code_of(plan, agent, plan.order(Phase.TRAIN, north)) is RefusalCode.TOO_FEW_ROWS
    assert list(agent.ledger.chain.entries()) == []


def test_a_run_that_is_cancelled_at_work_costs_nothing(
    cast: Cast, north: Owner, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent.store, "is_closing", lambda run: True)
    plan = private(cast)
    assert code_of(plan, agent, plan.order(Phase.CHECK, north)) is RefusalCode.CANCELLED
    monkeypatch.undo()
    plan = private(cast)
    do(plan, [agent], Phase.CHECK)
    monkeypatch.setattr(agent.store, "is_closing", lambda run: True)
    assert code_of(plan, agent, plan.order(Phase.TRAIN, north)) is RefusalCode.CANCELLED
    do(plan, [agent], Phase.CLOSE)
    assert [entry.kind for entry in agent.ledger.chain.entries()] == ["reserved", "returned"]


@pytest.mark.parametrize(
    ("phase", "status", "code", "tells"),
    [
        (Phase.TRAIN, Status.FAILED, RefusalCode.RESOURCE_LIMIT, True),
        (Phase.EVALUATE, Status.FAILED, RefusalCode.STEP_FAILED, True),
        (Phase.EVALUATE, Status.REFUSED, RefusalCode.RELEASE_REFUSED, True),
        (Phase.EVALUATE, Status.REFUSED, RefusalCode.EXPIRED, False),
        (Phase.TRAIN, Status.FAILED, RefusalCode.GRANT_REVOKED, False),
        (Phase.CHECK, Status.FAILED, RefusalCode.DATASET_UNREADABLE, False),
    ],
)
def test_which_refusals_of_a_run_with_an_epsilon_count_as_answers(
    cast: Cast, phase: Phase, status: Status, code: RefusalCode, tells: bool
) -> None:
    plan, plain = private(cast), cast.spec(Protocol.LOCAL, backend=PLAIN)
    report = Report(order="0" * 32, run=plan.run, phase=phase, status=status, code=code, finished_at=1)
    assert tells_of_rows(plan.spec, report) is tells
    assert not tells_of_rows(plain.spec, report)


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 2.0, 3.0)])
def test_class_weights_are_counted_before_any_row_is_looked_at(
    cast: Cast, north: Owner, agent: Agent, weights: tuple[float, ...]
) -> None:
    """Else a run fails only where a row of a class without a weight is there."""
    plan = private(cast).again(training=NOISY.model_copy(update={"class_weights": weights}))
    do(plan, [agent], Phase.CHECK)
    assert code_of(plan, agent, plan.order(Phase.TRAIN, north)) is RefusalCode.INVALID_OPTIONS


def test_no_number_of_rows_on_one_side_of_the_split_refuses_a_run_with_an_epsilon(
    tmp_path: Path, warmed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast = Cast(tmp_path).settle_in(["north"], rows=60, minimum_rows="85")
    agent = cast.owners[0].agent()
    assert evaluated(private(cast), agent).status is Status.DONE
    plain = cast.spec(Protocol.LOCAL, backend=PLAIN)
    assert code_of(plain, agent, plain.order(Phase.CHECK, cast.owners[0])) is None
    assert code_of(plain, agent, plain.order(Phase.TRAIN, cast.owners[0])) is RefusalCode.TOO_FEW_ROWS
    monkeypatch.setattr("fedcore.owner.reading.held_out", lambda block, *_: np.zeros(len(block), np.bool_))
    assert evaluated(private(cast), agent).status is Status.DONE
    agent.close()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"privacy": Privacy(epsilon_micro=1_000_000, delta=0.0)}, "needs a delta"),
        ({"first_rows": 2000}, "selection of first rows"),
        ({"training": Training(epochs=40)}, ""),
        ({"training": NOISY.model_copy(update={"class_weights": "balanced"})}, "balanced"),
        ({"training": Training(optimiser=PluginChoice(name="sgd", options={"lr": 0.1}))}, "adam"),
        ({"model": PluginChoice(name="linear", options={"activation": "relu"})}, "not linear"),
    ],
)
def test_an_epsilon_is_only_spent_where_something_keeps_it(
    cast: Cast, north: Owner, agent: Agent, changes: dict[str, object], why: str
) -> None:
    plan = private(cast).again(**changes)
    code = code_of(plan, agent, plan.order(Phase.CHECK, north))
    assert code is (RefusalCode.EPSILON_NOT_ALLOWED if why else None)
    decisions = [entry.content for entry in agent.journal.entries() if entry.kind == "decision"]
    assert why in decisions[-1]


def test_a_fitted_step_shows_rows_without_noise_so_it_is_refused(
    cast: Cast, north: Owner, agent: Agent
) -> None:
    plan = private(cast, pipeline=RANKED)
    assert code_of(plan, agent, plan.order(Phase.CHECK, north)) is RefusalCode.EPSILON_NOT_ALLOWED


def test_a_run_without_an_epsilon_is_refused_by_a_dataset_that_has_a_budget(
    cast: Cast, north: Owner, agent: Agent
) -> None:
    plan = cast.spec(Protocol.LOCAL, backend=PLAIN)
    assert code_of(plan, agent, plan.order(Phase.CHECK, north)) is RefusalCode.EPSILON_NOT_ALLOWED


def test_the_model_stays_and_is_one_that_predicts_as_any(cast: Cast, north: Owner, agent: Agent) -> None:
    plan = private(cast)
    evaluated(plan, agent)
    do(plan, [agent], Phase.CLOSE, keep=True)
    stored = unpack_model(RunFolder(north.home.run_directory(plan.run)).model_path.read_bytes())
    assert set(stored.parameters) == {"linear.weight", "linear.bias"}
    assert stored.model.name == "linear"


def test_a_row_count_with_noise_is_the_same_in_catalogue_and_runs_and_is_paid_for_once(
    tmp_path: Path, warmed: None
) -> None:
    cast = Cast(tmp_path).settle_in(
        ["north"], rows=1000, privacy="count_epsilon = 0.05\nepsilon_total = 0.08"
    )
    north = cast.owners[0]
    agent = north.agent()
    agent._announcing.announce()
    agent._announcing.announce()
    (offer,) = cast.coordinator.announcements[north.key].open(Announcement).datasets
    plan = private(cast, Privacy(epsilon_micro=10_000, delta=1e-6))
    (checked,) = do(plan, [agent], Phase.CHECK)
    assert checked.result == Checked(rows=offer.rows)
    assert 0 < abs(offer.rows - 1500) < 500
    assert agent.ledger.spent(0.0, dataset="logs") == 50_000
    (north.home.path / "good.txt").write_text("GET /another\n" * 900)
    with pytest.raises(DatasetProblem, match=r"budget of epsilon 0\.08") as caught:
        agent._announcing._booking.shown_rows(*shown(agent))
    assert caught.value.code is RefusalCode.BUDGET_SPENT
    agent._announcing.announce()
    assert cast.coordinator.announcements[north.key].open(Announcement).datasets == ()
    agent.close()


def shown(agent: Agent) -> tuple[Datasets, Dataset, str, DatasetFacts]:
    governed = agent._announcing._governing.governed()
    return governed.datasets, governed.policy.datasets["logs"], "logs", governed.datasets.look("logs")
