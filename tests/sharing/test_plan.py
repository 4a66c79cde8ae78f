"""The plan of a training: what it refuses at once, and batches in the order of the plain loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcore.plugin_api import torch_models
from fedcore.plugin_api.arrays import pack_arrays
from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.sharing import plan as planning
from fedcore.sharing.plan import Loss, SharedPlan, plan_of
from fedcore.sharing.scales import Scales
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import EarlyStopping, PluginChoice, Training
from plugins.models.linear import Linear
from tests.sharing.cast import SCALES, Shares, plan_for, rows_of, training


def problems(choice: Training) -> dict[str, str]:
    with pytest.raises(InvalidOptions) as caught:
        plan_of(choice, SCALES, 3, [100])
    assert caught.value.plugin == "training"
    return caught.value.problems


def with_options(**options: Any) -> Training:
    return training(**options)


@pytest.mark.parametrize("name", ["adam", "adagrad", "rmsprop", "lbfgs", "adamw"])
def test_an_optimiser_that_divides_by_secret_numbers_is_refused(name: str) -> None:
    choice = training().model_copy(update={"optimiser": PluginChoice(name=name, options={"lr": 0.1})})
    assert problems(choice) == {
        "optimiser": f"'{name}' divides by secret numbers; under `shared` use sgd, with momentum"
    }


@pytest.mark.parametrize(
    "option", ["nesterov", "dampening", "maximize", "foreach", "fused", "differentiable"]
)
def test_an_option_of_sgd_that_cannot_be_followed_is_refused(option: str) -> None:
    assert problems(training(momentum=0.5, **{option: True})) == {
        "optimiser": f"under `shared` sgd has the options lr, momentum, weight_decay, not {option}"
    }


@pytest.mark.parametrize("option", ["lr", "momentum", "weight_decay"])
@pytest.mark.parametrize("value", ["0.1", None, True, [0.1], -0.1, float("nan"), float("inf")])
def test_an_option_of_sgd_that_is_no_number_from_0_is_refused(option: str, value: object) -> None:
    choice = training()
    optimiser = PluginChoice.model_construct(name="sgd", options={option: value})
    found = problems(choice.model_copy(update={"optimiser": optimiser}))
    assert found == {"optimiser": f"{option} of sgd: each is a finite number from 0"}


@pytest.mark.parametrize("loss", ["hinge", "multi_margin", "nll"])
def test_another_loss_is_refused(loss: str) -> None:
    assert problems(training(loss)) == {
        "loss": f"'{loss}' is none of squared_error, cross_entropy, which can be trained on shares"
    }


def test_a_scheduler_is_refused() -> None:
    choice = training().model_copy(
        update={"scheduler": PluginChoice(name="step_lr", options={"step_size": 1})}
    )
    assert problems(choice) == {
        "scheduler": "under `shared` the learning rate stays the same: leave the scheduler out"
    }


@pytest.mark.parametrize("weights", ["balanced", (1.0, 2.0)])
def test_class_weights_are_refused(weights: Any) -> None:
    assert problems(training().model_copy(update={"class_weights": weights})) == {
        "class_weights": "under `shared` nobody knows a row's class, so rows cannot be weighted by it: leave them out"
    }


def test_early_stopping_is_refused() -> None:
    assert problems(training().model_copy(update={"early_stopping": EarlyStopping()})) == {
        "early_stopping": "under `shared` nobody sees a loss during the training: leave it out"
    }


def test_all_mistakes_are_told_at_once() -> None:
    choice = training("hinge").model_copy(
        update={
            "optimiser": PluginChoice(name="adam"),
            "scheduler": PluginChoice(name="step_lr"),
            "class_weights": "balanced",
            "early_stopping": EarlyStopping(),
        }
    )
    assert set(problems(choice)) == {"optimiser", "loss", "scheduler", "class_weights", "early_stopping"}


@pytest.mark.parametrize(("loss", "most"), [("cross_entropy", 3956), ("squared_error", 95_325)])
def test_a_batch_of_more_rows_than_can_be_dealt_at_once_is_refused(loss: str, most: int) -> None:
    assert problems(training(loss, batch_size=most + 1)) == {
        "batch_size": f"under `shared` with {loss} a batch has at most {most} rows, for as many can be dealt at once"
    }
    assert plan_of(training(loss, batch_size=most, lr=8.0), SCALES, 3, [2 * most - 1]).batches_of_block == 1


@pytest.mark.parametrize(
    ("rows", "lr", "of"),
    [([17], 2.0**-16, 17), ([8, 8, 1], 2.0**-16, 17), ([32], 2.0**-16, 16), ([7], 2.0**-16, 7)],
    ids=["small for the last batch", "of several parts", "small for a whole batch", "small for all rows"],
)
def test_a_rate_that_does_not_fit_a_whole_batch_or_the_last_one_is_refused_at_once(
    rows: list[int], lr: float, of: int
) -> None:
    with pytest.raises(WireError, match=f"a learning rate with {of} rows in a batch lies between") as caught:
        plan_of(training(batch_size=16, lr=lr), SCALES, 3, rows)
    assert caught.value.code is RefusalCode.OUT_OF_RANGE


@pytest.mark.parametrize(
    "options", [{"momentum": 1.0}, {"momentum": 2.0}, {"lr": 0.5, "weight_decay": 0.126}]
)
def test_a_training_that_forgets_all_but_its_last_batches_is_refused(options: dict[str, float]) -> None:
    assert problems(training(**options)) == {
        "optimiser": "under `shared` momentum is below 1, and lr times weight_decay at most 1/16"
    }


def test_a_momentum_that_is_no_multiple_of_2_to_the_minus_12_is_refused_by_its_name() -> None:
    with pytest.raises(WireError, match="momentum is a multiple of"):
        plan_of(training(momentum=1e-5), SCALES, 3, [100])
    with pytest.raises(WireError, match="lr times weight_decay is a multiple of"):
        plan_of(training(weight_decay=1e-5), SCALES, 3, [100])


@pytest.mark.parametrize("option", ["momentum", "weight_decay"])
@pytest.mark.parametrize(
    ("bits", "said"), [((12, 6), "12 bits and scores up to 32"), ((13, 5), "13 bits and scores up to 16")]
)
def test_momentum_or_decay_with_bits_at_which_a_velocity_may_not_fit_is_refused(
    option: str, bits: tuple[int, int], said: str
) -> None:
    with pytest.raises(
        WireError, match=f"{said}: raise fraction_bits or score_range, or leave both out"
    ) as caught:
        plan_of(training(**{option: 0.5}), Scales(*bits), 3, [100])
    assert caught.value.code is RefusalCode.OUT_OF_RANGE
    assert plan_of(training(**{option: 0.5}), Scales(13, 6), 3, [100]).keeps_velocity
    assert not plan_of(training(), Scales(*bits), 3, [100]).keeps_velocity


def test_without_a_rate_it_is_the_one_that_sgd_has_in_torch() -> None:
    choice = training().model_copy(update={"optimiser": PluginChoice(name="sgd")})
    assert plan_of(choice, SCALES, 3, [100]).rate == 1e-3


def test_the_plan_has_the_rate_and_multiples_of_momentum_and_decay() -> None:
    plan = plan_of(training(lr=0.5, momentum=0.75, weight_decay=0.125), SCALES, 3, [60, 40])
    assert (plan.rate, plan.momentum, plan.decay) == (0.5, 3072, 256)
    assert plan.keeps_velocity
    assert plan.rows == (60, 40)
    assert not plan_of(training(), SCALES, 3, [100]).keeps_velocity


@pytest.mark.parametrize(("columns", "width"), [(1, 2), (2, 4), (3, 4), (4, 6)])
def test_a_masked_row_has_room_for_the_label_and_an_even_width(columns: int, width: int) -> None:
    assert plan_of(training(), SCALES, columns, [10]).width == width


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("batch_size", [7, 512, 3500])
def test_a_block_of_any_training_has_at_most_the_bytes_that_are_dealt_at_once(
    loss: Loss, momentum: float, batch_size: int
) -> None:
    choice = training(loss, batch_size=batch_size, epochs=3, lr=1.0, momentum=momentum)
    plan = plan_of(choice, SCALES, 20, [9_000])
    rows = [sum(len(batch.rows) for batch in plan.block(number)) for number in range(plan.blocks)]
    of_row = 8 * (1 + 8 + (256 if loss is Loss.CROSS_ENTROPY else 2))
    of_batch = 8 * (20 + 2 * 21 * bool(momentum))
    assert max(rows) * of_row + plan.batches_of_block * of_batch <= planning.BLOCK_BYTES
    assert plan.blocks == 1 or (max(rows) + batch_size) * of_row >= 0.9 * planning.BLOCK_BYTES
    assert sum(rows) == 27_000


@pytest.mark.parametrize("loss", list(Loss))
def test_what_is_dealt_for_a_block_has_the_bytes_that_the_plan_counts(
    loss: Loss, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 60_000 if loss is Loss.CROSS_ENTROPY else 10_000
    monkeypatch.setattr(planning, "BLOCK_BYTES", limit)
    parts = [rows_of(1, 150, 5)]
    plan = plan_for(parts, training(loss, batch_size=10, momentum=0.5))
    assert plan.blocks > 1
    sizes = [len(pack_arrays(Shares(plan, parts).dealer.block(block))) for block in range(plan.blocks)]
    assert max(sizes) < limit + 1024
    assert sizes[0] > limit - sizes[0] / plan.batches_of_block - 1024


def test_every_batch_is_in_one_block_and_an_epoch_ends_with_its_last_batch() -> None:
    plan = plan_of(training("cross_entropy", batch_size=512, epochs=5, lr=1.0), SCALES, 3, [3000, 77])
    batches = [batch for block in range(plan.blocks) for batch in plan.block(block)]
    assert [batch.number for batch in batches] == list(range(plan.batches)) == list(range(30))
    assert [batch.number for batch in batches if batch.ends_epoch] == [5, 11, 17, 23, 29]
    assert [len(batch.rows) for batch in batches[:6]] == [512] * 5 + [517]
    for epoch in range(5):
        numbers = np.concatenate([batch.rows for batch in batches[6 * epoch : 6 * epoch + 6]])
        assert np.array_equal(np.sort(numbers), np.arange(3077))


@pytest.mark.parametrize(
    ("seed", "batch_size", "count"), [(0, 16, 100), (2**32 - 1, 7, 50), (5, 64, 64), (5, 99, 64)]
)
def test_rows_come_in_the_order_of_the_plain_training_and_so_do_all_batches_but_the_last_of_an_epoch(
    seed: int, batch_size: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    step = torch_models._Loop._step

    def recorded(loop: Any, batch: Any) -> None:
        seen.append(np.array(batch))
        step(loop, batch)

    monkeypatch.setattr(torch_models._Loop, "_step", recorded)
    rows = rows_of(2, count, 3)
    choice = training(batch_size=batch_size, epochs=4, seed=seed)
    model = Linear()
    model.train(model.initial(rows.features, 2, choice), rows, 2, choice)
    plan = plan_of(choice, SCALES, 3, [count - 10, 10])
    of_epoch, plain = plan.batches_of_epoch, len(seen) // 4
    for epoch in range(4):
        ours = [plan.batch(epoch * of_epoch + place).rows for place in range(of_epoch)]
        theirs = seen[epoch * plain : (epoch + 1) * plain]
        assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))
        assert sorted(np.concatenate(ours)) == list(range(count))
        assert min(map(len, ours)) >= min(batch_size, count)


def test_two_plans_have_the_same_digest_only_where_they_are_the_same() -> None:
    def digest(
        choice: Training, columns: int = 3, rows: tuple[int, ...] = (60, 40), scales: Scales = SCALES
    ) -> str:
        return plan_of(choice, scales, columns, rows).digest

    same = {digest(training()), digest(training())}
    others = {
        digest(training(seed=8)),
        digest(training(epochs=3)),
        digest(training(batch_size=17)),
        digest(training("cross_entropy")),
        digest(training(lr=0.125)),
        digest(training(momentum=0.5)),
        digest(training(weight_decay=0.25)),
        digest(training(), 4),
        digest(training(), 3, (40, 60)),
        digest(training(), 3, (100,)),
        digest(training(), scales=Scales(12, 6)),
        digest(training(), scales=Scales(13, 7)),
    }
    assert len(same) == 1
    assert len(same | others) == 13


def test_a_plan_is_hashable_and_frozen() -> None:
    plan: SharedPlan = plan_of(training(), SCALES, 3, [10])
    assert hash(plan) == hash(plan_of(training(), SCALES, 3, [10]))
    with pytest.raises(AttributeError):
        plan.rate = 3.0  # type: ignore[misc]
