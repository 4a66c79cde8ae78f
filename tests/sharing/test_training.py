"""Whole trainings on shares against the same training on plaintext."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from fedcore.plugin_api.models import LabelledRows
from fedcore.plugin_api.values import Matrix
from fedcore.sharing import plan as planning
from fedcore.sharing.joining import final_parameters, initial_weights, linear_names
from fedcore.sharing.plan import Loss, SharedPlan
from fedcore.sharing.scales import Scales
from plugins.models.linear import Linear
from tests.sharing.cast import SCALES, dense, plainly, plan_for, rows_of, train, training

TWO = (40, 37)
FIVE = (1, 13, 30, 7, 26)
OPTIONS = {
    "plain": {},
    "momentum": {"momentum": 0.75},
    "decay": {"weight_decay": 0.125},
    "both": {"momentum": 0.5, "weight_decay": 0.25},
}


def parts_of(sizes: tuple[int, ...], columns: int = 6) -> list[LabelledRows]:
    return [rows_of(30 + place, size, columns) for place, size in enumerate(sizes)]


def start(plan: SharedPlan) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Initial weights in the ring and as numbers."""
    ring = np.random.default_rng(3).integers(-(2**43), 2**43, plan.columns + 1)
    return ring.view(np.uint64), ring * 2.0**-plan.scales.weight_bits


def tolerance(plan: SharedPlan, rows: NDArray[np.float64]) -> float:
    """How far a weight may be from the plaintext's.

    A truncation is off by less than one unit, which the rate's factor multiplies: less than factor * 2^-error_bits for
    each row of each batch, times a number of the row. Errors of single steps at worst add up (a step makes none
    larger while the learning rate is below what diverges), and a momentum m makes each 1 / (1 - m) times as large.
    """
    factor = max(plan.rate_of(len(plan.batch(number).rows)).factor for number in range(plan.batches))
    of_row = factor * 2.0**-plan.scales.error_bits * max(1.0, float(np.abs(rows).max()))
    of_velocity = plan.batches * 2.0**-plan.scales.weight_bits
    return (plan.total * plan.epochs * of_row + of_velocity) / (1 - plan.momentum / 4096) + 1e-12


@pytest.mark.parametrize("several_blocks", [False, True], ids=["one block", "several blocks"])
@pytest.mark.parametrize("sizes", [TWO, FIVE], ids=["two owners", "five owners"])
@pytest.mark.parametrize("options", OPTIONS, ids=list(OPTIONS))
def test_the_squared_errors_weights_are_those_of_plaintext_within_the_truncations(
    options: str, sizes: tuple[int, ...], several_blocks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if several_blocks:
        monkeypatch.setattr(planning, "BLOCK_BYTES", 3500)
    parts = parts_of(sizes)
    plan = plan_for(parts, training(epochs=4, **OPTIONS[options]))
    assert (plan.blocks > 3) == several_blocks
    assert len(plan.batch(plan.batches_of_epoch - 1).rows) == 16 + 77 % 16
    ring, initial = start(plan)
    rows, labels = dense(parts)
    expected = plainly(plan, rows, labels, initial)
    found = train(plan, parts, ring).total(plan)
    assert np.abs(found - expected).max() < tolerance(plan, rows) < 2e-3
    assert np.abs(expected - initial).max() > 0.1


def test_a_rate_that_is_a_power_of_two_makes_the_tolerance_a_millionth() -> None:
    parts = parts_of((32, 32))
    plan = plan_for(parts, training(epochs=6))
    ring, initial = start(plan)
    rows, labels = dense(parts)
    found = train(plan, parts, ring).total(plan)
    assert np.abs(found - plainly(plan, rows, labels, initial)).max() < tolerance(plan, rows) < 1e-6


@pytest.mark.parametrize(("fraction", "score"), [(6, 2), (16, 6), (13, 12), (10, 6)])
def test_other_bits_of_fraction_and_score_give_the_same_weights(fraction: int, score: int) -> None:
    parts = parts_of(TWO)
    shrunk = []
    for part in parts:
        assert isinstance(part.features, Matrix)
        data = (np.rint(part.features.data * 8) / 64).astype(np.float32)
        features = Matrix(part.features.indptr, part.features.indices, data, part.features.columns)
        shrunk.append(LabelledRows(features, part.labels))
    choice = training(epochs=2, lr=2.0**-7 if score == 2 else 0.25)
    plan = plan_for(shrunk, choice, Scales(fraction, score))
    rows, labels = dense(shrunk)
    found = train(plan, shrunk).total(plan)
    assert np.abs(found - plainly(plan, rows, labels, np.zeros(7))).max() < tolerance(plan, rows)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.5, "weight_decay": 0.125}])
@pytest.mark.parametrize(
    "sizes", [(1500, 1300), (100, 1200, 700, 450, 350)], ids=["two owners", "five owners"]
)
def test_logistic_regression_ranks_rows_as_plaintext_does(
    sizes: tuple[int, ...], options: dict[str, float]
) -> None:
    parts = parts_of(sizes, 20)
    plan = plan_for(parts, training("cross_entropy", batch_size=96, epochs=3, **(options | {"lr": 0.125})))
    assert len(plan.batch(plan.batches_of_epoch - 1).rows) == 96 + 2800 % 96
    rows, labels = dense(parts)
    expected = plainly(plan, rows, labels, np.zeros(21))
    found = train(plan, parts).total(plan)
    ranked = roc_auc_score(labels, rows @ expected[:-1])
    assert ranked > 0.8
    assert abs(roc_auc_score(labels, rows @ found[:-1]) - ranked) < 0.001
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


def test_logistic_regression_over_several_blocks_ranks_rows_as_in_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = parts_of((300, 260), 8)
    choice = training("cross_entropy", batch_size=48, epochs=2, momentum=0.5)
    one_block = train(plan_for(parts, choice), parts).total(plan_for(parts, choice))
    monkeypatch.setattr(planning, "BLOCK_BYTES", 210_000)
    plan = plan_for(parts, choice)
    assert plan.blocks == plan.batches
    assert np.abs(train(plan, parts).total(plan) - one_block).max() < 0.03 * np.abs(one_block).max()


def test_errors_of_logistic_regression_average_out_over_many_secrets() -> None:
    parts = parts_of((24, 24), 3)
    plan = plan_for(parts, training("cross_entropy", batch_size=48, epochs=1, lr=2.0))
    ring, initial = start(plan)
    rows, labels = dense(parts)
    expected = plainly(plan, rows, labels, initial)
    found = np.array([train(plan, parts, ring, f"secret {number}").total(plan) for number in range(60)])
    # Between entries 0.25 apart the interpolation is at most 0.25^2 / 8 * 0.1 off, in the mean of the rows' errors.
    systematic = 2 * plan.rate * 0.25**2 / 8 * 0.1
    spread = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - expected) < systematic + 5 * spread).all()
    assert (found.std(axis=0) > 0).all()


@pytest.mark.parametrize("loss", list(Loss))
def test_two_runs_with_other_secrets_give_other_shares_and_nearly_the_same_weights(loss: Loss) -> None:
    parts = parts_of(TWO)
    plan = plan_for(parts, training(loss))
    one, other = (train(plan, parts, secret=secret) for secret in ("one", "other"))
    assert not np.isin(np.concatenate(one.shares), np.concatenate(other.shares)).any()
    assert np.abs(one.total(plan) - other.total(plan)).max() < 0.02


def test_the_same_secrets_give_the_same_shares_and_the_same_frames() -> None:
    parts = parts_of(TWO)
    plan = plan_for(parts, training())
    one, other = (train(plan, parts) for _ in range(2))
    assert np.array_equal(np.concatenate(one.shares), np.concatenate(other.shares))
    assert [line.sent for line in one.lines] == [line.sent for line in other.lines]


@pytest.mark.parametrize("options", OPTIONS, ids=list(OPTIONS))
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_the_model_is_the_one_that_the_plain_loop_trains_on_the_same_rows(
    options: str, precision: str
) -> None:
    parts = parts_of((1, 13, 30, 10, 26))  # Whole batches only: what is left over is batched otherwise.
    choice = training(epochs=3, **OPTIONS[options]).model_copy(update={"precision": precision})
    plan, model = plan_for(parts, choice), Linear()
    features = Matrix.concatenate([part.features for part in parts if isinstance(part.features, Matrix)])
    rows = LabelledRows(features, np.concatenate([part.labels for part in parts]))
    initial = model.initial(features, 2, choice)
    names = linear_names(model)
    ended = train(plan, parts, initial_weights(initial, names, SCALES))
    found = final_parameters(ended.shares, initial, names, SCALES)
    expected = model.train(initial, rows, 2, choice).parameters
    allowed = tolerance(plan, dense(parts)[0]) + (0 if precision == "float64" else 1e-5)
    for name in names:
        assert found[name].dtype == np.dtype(precision)
        ours, plain = (np.asarray(one[name], np.float64) for one in (found, expected))
        assert (
            np.abs((ours[1] - ours[0]) - (plain[1] - plain[0])).max() < allowed + plan.batches * 2.0**-12 / 8
        )
        before = np.asarray(initial[name], np.float64)
        assert np.abs(ours.sum(axis=0) - before.sum(axis=0)).max() < 1e-6
        assert name != names[0] or np.abs((plain[1] - plain[0]) - (before[1] - before[0])).max() > 0.05
    margins = (model.scores(one, features) for one in (found, expected))
    ours, plain = (scores[:, 1] - scores[:, 0] for scores in margins)
    assert np.abs(ours - plain).max() < 0.01
