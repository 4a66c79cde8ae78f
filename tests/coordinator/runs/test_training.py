"""Pooled training: leases, bad contributions, and what happens when a worker is lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from fedcore.coordinator.runs import lease, merging, training
from fedcore.coordinator.runs.advance import advance
from fedcore.coordinator.runs.models import Artefact, Run, RunEvent
from fedcore.coordinator.runs.states import RunState
from fedcore.coordinator.runs.training import train
from fedcore.plugin_api.models import LabelledRows
from fedcore.plugin_api.values import Matrix
from fedcore.wire.orders import Phase
from fedcore.wire.spec import PluginChoice, Training


def old(seconds: float) -> None:
    Run.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=seconds))


def test_owners_and_parts_are_merged_in_the_order_of_the_spec(world: Any, pooled: Run) -> None:
    run = world.at(pooled, Phase.TRAIN)
    rows = merging.merged_rows(run)
    north, south = (host.memory.get("rows") for host in (world.north, world.south))
    assert (north, south) == (None, None)
    assert len(rows.labels) == 80
    assert rows.features.take(np.arange(40)).indices.tolist() == _features(1).indices.tolist()


def _features(seed: int) -> Any:
    from tests.coordinator.runs.scripted_host import features_of

    return features_of(seed).features


def test_only_one_worker_gets_the_training(world: Any, pooled: Run) -> None:
    run = world.at(pooled, Phase.TRAIN)
    first = lease.claim(run.pk)
    assert first is not None
    assert lease.claim(run.pk) is None
    train(run.pk)
    assert not Artefact.objects.filter(role="model").exists()


def test_a_training_that_lost_its_worker_is_given_to_another(
    world: Any, pooled: Run, django_capture_on_commit_callbacks: Any
) -> None:
    run = world.at(pooled, Phase.TRAIN)
    first = lease.claim(run.pk)
    assert first is not None
    old(60)
    with django_capture_on_commit_callbacks(execute=True):
        advance(run.pk)
    assert world.rung[-1] == ("fedcore.runs.train", run.pk)
    with pytest.raises(lease.Superseded):
        first.beat()
    train(run.pk)
    assert world.drive(run).state == RunState.FINISHED


def test_a_training_is_asked_for_once_while_its_worker_lives(
    world: Any, pooled: Run, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        run = world.at(pooled, Phase.TRAIN)
        advance(run.pk)
    assert world.rung.count(("fedcore.runs.train", run.pk)) == 1


def test_a_training_that_loses_every_worker_ends_the_run(world: Any, pooled: Run) -> None:
    run = world.at(pooled, Phase.TRAIN)
    for _ in range(3):
        assert lease.claim(run.pk) is not None
        old(60)
        advance(run.pk)
    run.refresh_from_db()
    assert (run.state, run.code) == (RunState.FAILED, "internal")
    assert "ended three times" in run.message


def test_a_worker_that_comes_back_late_keeps_nothing(
    world: Any, pooled: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.at(pooled, Phase.TRAIN)
    keep = training._keep

    def late(*arguments: Any) -> None:
        Run.objects.update(lease="another")
        keep(*arguments)

    monkeypatch.setattr(training, "_keep", late)
    train(run.pk)
    assert not Artefact.objects.filter(role="model").exists()
    assert not any(
        path.suffix == "" and len(path.name) == 32 for path in _files() if path.name not in _known()
    )


def _files() -> list[Any]:
    from fedcore.coordinator.runs import storage

    return list(storage.folder().iterdir())


def _known() -> set[str]:
    return {artefact.id.hex for artefact in Artefact.objects.all()}


def test_the_same_run_trained_twice_gives_the_same_bytes(world: Any, pooled: Run) -> None:
    run = world.at(pooled, Phase.TRAIN)
    train(run.pk)
    first = Artefact.objects.get(role="model").digest
    Artefact.objects.filter(order=None).delete()
    Run.objects.update(lease="")
    train(run.pk)
    assert Artefact.objects.get(role="model").digest == first


def test_a_diverging_training_ends_the_run_with_the_step_and_the_remedy(world: Any) -> None:
    optimiser = PluginChoice(name="sgd", options={"lr": 1e38})
    run = world.drive(
        world.submit(training=Training(optimiser=optimiser, loss="squared_error", batch_size=8))
    )
    assert (run.state, run.code) == (RunState.FAILED, "not_finite")
    assert "at step" in run.message


def test_an_owner_whose_features_are_not_finite_is_named(world: Any, pooled: Run) -> None:
    good = _features(2)
    data = good.data.copy()
    data[3] = np.inf
    bad = Matrix(good.indptr, good.indices, data, good.columns)
    world.south.memory["rows"] = LabelledRows(bad, np.zeros(40, np.int64))
    run = world.drive(pooled)
    assert (run.state, run.code, run.culprit.name, run.culprit_dataset) == (
        *(RunState.FAILED, "not_finite", "south", "access-south"),
    )


def test_labels_outside_the_classes_are_refused(world: Any, pooled: Run) -> None:
    world.north.memory["rows"] = LabelledRows(_features(1), np.full(40, 7, np.int64))
    run = world.drive(pooled)
    assert (run.code, run.culprit.name) == ("artefact_invalid", "north")


def test_an_owner_with_another_width_is_named(world: Any, pooled: Run) -> None:
    good = _features(2)
    wide = Matrix(good.indptr, good.indices, good.data, 65)
    world.south.memory["rows"] = LabelledRows(wide, np.zeros(40, np.int64))
    run = world.drive(pooled)
    assert (run.code, run.culprit.name) == ("artefact_invalid", "south")


def test_an_unexpected_error_is_tried_again_and_then_given_up(
    world: Any, pooled: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = world.at(pooled, Phase.TRAIN)

    def broken(run: Run) -> None:
        raise RuntimeError("disk")

    monkeypatch.setattr(training, "merged_rows", broken)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            train(run.pk)
        old(60)
        advance(run.pk)
    run.refresh_from_db()
    assert (run.state, run.code) == (RunState.FAILED, "internal")


def test_a_cancelled_run_stops_its_training(world: Any, pooled: Run) -> None:
    run = world.at(pooled, Phase.TRAIN)
    held = lease.claim(run.pk)
    assert held is not None
    held.tell("Training: step 1 of 2, loss 0.5.", 0.8)
    assert RunEvent.objects.last().text == "Training: step 1 of 2, loss 0.5."
    from fedcore.coordinator.runs.ending import cancel

    cancel(run.pk)
    with pytest.raises(lease.Superseded):
        held.tell("Training: step 2 of 2, loss 0.4.", 0.9)


def test_long_curves_are_thinned(world: Any) -> None:
    from fedcore.plugin_api.models import TrainingOutcome

    outcome = TrainingOutcome({}, [0.5] * 5001, [1.0] * 5001, 1)
    curve = training._curve(outcome, LabelledRows(_features(1), np.zeros(40, np.int64)), 1.0)
    assert (curve["every"], len(curve["loss"]), curve["steps"]) == (3, 1667, 5001)
