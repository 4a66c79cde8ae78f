"""The built-in model types pass the contract that ships for third parties, and train as torch does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fedcore.plugin_api import (
    Features,
    InvalidOptions,
    LabelledRows,
    Matrix,
    ModelType,
    Sequence,
    TrainingDiverged,
    ValueKind,
)
from fedcore.plugin_api.testing import ModelTypeContract, separable_rows, trained
from fedcore.plugin_api.torch_choices import LOSSES, optimisers, schedulers
from fedcore.wire.presets import Preset, reference_2021_features, reference_2021_sequence
from fedcore.wire.spec import EarlyStopping, PluginChoice, Training
from plugins.models.linear import Linear
from plugins.models.mlp import MultilayerPerceptron

ROWS = separable_rows(ValueKind.MATRIX)


class TestModelTypes(ModelTypeContract):
    training = Training(
        optimiser=PluginChoice(name="adam", options={"lr": 0.1}), batch_size=32, epochs=12, seed=7
    )

    @pytest.fixture(
        params=[Linear(), MultilayerPerceptron(), MultilayerPerceptron({"hidden": [16, 8], "dropout": 0.1})],
        ids=["linear", "mlp", "mlp with dropout"],
    )
    def model(self, request: pytest.FixtureRequest) -> ModelType[Any]:
        model: ModelType[Any] = request.param
        return model


def words(**changes: Any) -> Training:
    chosen: dict[str, Any] = {"optimiser": PluginChoice(name="sgd", options={"lr": 0.5}), "epochs": 3}
    return Training(**(chosen | changes))


def refusal(**changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidOptions) as caught:
        trained(Linear(), ROWS, words(**changes))
    return caught.value.problems


def dense(features: Features) -> torch.Tensor:
    assert isinstance(features, Matrix)
    return torch.from_numpy(features.to_scipy().toarray())


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_training_is_the_plain_torch_loop(precision: Any) -> None:
    training = words(precision=precision, batch_size=64, seed=11)
    inputs = dense(ROWS.features).to(getattr(torch, precision))
    targets = torch.from_numpy(ROWS.labels)
    torch.manual_seed(11)
    network = torch.nn.Linear(20, 2).to(getattr(torch, precision))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    order = np.random.Generator(np.random.PCG64(11))
    numbers = order.permutation(len(targets))
    losses = []
    for _ in range(3):
        shuffled = order.permutation(numbers)
        # What is left over belongs to the last batch.
        for batch in np.split(shuffled, range(64, len(shuffled) - 63, 64)):
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(inputs[batch]), targets[batch])
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    model = Linear()
    outcome = model.train(model.initial(ROWS.features, 2, training), ROWS, 2, training)
    tolerance = 1e-12 if precision == "float64" else 1e-5
    assert outcome.loss == pytest.approx(losses, abs=tolerance)
    for name, expected in (("linear.weight", network.weight), ("linear.bias", network.bias)):
        assert outcome.parameters[name].dtype == np.dtype(precision)
        np.testing.assert_allclose(outcome.parameters[name], expected.detach().numpy(), atol=tolerance)


def test_the_initial_parameters_are_those_of_torch_for_the_seed() -> None:
    state = torch.random.get_rng_state()
    initial = Linear().initial(ROWS.features, 2, words(seed=3))
    assert torch.equal(torch.random.get_rng_state(), state), (
        "torch's own random numbers are left as they were"
    )
    torch.manual_seed(3)
    np.testing.assert_array_equal(initial["linear.weight"], torch.nn.Linear(20, 2).weight.detach().numpy())
    in_double = Linear().initial(ROWS.features, 2, words(seed=3, precision="float64"))
    np.testing.assert_array_equal(in_double["linear.weight"], initial["linear.weight"].astype(np.float64))


def test_another_seed_gives_another_model() -> None:
    one, other = (trained(Linear(), ROWS, words(seed=seed)) for seed in (1, 2))
    assert not np.array_equal(one["linear.weight"], other["linear.weight"])


def test_dense_and_compressed_rows_give_the_same_model() -> None:
    class DenseLinear(Linear):
        sparse = False

    training = words(precision="float64")
    one, other = (trained(model, ROWS, training) for model in (Linear(), DenseLinear()))
    np.testing.assert_allclose(one["linear.weight"], other["linear.weight"], atol=1e-13)


OPTIONS: dict[str, dict[str, Any]] = {"lbfgs": {"max_iter": 3}, "adafactor": {}, "muon": {}}


@pytest.mark.parametrize("name", sorted(set(optimisers()) - {"muon"}))
def test_every_optimiser_of_torch_trains(name: str) -> None:
    training = words(optimiser=PluginChoice(name=name, options=OPTIONS.get(name, {"lr": 0.01})))
    outcome = Linear().train(Linear().initial(ROWS.features, 2, training), ROWS, 2, training)
    assert len(outcome.loss) == len(outcome.accuracy) == 3 * 3
    assert np.isfinite(outcome.loss).all()


SCHEDULES: dict[str, dict[str, Any]] = {
    "steplr": {"step_size": 1},
    "step_lr": {"step_size": 1},
    "step": {"step_size": 1},
    "multisteplr": {"milestones": [1]},
    "exponentiallr": {"gamma": 0.5},
    "cosine_annealing_lr": {"T_max": 3},
    "cosineannealingwarmrestarts": {"T_0": 2},
    "one_cycle_lr": {"max_lr": 0.5},
    "cycliclr": {"base_lr": 0.01, "max_lr": 0.5, "cycle_momentum": False},
    "reduce_lr_on_plateau": {"patience": 0},
    "linearlr": {},
    "constantlr": {},
    "polynomiallr": {},
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedulers_of_torch_train_under_their_names(name: str) -> None:
    choice = PluginChoice(name=name, options=SCHEDULES[name])
    assert np.isfinite(trained(Linear(), ROWS, words(scheduler=choice))["linear.weight"]).all()


def test_a_scheduler_changes_the_steps() -> None:
    plain = trained(Linear(), ROWS, words())
    falling = PluginChoice(name="exponential_lr", options={"gamma": 0.1})
    assert not np.array_equal(
        trained(Linear(), ROWS, words(scheduler=falling))["linear.weight"], plain["linear.weight"]
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weights", [None, "balanced", (1.0, 3.0)])
def test_every_loss_learns(loss: str, weights: Any) -> None:
    training = words(loss=loss, class_weights=weights, epochs=20, batch_size=32)
    training = training.model_copy(update={"optimiser": PluginChoice(name="adam", options={"lr": 0.05})})
    scores = Linear().scores(trained(Linear(), ROWS, training), ROWS.features)
    assert (scores.argmax(axis=1) == ROWS.labels).mean() > 0.95


def test_class_weights_move_the_decision() -> None:
    numbers = np.random.default_rng(0)
    rows = LabelledRows(ROWS.features, (numbers.random(400) < 0.1).astype(np.int64))
    found = {}
    for weights in (None, "balanced"):
        scores = Linear().scores(
            trained(Linear(), rows, words(class_weights=weights, epochs=30)), rows.features
        )
        found[weights] = scores.argmax(axis=1).mean()
    assert found[None] < 0.05 < found["balanced"]


def test_an_unknown_optimiser_scheduler_or_loss_is_answered_with_those_that_exist() -> None:
    assert "adamw" in refusal(optimiser=PluginChoice(name="adamm"))["optimiser"]
    assert "'adamm' is none of" in refusal(optimiser=PluginChoice(name="adamm"))["optimiser"]
    assert "cosineannealinglr" in refusal(scheduler=PluginChoice(name="cosine"))["scheduler"]
    assert "cross_entropy" in refusal(loss="entropy")["loss"]


@pytest.mark.parametrize("name", ["optimizer", "sparse_adam", "lr_scheduler", "functional", "__init__"])
def test_what_is_no_usable_optimiser_cannot_be_chosen(name: str) -> None:
    if name == "__init__":
        assert "__init__" not in optimisers()
        return
    assert "optimiser" in refusal(optimiser=PluginChoice(name=name))


@pytest.mark.parametrize("name", ["lambda_lr", "multiplicative_lr", "sequential_lr", "lr_scheduler"])
def test_schedulers_that_need_functions_or_objects_cannot_be_chosen(name: str) -> None:
    assert name.replace("_", "") not in schedulers()
    assert "scheduler" in refusal(scheduler=PluginChoice(name=name))


def test_an_option_that_torch_does_not_have_is_told_with_those_that_it_has() -> None:
    found = refusal(optimiser=PluginChoice(name="sgd", options={"lr": 0.1, "momemtum": 0.9}))
    assert set(found) == {"optimiser.momemtum"}
    assert "momentum" in found["optimiser.momemtum"]


@pytest.mark.parametrize(
    "choice",
    [
        PluginChoice(name="sgd", options={"lr": -1.0}),
        PluginChoice(name="sgd", options={"lr": "fast"}),
        PluginChoice(name="sgd", options={"lr": 1e39}),
        PluginChoice(name="sgd", options={"foreach": True, "fused": True}),
        PluginChoice(name="adam", options={"betas": [0.9]}),
        PluginChoice(name="adam", options={"params": []}),
        PluginChoice(name="muon", options={}),
    ],
)
def test_an_option_that_torch_refuses_is_an_invalid_option(choice: PluginChoice) -> None:
    assert any(name.startswith("optimiser") for name in refusal(optimiser=choice))


@pytest.mark.parametrize(
    "choice",
    [
        PluginChoice(name="step_lr", options={}),
        PluginChoice(name="step_lr", options={"step_size": 0}),
        PluginChoice(name="exponential_lr", options={"gamma": "half"}),
        PluginChoice(name="one_cycle_lr", options={"max_lr": 0.1, "total_steps": 2}),
    ],
)
def test_an_option_that_a_scheduler_refuses_is_an_invalid_option(choice: PluginChoice) -> None:
    assert set(refusal(scheduler=choice)) == {"scheduler"}


def test_class_weights_need_one_weight_for_each_class() -> None:
    assert "3 weights for 2 classes" in refusal(class_weights=(1.0, 2.0, 3.0))["class_weights"]


def test_a_loss_that_is_not_finite_ends_training_and_names_the_step() -> None:
    wild = words(
        optimiser=PluginChoice(name="sgd", options={"lr": 1e30}),
        loss="squared_error",
        epochs=50,
        batch_size=32,
    )
    with pytest.raises(TrainingDiverged, match=r"became NaN or infinite at step \d+ of 600"):
        trained(Linear(), ROWS, wild)


def test_parameters_that_are_not_finite_after_the_last_step_end_training() -> None:
    training = words(optimiser=PluginChoice(name="sgd", options={"lr": 1e38, "weight_decay": 1e5}), epochs=1)
    training = training.model_copy(update={"batch_size": 400})
    with pytest.raises(TrainingDiverged, match="A parameter became NaN or infinite at step 1 of 1"):
        trained(Linear(), ROWS, training)


def test_early_stopping_ends_training_and_keeps_the_best_parameters() -> None:
    numbers = np.random.default_rng(0)
    noise = LabelledRows(ROWS.features, numbers.integers(0, 2, 400))
    training = words(
        optimiser=PluginChoice(name="adam", options={"lr": 0.5}),
        epochs=200,
        early_stopping=EarlyStopping(patience=3, share=0.25),
    )
    model = Linear()
    outcome = model.train(model.initial(noise.features, 2, training), noise, 2, training)
    assert outcome.epochs < 50
    shorter = training.model_copy(update={"epochs": outcome.epochs - 3})
    best = model.train(model.initial(noise.features, 2, shorter), noise, 2, shorter)
    np.testing.assert_array_equal(outcome.parameters["linear.weight"], best.parameters["linear.weight"])


@pytest.mark.parametrize(
    ("preset", "columns", "size", "kind", "count"),
    [
        (reference_2021_features(), 300, 0, ValueKind.MATRIX, 602),
        (reference_2021_sequence(), 250, 9000, ValueKind.SEQUENCE, 502),
    ],
)
def test_the_network_of_2021_is_kept_parameter_for_parameter(
    preset: Preset, columns: int, size: int, kind: ValueKind, count: int
) -> None:
    network = Linear(preset.model.options).network(columns, size, 2, kind)
    shapes = {name: tuple(value.shape) for name, value in network.named_parameters()}
    assert shapes == {"linear.weight": (2, columns), "linear.bias": (2,)}
    assert sum(value.numel() for value in network.parameters()) == count
    batch = torch.zeros(4, columns, dtype=torch.int64 if kind is ValueKind.SEQUENCE else torch.float32)
    assert (network(batch) >= 0).all(), "its outputs pass through ReLU"
    assert preset.training.optimiser == PluginChoice(name="sgd", options={"lr": 0.001})
    assert (preset.training.batch_size, preset.training.epochs) == (32, 2)


@pytest.mark.parametrize("kind", [ValueKind.MATRIX, ValueKind.SEQUENCE])
def test_the_network_of_2021_trains_with_a_gradient(kind: ValueKind) -> None:
    preset = reference_2021_features()
    rows, model = separable_rows(kind), Linear(preset.model.options)
    start = model.initial(rows.features, 2, preset.training)
    after = model.train(start, rows, 2, preset.training)
    assert not np.array_equal(after.parameters["linear.weight"], start["linear.weight"])
    assert after.loss[-1] < after.loss[0]


def test_the_order_of_tokens_in_a_sequence_does_not_matter_to_mlp_and_padding_adds_nothing() -> None:
    rows = separable_rows(ValueKind.SEQUENCE)
    assert isinstance(rows.features, Sequence)
    parameters = trained(MultilayerPerceptron(), rows, words())
    padded = np.concatenate([np.zeros((400, 5), np.int32), rows.features.ids[:, ::-1]], axis=1)
    model = MultilayerPerceptron()
    np.testing.assert_allclose(
        model.scores(parameters, Sequence(padded, rows.features.size)),
        model.scores(parameters, rows.features),
        atol=1e-9,
    )
