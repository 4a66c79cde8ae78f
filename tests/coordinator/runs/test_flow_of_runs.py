"""Whole runs over the real API, with owner hosts that agree on keys, seal and evaluate."""

from __future__ import annotations

from typing import Any

from fedcore.coordinator.governance.models import Release
from fedcore.coordinator.runs.flow import FittedPlace, Who, stages
from fedcore.coordinator.runs.models import Artefact, RunOrder
from fedcore.coordinator.runs.reporting import _dearest
from fedcore.coordinator.runs.states import RunState
from fedcore.plugin_api.serialise import unpack_features, unpack_model
from fedcore.wire.orders import Order, Phase
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Privacy, Protocol


def test_a_pooled_run_trains_one_model_on_the_rows_of_all_owners(world: Any, api: Any) -> None:
    run = world.drive(world.submit())
    assert (run.state, run.code, run.progress) == (RunState.FINISHED, "", 1.0)
    report = api(world.sam).get(f"/api/runs/{run.pk}/report").json()
    assert report["metrics"]["f1"] == 1.0
    assert report["metrics"]["rows"] == 40
    assert [owner["host_name"] for owner in report["owners"]] == ["north", "south"]
    assert [owner["rows_trained"] for owner in report["owners"]] == [40, 40]
    assert report["training"]["rows"] == 80
    assert len(report["training"]["loss"]) == report["training"]["steps"] == 15
    assert report["backend"]["pseudonymised"]
    assert report["seconds"]["overhead"] <= report["seconds"]["total"]
    model = unpack_model(b"".join(api(world.sam).get(f"/api/runs/{run.pk}/model").streaming_content))
    assert (model.classes, model.columns) == (2, 64)


def test_the_merged_dataset_can_be_fetched_where_every_grant_has_leave(world: Any, api: Any) -> None:
    run = world.drive(world.submit())
    data = b"".join(api(world.sam).get(f"/api/runs/{run.pk}/dataset").streaming_content)
    assert len(unpack_features(data, 2).labels) == 80


def test_a_pooled_run_over_a_joint_vocabulary_settles_on_one_state_before_rows_leave(world: Any) -> None:
    run = world.drive(world.submit(pipeline=world.fitted_pipeline()))
    assert run.state == RunState.FINISHED, run.message
    phases = list(run.orders.order_by("serial").values_list("phase", flat=True))
    in_order = list(dict.fromkeys(phases))
    assert in_order == [
        *("check", "offer", "share", "confirm", "summarise", "settle", "prepare", "evaluate", "close")
    ]
    prepare = Signed.parse(run.orders.filter(phase="prepare").first().envelope, 2**22).open(Order)
    assert len(prepare.evidence) == 4


def test_a_reference_run_trains_at_the_reference_host_on_rows_sealed_to_it(world: Any, api: Any) -> None:
    run = world.drive(world.submit(Protocol.REFERENCE))
    assert run.state == RunState.FINISHED, run.message
    report = api(world.sam).get(f"/api/runs/{run.pk}/report").json()
    assert report["metrics"]["f1"] == 1.0
    assert report["training"]["rows"] == 80
    assert api(world.sam).get(f"/api/runs/{run.pk}/model").status_code == 404
    closed = RunOrder.objects.filter(run=run, phase="close")
    assert sorted(order.host.name for order in closed) == ["lab", "north", "south"]
    grants = [
        Signed.parse(order.envelope, 2**22).open(Order).grant
        for order in run.orders.filter(host=world.lab.row)
    ]
    assert grants == [None] * len(grants)


def test_a_local_run_with_an_epsilon_says_what_it_has_cost_and_nothing_of_its_training(
    world: Any, api: Any
) -> None:
    run = world.drive(world.submit(Protocol.LOCAL, privacy=Privacy(epsilon_micro=1_500_000, delta=1e-6)))
    assert run.state == RunState.FINISHED, run.message
    report = api(world.sam).get(f"/api/runs/{run.pk}/report").json()
    assert report["privacy"] == {"epsilon": 1.5, "delta": 1e-6, "mechanisms": ["noise"]}
    assert [owner["privacy"]["epsilon"] for owner in report["owners"]] == [1.5, 1.5]
    assert [(owner["rows_trained"], owner["training"]) for owner in report["owners"]] == [(0, None)] * 2
    assert report["training"]["epochs"] == 0


def test_a_run_without_an_epsilon_says_so(world: Any, api: Any) -> None:
    run = world.drive(world.submit(Protocol.LOCAL))
    report = api(world.sam).get(f"/api/runs/{run.pk}/report").json()
    assert report["privacy"] == report["owners"][0]["privacy"] == {"epsilon": "none"}


def test_what_one_owner_has_released_without_a_bound_has_none_for_the_run() -> None:
    half, whole = {"epsilon": 0.5}, {"epsilon": 1.0}
    assert _dearest([half, whole]) == whole
    assert _dearest([half, {"epsilon": "none"}]) == {"epsilon": "none"}


def test_a_local_run_leaves_rows_and_models_where_they_are(world: Any, api: Any) -> None:
    run = world.drive(world.submit(Protocol.LOCAL))
    assert run.state == RunState.FINISHED, run.message
    report = api(world.sam).get(f"/api/runs/{run.pk}/report").json()
    assert all(owner["metrics"]["f1"] > 0.8 for owner in report["owners"])
    assert report["metrics"]["rows"] == 40
    assert report["backend"]["leakage"] == []
    assert not Artefact.objects.filter(run=run).exists()


def test_pooled_and_reference_train_the_same_model_from_the_same_rows(world: Any, api: Any) -> None:
    pooled = world.drive(world.submit())
    reference = world.drive(world.submit(Protocol.REFERENCE))
    stored = b"".join(api(world.sam).get(f"/api/runs/{pooled.pk}/model").streaming_content)
    parameters = unpack_model(stored).parameters
    other = unpack_model(world.lab.memory["model"]).parameters
    assert reference.state == RunState.FINISHED
    for name, values in parameters.items():
        assert (values == other[name]).all()


def test_a_finished_run_uses_one_release_of_each_grant(world: Any) -> None:
    run = world.drive(world.submit())
    assert Release.objects.filter(run=run.pk).count() == 2


def test_a_finished_run_keeps_its_model_and_nothing_that_owners_sent(world: Any) -> None:
    run = world.drive(world.submit())
    live = Artefact.objects.filter(run=run, deleted_at=None)
    assert sorted(live.values_list("role", flat=True)) == ["dataset", "model"]


def test_closing_orders_keep_the_key_only_where_the_model_stays(world: Any) -> None:
    for protocol, keep in ((Protocol.POOLED, True), (Protocol.REFERENCE, False), (Protocol.LOCAL, False)):
        run = world.drive(world.submit(protocol))
        closing = [
            Signed.parse(order.envelope, 2**22).open(Order) for order in run.orders.filter(phase="close")
        ]
        assert {order.keep for order in closing} == {keep}


def test_the_flow_of_each_protocol_is_the_documented_one() -> None:
    fitted = [FittedPlace(4, 2)]
    names = [(stage.phase.value, stage.who.value) for stage in stages(Protocol.POOLED, True, fitted)]
    assert names == [
        *(("check", "owners"), ("offer", "owners"), ("share", "owners"), ("confirm", "owners")),
        *(("summarise", "owners"), ("summarise", "owners"), ("settle", "owners"), ("prepare", "owners")),
        *(("train", "coordinator"), ("evaluate", "owners")),
    ]
    reference = stages(Protocol.REFERENCE, False, [])
    assert [stage.who for stage in reference] == [Who.EVERYONE, Who.OWNERS, Who.REFERENCE, Who.OWNERS]
    assert [stage.phase for stage in stages(Protocol.LOCAL, False, fitted)] == [
        *(Phase.CHECK, Phase.TRAIN, Phase.EVALUATE)
    ]


def test_the_second_round_of_a_step_has_the_first_as_evidence_and_the_next_order_every_settle() -> None:
    flow = stages(Protocol.POOLED, True, [FittedPlace(4, 2), FittedPlace(6, 1)])
    evidence = {stage.key: [earlier.key for earlier in stage.evidence] for stage in flow}
    settled = [(Phase.SETTLE, 4, 0), (Phase.SETTLE, 6, 0)]
    assert evidence[Phase.SUMMARISE, 4, 0] == [(Phase.CONFIRM, 0, 0)]
    assert evidence[Phase.SUMMARISE, 4, 1] == [(Phase.SUMMARISE, 4, 0)]
    assert evidence[Phase.SETTLE, 4, 0] == [(Phase.SUMMARISE, 4, 0), (Phase.SUMMARISE, 4, 1)]
    assert evidence[Phase.SUMMARISE, 6, 0] == settled[:1]
    assert evidence[Phase.PREPARE, 0, 0] == [(Phase.CONFIRM, 0, 0), *settled]
