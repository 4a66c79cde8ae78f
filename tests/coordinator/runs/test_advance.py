"""`advance` at every stage: no second order, no lost run, and what ends a run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from fedcore.coordinator.governance import decisions
from fedcore.coordinator.governance.decisions import Limits
from fedcore.coordinator.governance.models import AuditEntry, Grant, OwnerHost, Release
from fedcore.coordinator.runs import ending, storage
from fedcore.coordinator.runs.advance import advance
from fedcore.coordinator.runs.models import Artefact, Run, RunEvent, RunOrder
from fedcore.coordinator.runs.states import RunState
from fedcore.coordinator.runs.sweeping import sweep_runs, tidy_artefacts
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Settled, Status
from fedcore.wire.spec import Protocol


@pytest.mark.parametrize("protocol", list(Protocol))
def test_advancing_twice_at_each_stage_gives_no_second_order(world: Any, protocol: Protocol) -> None:
    run = world.submit(
        protocol, **({} if protocol is Protocol.LOCAL else {"pipeline": world.fitted_pipeline()})
    )
    for _ in range(30):
        advance(run.pk)
        sweep_runs()  # As after a commit, an ended run is closed at its hosts.
        before = list(RunOrder.objects.order_by("serial").values_list("id", "serial", "envelope"))
        events = RunEvent.objects.count()
        advance(run.pk)
        sweep_runs()
        assert list(RunOrder.objects.order_by("serial").values_list("id", "serial", "envelope")) == before
        assert RunEvent.objects.count() == events
        from fedcore.coordinator.runs.training import train

        train(run.pk)
        for host in world.hosts:
            host.work()
    run.refresh_from_db()
    assert run.state == RunState.FINISHED
    assert Release.objects.count() == 2


@pytest.mark.parametrize("short", ["north", "south"])
def test_a_run_that_one_owner_has_no_release_for_uses_none_of_another(world: Any, short: str) -> None:
    for host in (world.north, world.south):
        name = host.row.name
        world.requests[name] = world.grant(host, releases=1 if name == short else 5)
    runs = [world.submit(), world.submit(title="Second")]
    for run in runs:
        advance(run.pk)
    for host in world.hosts:
        host.work()
    for run in runs:
        advance(run.pk)
        run.refresh_from_db()
    assert (runs[1].state, runs[1].code, runs[1].culprit.name) == ("failed", "releases_spent", short)
    assert {release.run for release in Release.objects.all()} == {runs[0].pk}
    assert AuditEntry.objects.filter(action="use_release").count() == 2


def test_the_next_stage_waits_for_the_last_owner(world: Any, pooled: Run) -> None:
    advance(pooled.pk)
    assert world.open_orders(pooled) == [("check", "north"), ("check", "south")]
    world.north.work()
    advance(pooled.pk)
    assert world.open_orders(pooled) == [("check", "south")]
    world.south.work()
    advance(pooled.pk)
    assert world.open_orders(pooled) == [("offer", "north"), ("offer", "south")]


def test_states_and_progress_only_move_forward(world: Any, pooled: Run) -> None:
    world.drive(pooled)
    states = list(dict.fromkeys(RunEvent.objects.order_by("pk").values_list("state", flat=True)))
    assert states == ["submitted", "checking", "preparing", "running", "evaluating", "finished"]
    progress = list(RunEvent.objects.order_by("pk").values_list("progress", flat=True))
    assert progress == sorted(progress)


def test_a_run_waits_for_the_approval_of_its_requests(world: Any) -> None:
    world.requests["north"] = world.ask(world.north)
    run = world.submit()
    advance(run.pk)
    run.refresh_from_db()
    assert (run.state, run.message) == (
        RunState.AWAITING_GRANTS,
        "Waiting for the approval of north (access-north).",
    )
    assert not RunOrder.objects.exists()
    decisions.approve(world.requests["north"], world.owners["north"])
    world.north.stand(world.requests["north"].pk)
    sweep_runs()
    assert world.open_orders(run) == [("check", "north"), ("check", "south")]


def test_a_refused_request_ends_the_run_that_waits_for_it(world: Any) -> None:
    world.requests["north"] = world.ask(world.north)
    run = world.submit()
    advance(run.pk)
    decisions.refuse(world.requests["north"], world.owners["north"], "no")
    run = world.drive(run)
    assert (run.state, run.code, run.culprit.name, run.culprit_dataset) == (
        *(RunState.FAILED, "not_granted", "north", "access-north"),
    )


def test_a_run_that_is_never_approved_expires(world: Any) -> None:
    world.requests["north"] = world.ask(world.north)
    run = world.submit()
    Run.objects.update(deadline=timezone.now())
    run = world.drive(run)
    assert (run.state, run.code, run.culprit.name) == (RunState.EXPIRED, "not_granted", "north")


def test_an_owner_that_is_silent_until_the_deadline_is_named_with_the_remedy(world: Any, pooled: Run) -> None:
    advance(pooled.pk)
    world.north.work()
    Run.objects.update(deadline=timezone.now())
    run = world.drive(pooled)
    assert (run.state, run.code, run.culprit.name) == (RunState.EXPIRED, "owner_away", "south")
    assert run.message == (
        "south (access-south): The owner host did not answer before the deadline. Ask the owner to start it."
    )


def test_an_order_past_its_expiry_fails_the_run_before_the_deadline(world: Any, pooled: Run) -> None:
    advance(pooled.pk)
    RunOrder.objects.update(expires_at=timezone.now())
    assert world.drive(pooled).state == RunState.FAILED


def test_a_host_that_is_away_is_named_once_to_those_who_follow(world: Any, pooled: Run) -> None:
    advance(pooled.pk)
    OwnerHost.objects.update(last_contact=timezone.now() - timedelta(minutes=5))
    for _ in range(3):
        sweep_runs()
    told = RunEvent.objects.filter(text__contains="away")
    assert [event.text for event in told] == [
        "Waiting for north, south, which is away. Ask the owner to start the host."
    ]


@pytest.mark.parametrize("status", [Status.REFUSED, Status.FAILED])
def test_a_refusal_ends_the_run_with_code_owner_dataset_and_remedy(
    world: Any, api: Any, pooled: Run, status: Status
) -> None:
    advance(pooled.pk)
    [order] = world.south.orders()
    assert world.south.refuse(order, RefusalCode.DATASET_EMPTY, status).status_code == 200
    world.drive(pooled)
    shown = api(world.sam).get(f"/api/runs/{pooled.pk}").json()
    assert (shown["state"], shown["code"]) == ("failed", "dataset_empty")
    assert shown["culprit"] == {
        "host_name": "south",
        "dataset": "access-south",
        "remedy": "The dataset has no usable rows. Ask the owner to look at its files.",
    }
    assert world.open_orders(pooled) == [*(("check", "north"), ("close", "north"), ("close", "south"))]
    assert [order.phase for order in world.north.orders(after=0)] == [Phase.CLOSE]
    assert not any(order.keep for order in world.north.orders(after=0))


def test_a_run_that_is_refused_at_the_check_uses_no_release(world: Any, pooled: Run) -> None:
    advance(pooled.pk)
    [order] = world.south.orders()
    world.south.refuse(order, RefusalCode.TOO_FEW_ROWS)
    world.drive(pooled)
    assert not Release.objects.exists()


def test_a_grant_that_is_revoked_meanwhile_stops_the_run_before_the_next_order(
    world: Any, pooled: Run
) -> None:
    world.at(pooled, Phase.CONFIRM)
    decisions.revoke(world.requests["south"], world.owners["south"], "no longer")
    for host in world.hosts:
        host.work()
    run = world.drive(pooled)
    assert (run.state, run.code, run.culprit.name) == (RunState.FAILED, "grant_revoked", "south")
    assert not run.orders.filter(phase="prepare").exists()


def test_two_runs_cannot_share_the_last_release_of_a_grant(world: Any) -> None:
    world.requests["north"] = world.grant(world.north, releases=1)
    first, second = world.submit(), world.submit()
    assert world.drive(first).state == RunState.FINISHED
    run = world.drive(second)
    assert (run.state, run.code, run.culprit.name) == (RunState.FAILED, "releases_spent", "north")


def test_owners_that_settle_on_different_states_end_the_run(world: Any) -> None:
    run = world.submit(pipeline=world.fitted_pipeline())
    world.at(run, Phase.SETTLE)
    world.north.work()
    [order] = [order for order in world.south.orders(after=0) if order.phase is Phase.SETTLE]
    world.south.answer(order, Settled(state="00" * 32))
    run = world.drive(run)
    assert (run.state, run.code) == (RunState.FAILED, "state_mismatch")
    assert not run.orders.filter(phase="prepare").exists()


def test_a_cancelled_run_tells_the_hosts_and_deletes_what_they_sent(
    world: Any, pooled: Run, django_capture_on_commit_callbacks: Any
) -> None:
    world.at(pooled, Phase.PREPARE)
    world.north.work()
    [artefact] = Artefact.objects.all()
    assert storage.file_of(artefact).exists()
    with django_capture_on_commit_callbacks(execute=True):
        ending.cancel(pooled.pk)
    assert not storage.file_of(artefact).exists()
    pooled.refresh_from_db()
    assert (pooled.state, pooled.code) == (RunState.CANCELLED, "cancelled")
    assert ("close", "north") in world.open_orders(pooled)
    ending.cancel(pooled.pk)
    advance(pooled.pk)
    assert pooled.orders.filter(phase="close").count() == 2


def test_a_finished_run_cannot_be_cancelled(world: Any, pooled: Run) -> None:
    world.drive(pooled)
    with pytest.raises(ending.NotAllowed, match="finished"):
        ending.cancel(pooled.pk)


def test_an_unknown_run_is_left_alone(world: Any) -> None:
    before = RunOrder.objects.count()
    advance("00" * 32)
    assert RunOrder.objects.count() == before


def held(run: Run) -> set[str]:
    """What the coordinator still holds of its own making."""
    return set(Artefact.objects.filter(run=run, order=None, deleted_at=None).values_list("role", flat=True))


def test_model_and_merged_dataset_go_at_once_when_a_grant_is_revoked(
    world: Any, api: Any, pooled: Run, django_capture_on_commit_callbacks: Any
) -> None:
    world.drive(pooled)
    files = [storage.file_of(artefact) for artefact in Artefact.objects.filter(run=pooled, order=None)]
    assert held(pooled) == {"model", "dataset"}
    with django_capture_on_commit_callbacks(execute=True):
        decisions.revoke(world.requests["south"], world.owners["south"], "no longer")
    assert held(pooled) == set()
    assert not any(file.exists() for file in files)
    for what in ("dataset", "model"):
        answer = api(world.sam).get(f"/api/runs/{pooled.pk}/{what}")
        assert (answer.status_code, answer.json()["code"]) == (403, "not_granted")
        assert "The grant of south/access-south is revoked." in answer.json()["detail"]


def test_what_a_lost_message_left_undeleted_the_next_tidying_deletes(world: Any, pooled: Run) -> None:
    world.drive(pooled)
    tidy_artefacts()
    assert held(pooled) == {"model", "dataset"}
    Grant.objects.filter(request=world.requests["south"]).update(expires_at=timezone.now())
    tidy_artefacts()
    assert held(pooled) == {"model"}
    decisions.withdraw(world.requests["north"], world.sam)
    tidy_artefacts()
    assert held(pooled) == set()


def test_tightening_download_away_takes_the_merged_dataset_and_leaves_the_model(
    world: Any, api: Any, pooled: Run, django_capture_on_commit_callbacks: Any
) -> None:
    world.drive(pooled)
    with django_capture_on_commit_callbacks(execute=True):
        decisions.tighten(world.requests["south"], world.owners["south"], Limits(download=False), "rows stay")
    assert held(pooled) == {"model"}
    assert api(world.sam).get(f"/api/runs/{pooled.pk}/dataset").status_code == 403
    assert api(world.sam).get(f"/api/runs/{pooled.pk}/model").status_code == 200


@pytest.mark.parametrize(
    ("limits", "code", "said"),
    [
        (Limits(protocols=("local",)), "protocol_not_allowed", "The grant covers the protocols local;"),
        (Limits(backends=("plaintext",)), "backend_not_allowed", "covers the backends plaintext;"),
        (Limits(model_types=("mlp",)), "model_not_allowed", "covers the model types mlp;"),
        (Limits(epsilon_micro=1_000_000), "epsilon_not_allowed", "an epsilon of 1; the run asks none."),
        (Limits(minimum_owners=3), "too_few_owners", "at least 3 owners, not 2."),
    ],
)
def test_a_grant_that_is_tightened_meanwhile_stops_the_run_before_the_next_order(
    world: Any, pooled: Run, limits: Limits, code: str, said: str
) -> None:
    world.at(pooled, Phase.CONFIRM)
    decisions.tighten(world.requests["south"], world.owners["south"], limits, "less")
    for host in world.hosts:
        host.work()
    run = world.drive(pooled)
    assert (run.state, run.code, run.culprit.name) == (RunState.FAILED, code, "south")
    assert said in run.message
    assert not run.orders.filter(phase="prepare").exists()


def test_a_grant_that_was_given_back_or_ran_out_stops_the_run(world: Any) -> None:
    for change, code in (
        (lambda: decisions.withdraw(world.requests["south"], world.sam), "not_granted"),
        (lambda: Grant.objects.update(expires_at=timezone.now()), "grant_expired"),
    ):
        world.requests.clear()
        run = world.at(world.submit(), Phase.CONFIRM)
        change()
        run = world.drive(run)
        assert (run.state, run.code) == (RunState.FAILED, code)


def test_a_grant_that_is_revoked_after_the_last_report_leaves_no_model(world: Any, pooled: Run) -> None:
    world.at(pooled, Phase.EVALUATE)
    for host in world.hosts:
        host.work()
    decisions.revoke(world.requests["south"], world.owners["south"], "no longer")
    run = world.drive(pooled)
    assert (run.state, run.code) == (RunState.FAILED, "grant_revoked")
    assert held(run) == set()


def test_orders_carry_the_grant_as_it_is_now(world: Any, pooled: Run) -> None:
    world.at(pooled, Phase.CONFIRM)
    decisions.tighten(world.requests["south"], world.owners["south"], Limits(releases=2), "fewer")
    world.at(pooled, Phase.PREPARE)
    granted = {order.phase: order.grant.releases for order in world.south.orders(after=0)}
    assert granted[Phase.PREPARE] == 2


@pytest.mark.parametrize(
    "unknown",
    [
        {"protocols": ["unheard_of", "pooled"]},
        {"epsilon_micro": "much"},
        {"epsilon_micro": 0},
        {"backends": []},
        {"backends": "keyed_tokens"},
        {"model_types": {"linear": True}},
        {"minimum_owners": 0},
        {"releases": -1},
    ],
    ids=str,
)
def test_a_grant_with_a_limit_that_is_empty_or_not_known_covers_no_run(world: Any, unknown: Any) -> None:
    run = world.at(world.submit(), Phase.CONFIRM)
    Grant.objects.filter(request=world.requests["south"]).update(**unknown)
    run = world.drive(run)
    assert (run.state, run.code, run.culprit.name) == (RunState.FAILED, "not_granted", "south")
    assert "a limit that is not known here" in run.message


@pytest.mark.parametrize(
    "limit", ["protocols", "backends", "model_types", "epsilon_micro", "releases", "expires_at"]
)
def test_a_grant_without_one_of_its_limits_cannot_be_stored(world: Any, limit: str) -> None:
    world.requests["north"] = world.grant(world.north)
    with pytest.raises(IntegrityError), transaction.atomic():
        Grant.objects.update(**{limit: None})


def test_an_approval_that_is_tighter_than_the_waiting_run_ends_it_with_the_reason(world: Any) -> None:
    world.requests["north"] = world.ask(world.north)
    run = world.submit()
    advance(run.pk)
    decisions.approve(world.requests["north"], world.owners["north"], Limits(protocols=("local",)))
    run = world.drive(run)
    assert (run.state, run.code) == (RunState.FAILED, "protocol_not_allowed")
    assert "north (access-north)" in run.message


def test_without_every_owners_leave_no_merged_dataset_is_made(world: Any, api: Any) -> None:
    world.requests["south"] = world.grant(world.south, download=False)
    run = world.drive(world.submit())
    assert run.state == RunState.FINISHED
    assert not Artefact.objects.filter(role="dataset").exists()
    answer = api(world.sam).get(f"/api/runs/{run.pk}/dataset")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_granted")
