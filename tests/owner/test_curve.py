"""The curve of a training is the only thing about single batches that leaves: each point stands for many rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedcore.owner.agent import Agent
from fedcore.owner.work import CURVE_POINTS, curve_of
from fedcore.plugin_api.models import TrainingOutcome
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Trained
from fedcore.wire.spec import PluginChoice, Protocol, Training
from tests.owner.cast import PLAIN, RANKED, Cast
from tests.owner.playing import do

ROW_BY_ROW = Training(epochs=1, batch_size=1, optimiser=PluginChoice(name="sgd", options={"lr": 0.0}))
LEAST_ROWS = 100
MINIMUM_ROWS = 50
"""What the policy of the cast says."""


@pytest.fixture
def cast(tmp_path: Path, warmed: None) -> Cast:
    return Cast(tmp_path).settle_in(["north", "south"], rows=300)


def outcome(steps: int) -> TrainingOutcome:
    numbers = np.arange(steps, dtype=float)
    return TrainingOutcome({}, loss=list(numbers), accuracy=list(numbers / steps), epochs=2)


def test_batches_of_one_row_show_no_row(cast: Cast, agents: list[Agent]) -> None:
    """With a learning rate of 0, the accuracy of a batch of one row would be that row's label."""
    plan = cast.spec(Protocol.LOCAL, pipeline=RANKED, backend=PLAIN, training=ROW_BY_ROW)
    do(plan, agents, Phase.CHECK)
    for report in do(plan, agents, Phase.TRAIN):
        assert isinstance(report.result, Trained)
        curve = report.result.curve
        assert curve.every >= MINIMUM_ROWS
        assert 1 <= len(curve.loss) == len(curve.accuracy) <= curve.steps // MINIMUM_ROWS


@pytest.mark.parametrize(("batch_size", "steps"), [(1, 5000), (32, 40), (1, 30), (500, 10), (99, 7)])
def test_every_point_is_the_mean_over_enough_rows(batch_size: int, steps: int) -> None:
    curve = curve_of(outcome(steps), batch_size, LEAST_ROWS)
    starts = [number * curve.every for number in range(len(curve.loss))]
    ends = [*starts[1:], steps]
    assert curve.loss == pytest.approx([np.arange(a, b).mean() for a, b in zip(starts, ends, strict=True)])
    assert all((b - a) * batch_size >= LEAST_ROWS for a, b in zip(starts, ends, strict=True)) or (
        len(curve.loss) == 1
    )
    assert curve.epochs == 2
    assert curve.steps % curve.every == 0, "the exact number of steps would tell that of the rows"
    assert steps <= curve.steps < steps + curve.every


def test_a_long_training_has_a_bounded_number_of_points() -> None:
    assert len(curve_of(outcome(3 * CURVE_POINTS + 1), 4096, LEAST_ROWS).loss) <= CURVE_POINTS


def test_a_training_that_took_no_step_has_no_points() -> None:
    assert curve_of(TrainingOutcome({}), 32, LEAST_ROWS).loss == ()
