"""A pooled run at two owners, from the check to the prediction, against a scripted coordinator."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcore.owner.agent import Agent
from fedcore.owner.prediction import predict
from fedcore.owner.run_folder import RunFolder
from fedcore.plugin_api.evaluation import from_evaluated, metrics_of
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Closed, Evaluated, Prepared
from fedcore.wire.spec import Protocol
from tests.owner.cast import Cast
from tests.owner.playing import agree, do


@pytest.fixture
def cast(tmp_path: Path, warmed: None) -> Cast:
    return Cast(tmp_path).settle_in(["north", "south"])


def test_two_owners_train_one_model_on_pseudonymised_rows_and_use_it(
    cast: Cast, agents: list[Agent], tmp_path: Path
) -> None:
    plan = cast.spec(Protocol.POOLED)
    agree(plan, agents)
    keys = [RunFolder(owner.home.run_directory(plan.run)).run_key() for owner in cast.owners]
    assert keys[0] == keys[1]

    prepared = do(plan, agents, Phase.PREPARE, evidence=plan.said(Phase.CONFIRM))
    rows = [report.result.rows for report in prepared if isinstance(report.result, Prepared)]
    assert len(plan.pooled_rows().labels) == sum(rows)
    assert all(300 < count < 900 for count in rows)

    model = plan.pooled_model()
    evaluated = do(plan, agents, Phase.EVALUATE, artefacts=(model,))
    for report in evaluated:
        assert isinstance(report.result, Evaluated)
        metrics = metrics_of(from_evaluated(report.result))
        assert metrics.f1 > 0.95
        assert {"reading", "protecting", "evaluating", "phase"} <= set(report.seconds)

    closed = do(plan, agents, Phase.CLOSE, keep=True)
    assert [report.result for report in closed] == [Closed(kept=True)] * 2
    assert not any(cast.owners[0].home.spool.iterdir())

    log = tmp_path / "access.log"
    log.write_text("/index/alphaa?q=betabeta&v=ku\n/ak.php?id=union select qa\n")
    out = tmp_path / "scores.csv"
    assert predict(cast.owners[0].home, plan.run[:12], log, out) == 2
    lines = out.read_text().splitlines()
    assert lines[0] == "class,probability,line"
    assert lines[1].startswith("benign,")
    assert lines[2].startswith("attack,")
