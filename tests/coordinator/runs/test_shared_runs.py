"""Runs on shares at the coordinator: what is taken, who gets which sealed bytes, and the model from two shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcore.coordinator.governance.models import OwnerHost
from fedcore.coordinator.runs import storage
from fedcore.coordinator.runs.advance import advance
from fedcore.coordinator.runs.models import Artefact, Run
from fedcore.coordinator.runs.problems import Refused
from fedcore.coordinator.runs.states import RunState
from fedcore.coordinator.runs.training import train
from fedcore.plugin_api.arrays import pack_arrays
from fedcore.plugin_api.serialise import unpack_model
from fedcore.wire.orders import ArtefactRef, Phase
from fedcore.wire.reports import Trained, TrainingCurve
from fedcore.wire.spec import EarlyStopping, PluginChoice, Protocol, Training

SGD = PluginChoice(name="sgd", options={"lr": 0.5})


@pytest.fixture
def shared(world: Any) -> Run:
    return world.submit(Protocol.SHARED)


def problems(world: Any, **changes: Any) -> dict[str, str]:
    with pytest.raises(Refused) as refused:
        world.submit(Protocol.SHARED, **changes)
    return {problem.code.value: problem.detail for problem in refused.value.problems}


def order_of(world: Any, host: Any, phase: Phase) -> Any:
    return next(order for order in host.orders(after=0) if order.phase is phase)


# -- the whole way


def test_a_run_on_shares_ends_with_the_model_that_both_shares_make(world: Any, shared: Run) -> None:
    run = world.drive(shared)
    assert (run.state, run.message) == (RunState.FINISHED, "The run has finished.")
    model = Artefact.objects.get(run=run, order=None)
    stored = unpack_model(storage.file_of(model).read_bytes())
    weight, bias = stored.parameters["linear.weight"], stored.parameters["linear.bias"]
    assert (weight[1] - weight[0])[:3] == pytest.approx([-1, 1, 0], abs=1e-6)
    assert bias[1] - bias[0] == pytest.approx(0, abs=1e-6)
    assert run.report["metrics"]["accuracy"] == 1.0
    assert run.report["training"] == {
        "rows": 200,
        "epochs": 3,
        "steps": 0,
        "every": 1,
        "loss": [],
        "accuracy": [],
    }
    assert run.report["backend"]["leakage"] == ["how many numbers there are"]


def test_the_dealer_deals_after_all_have_prepared_and_the_two_compute_owners_train(
    world: Any, shared: Run
) -> None:
    run = world.at(shared, Phase.DEAL)
    assert world.open_orders(run) == [("deal", "deal")]
    run = world.at(run, Phase.TRAIN)
    assert world.open_orders(run) == [("train", "north"), ("train", "south")]


def test_nothing_is_put_together_while_a_compute_owner_still_trains(world: Any, shared: Run) -> None:
    run = world.at(shared, Phase.TRAIN)
    world.north.work()
    advance(run.pk)
    train(run.pk)
    run.refresh_from_db()
    assert not Artefact.objects.filter(run=run, order=None).exists()
    assert run.lease == ""
    assert world.drive(run).state == RunState.FINISHED


def test_shares_and_what_is_dealt_are_deleted_with_the_run_and_the_model_stays(
    world: Any, shared: Run
) -> None:
    run = world.drive(shared)
    left = Artefact.objects.filter(run=run, deleted_at=None)
    assert [artefact.role for artefact in left] == ["model"]


# -- what is taken


def test_the_dealer_must_be_one_and_of_another_organisation_than_both_compute_owners(world: Any) -> None:
    assert "no active dealer" in problems(world, dealer=world.lab.key.public)["dealer_not_trusted"]
    OwnerHost.objects.filter(pk=world.deal.row.pk).update(is_active=False)
    assert "no active dealer" in problems(world)["dealer_not_trusted"]
    south = world.south.row.organisation
    OwnerHost.objects.filter(pk=world.deal.row.pk).update(is_active=True, organisation=south)
    assert "deal (south-bank)" in problems(world)["same_organisation"]


@pytest.mark.parametrize(
    ("protocol", "backend", "dealer"),
    [(Protocol.SHARED, "keyed_tokens", True), (Protocol.POOLED, "secret_sharing", False)],
)
def test_shares_and_the_protocol_go_together(
    world: Any, protocol: Protocol, backend: str, dealer: bool
) -> None:
    with pytest.raises(Refused) as refused:
        world.submit(protocol, backend=PluginChoice(name=backend))
    text = " ".join(problem.detail for problem in refused.value.problems)
    assert "do not go together" in text
    assert "secret_sharing" in text


@pytest.mark.parametrize(
    ("training", "text"),
    [
        (Training(optimiser=PluginChoice(name="adam", options={"lr": 0.1})), "use sgd"),
        (Training(optimiser=PluginChoice(name="sgd", options={"lr": 0.1, "dampening": 0.5})), "dampening"),
        (Training(optimiser=SGD, loss="hinge"), "can be trained on shares"),
        (
            Training(optimiser=SGD, scheduler=PluginChoice(name="step_lr", options={"step_size": 1})),
            "scheduler",
        ),
        (Training(optimiser=SGD, class_weights="balanced"), "class_weights"),
        (Training(optimiser=SGD, early_stopping=EarlyStopping()), "early_stopping"),
        (Training(optimiser=PluginChoice(name="sgd", options={"lr": 1e-9})), "learning rate"),
    ],
)
def test_a_training_that_cannot_be_done_on_shares_is_refused_with_what_can(
    world: Any, training: Training, text: str
) -> None:
    assert text in problems(world, training=training)["invalid_options"]


def test_a_model_that_is_not_linear_is_refused(world: Any) -> None:
    relu = PluginChoice(name="linear", options={"activation": "relu"})
    assert "not linear" in problems(world, model=relu)["model_not_allowed"]
    mlp = PluginChoice(name="mlp")
    assert "cannot be trained under shared" in problems(world, model=mlp)["model_not_allowed"]


def test_more_than_two_classes_are_refused(world: Any) -> None:
    from fedcore.coordinator.governance.models import Dataset

    Dataset.objects.update(classes=["benign", "attack", "scan"])
    assert "two classes" in problems(world)["invalid_options"]


# -- who gets what


def test_each_host_fetches_only_what_is_sealed_to_it(world: Any, shared: Run) -> None:
    run = world.at(shared, Phase.DEAL)
    dealing = order_of(world, world.deal, Phase.DEAL)
    for artefact in Artefact.objects.filter(run=run, role="shares"):
        fits = artefact.audience == world.deal.key.public
        assert world.deal.fetch(dealing, artefact.digest).status_code == (200 if fits else 404)
    run = world.at(run, Phase.TRAIN)
    training = order_of(world, world.north, Phase.TRAIN)
    for artefact in Artefact.objects.filter(run=run, role__in=("shares", "dealt")):
        fits = artefact.audience == world.north.key.public
        assert world.north.fetch(training, artefact.digest).status_code == (200 if fits else 404)


def test_shares_for_anybody_else_are_not_taken(world: Any, shared: Run) -> None:
    world.at(shared, Phase.PREPARE)
    order = order_of(world, world.north, Phase.PREPARE)
    result, refs = world.north.do(order)
    for wrong in (refs[:1], [ref.model_copy(update={"audience": None}) for ref in refs]):
        assert world.north.answer(order, result, wrong).status_code == 422
    features = [ref.model_copy(update={"role": "features"}) for ref in refs]
    assert world.north.answer(order, result, features).status_code == 422
    own = [*refs, refs[0].model_copy(update={"audience": world.north.key.public, "part": 1})]
    assert world.north.answer(order, result, own).status_code == 422
    assert world.north.answer(order, result, refs).status_code == 200


def test_a_training_on_shares_shows_no_curve(world: Any, shared: Run) -> None:
    world.at(shared, Phase.TRAIN)
    order = order_of(world, world.north, Phase.TRAIN)
    result, refs = world.north.do(order)
    curve = TrainingCurve(every=1, loss=(0.5,), accuracy=(0.5,), epochs=1, steps=1)
    assert world.north.answer(order, Trained(rows=200, curve=curve), refs).status_code == 422
    assert world.north.answer(order, result, refs).status_code == 200


@pytest.mark.parametrize(
    "arrays",
    [
        {"weights": np.zeros(3, np.uint64)},
        {"weights": np.zeros(65, np.int64)},
        {"others": np.zeros(65, np.uint64)},
    ],
)
def test_a_share_of_another_form_ends_the_run_with_its_owner(
    world: Any, shared: Run, arrays: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def badly(order: Any, spec: Any) -> Any:
        data = pack_arrays(arrays)
        ref = ArtefactRef(role="weights", digest=world.south.upload(order, data), size=len(data))
        return Trained(rows=200, curve=None), [ref]

    monkeypatch.setattr(world.south, "_train_shares", badly)
    run = world.drive(shared)
    assert (run.state, run.code, run.culprit) == (RunState.FAILED, "artefact_invalid", world.south.row)


def test_shares_that_add_up_to_no_weights_end_the_run(
    world: Any, shared: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def anything(order: Any, spec: Any) -> Any:
        data = pack_arrays({"weights": np.random.default_rng(1).integers(0, 2**64, 65, np.uint64)})
        ref = ArtefactRef(role="weights", digest=world.south.upload(order, data), size=len(data))
        return Trained(rows=200, curve=None), [ref]

    monkeypatch.setattr(world.south, "_train_shares", anything)
    run = world.drive(shared)
    assert (run.state, run.code) == (RunState.FAILED, "out_of_range")
