"""What is checked when a run is submitted, and what the scientist reads when it is not taken."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from fedcore.coordinator.governance import booking, decisions
from fedcore.coordinator.governance.decisions import Limits
from fedcore.coordinator.governance.models import AuditEntry, Dataset, Grant, OwnerHost, PersonKey
from fedcore.coordinator.runs.advance import advance
from fedcore.coordinator.runs.models import Run
from fedcore.coordinator.runs.problems import Refused
from fedcore.coordinator.runs.validation import submit
from fedcore.wire.codes import EXPLANATIONS, RefusalCode
from fedcore.wire.keys import SigningKey
from fedcore.wire.spec import EarlyStopping, Pipeline, PluginChoice, Privacy, Protocol, Training


def problems(world: Any, protocol: Protocol = Protocol.POOLED, **changes: Any) -> dict[str, str]:
    """The codes and texts with which a spec is refused."""
    with pytest.raises(Refused) as refused:
        world.submit(protocol, **changes)
    return {problem.code.value: problem.detail for problem in refused.value.problems}


def post(api: Any, world: Any, signed: Any, person: Any = None) -> Any:
    client = api(person or world.sam)
    return client.post("/api/runs", signed.encode().encode(), content_type="application/json")


def test_a_signed_spec_becomes_a_run_with_its_digest_as_identity(world: Any, api: Any) -> None:
    signed = world.spec().signed_by(world.sam_key)
    answer = post(api, world, signed)
    assert (answer.status_code, answer.json()["id"]) == (201, signed.digest)
    assert answer.json()["state"] == "submitted"
    assert Run.objects.get().envelope == signed.encode()


def test_the_same_spec_again_gives_the_same_run(world: Any, api: Any) -> None:
    signed = world.spec().signed_by(world.sam_key)
    post(api, world, signed)
    again = post(api, world, signed)
    assert (again.status_code, again.json()["id"]) == (200, signed.digest)
    assert Run.objects.count() == 1


def test_the_spec_of_a_run_that_was_deleted_does_not_run_again(world: Any, api: Any, browser: Any) -> None:
    signed = world.spec().signed_by(world.sam_key)
    post(api, world, signed)
    world.drive(Run.objects.get())
    browser(world.sam).post(f"/admin/runs/run/{signed.digest}/delete/", {"post": "yes"})
    assert not Run.objects.exists()
    again = post(api, world, signed)
    assert (again.status_code, again.json()["code"]) == (409, "run_deleted")
    assert "Submit the plan again" in again.json()["detail"]
    assert not Run.objects.exists()
    refused = AuditEntry.objects.order_by("serial").last()
    assert (refused.action, refused.thing_id, refused.code) == ("submit_run", signed.digest, "run_deleted")


def test_only_a_registered_key_of_the_person_who_is_logged_in_signs_runs(world: Any, api: Any) -> None:
    spec = world.spec()
    for signed, person in (
        (spec.signed_by(SigningKey.generate()), world.sam),
        (spec.signed_by(world.sam_key), world.eve),
    ):
        answer = post(api, world, signed, person)
        assert (answer.status_code, answer.json()["code"]) == (400, "unknown_signer")
    PersonKey.objects.update(revoked_at=timezone.now())
    assert post(api, world, spec.signed_by(world.sam_key)).json()["code"] == "unknown_signer"
    assert not Run.objects.exists()


def test_an_altered_spec_is_refused(world: Any, api: Any) -> None:
    signed = world.spec().signed_by(world.sam_key)
    altered = signed.model_copy(update={"text": signed.text.replace("Detector", "Detectoz")})
    assert post(api, world, altered).json()["code"] == "bad_signature"


def test_all_mistakes_are_answered_at_once(world: Any, api: Any) -> None:
    spec = world.spec(
        deadline=int(time.time()) - 1,
        submitted_at=int(time.time()) - 3,
        purpose="advertising",
        minimum_owners=3,
        model=PluginChoice(name="forest"),
        training=Training(optimiser=PluginChoice(name="magic")),
    )
    answer = post(api, world, spec.signed_by(world.sam_key))
    codes = [problem["code"] for problem in answer.json()["problems"]]
    assert answer.status_code == 400
    assert set(codes) == {
        *("expired", "purpose_not_allowed", "too_few_owners", "plugin_missing", "model_not_allowed")
    }
    assert answer.json()["code"] == codes[0]


def test_a_spec_that_was_signed_long_ago_or_in_the_future_is_refused(world: Any) -> None:
    for moment in (time.time() - 2 * 86400, time.time() + 3600):
        found = problems(world, submitted_at=int(moment), deadline=int(time.time()) + 7200)
        assert "sign it anew" in found["expired"]


def test_a_dataset_must_be_known_and_current(world: Any) -> None:
    spec = world.spec()
    Dataset.objects.filter(host=world.north.row).update(current_version="00" * 32)
    assert "north/access-north" in problems(world, datasets=spec.datasets)["dataset_changed"]
    Dataset.objects.filter(host=world.north.row).update(is_offered=False)
    assert "no dataset access-north" in problems(world, datasets=spec.datasets)["unknown_dataset"]
    Dataset.objects.filter(host=world.north.row).update(is_offered=True)
    OwnerHost.objects.filter(pk=world.north.row.pk).update(is_active=False)
    assert "unknown_dataset" in problems(world, datasets=spec.datasets)


def test_a_withdrawn_dataset_is_answered_like_a_missing_one(world: Any) -> None:
    """Its classes would tell that it is still there, and what is in it."""
    spec = world.spec()
    missing = spec.datasets[1].model_copy(update={"name": "no-such"})
    answers = []
    for withdrawn in (True, False):
        Dataset.objects.filter(host=world.south.row).update(
            is_offered=False, classes=["healthy", "ill"], current_version="00" * 32
        )
        second = spec.datasets[1] if withdrawn else missing
        answers.append(str(problems(world, datasets=(spec.datasets[0], second))).replace(second.name, "NAME"))
    # What the own grant of the dataset says is Sam's to know.
    assert "healthy" not in answers[0]
    assert answers[0].count("There is no dataset NAME") == answers[1].count("There is no dataset NAME") == 1
    assert "same classes" not in answers[0] + answers[1]


def test_all_datasets_need_the_same_classes(world: Any) -> None:
    spec = world.spec()
    Dataset.objects.filter(host=world.south.row).update(classes=["bad", "good"])
    assert "same classes" in problems(world, datasets=spec.datasets)["unknown_dataset"]


def test_a_grant_of_another_dataset_or_person_or_no_grant_does_not_cover_a_run(world: Any) -> None:
    spec = world.spec()
    swapped = problems(world, grants=tuple(reversed(spec.grants)))
    assert "another dataset" in swapped["not_granted"]
    unknown = problems(world, grants=("00" * 32, spec.grants[1]))
    assert "Request access" in unknown["not_granted"]


def test_a_grant_covers_its_pipelines_protocols_backends_and_models_only(world: Any) -> None:
    world.requests["north"] = world.grant(
        world.north,
        pipelines=(world.fitted_pipeline(),),
        protocols=(Protocol.LOCAL,),
        backends=("plaintext",),
        models=("mlp",),
    )
    found = problems(world)
    assert set(found) == {
        *("pipeline_not_granted", "protocol_not_allowed", "backend_not_allowed", "model_not_allowed")
    }


@pytest.mark.parametrize(
    ("limits", "code", "said"),
    [
        (
            Limits(protocols=("local",)),
            "protocol_not_allowed",
            "The grant covers the protocols local; the run uses pooled.",
        ),
        (Limits(backends=("plaintext",)), "backend_not_allowed", "the run uses keyed_tokens."),
        (Limits(model_types=("mlp",)), "model_not_allowed", "the run uses linear."),
        (
            Limits(epsilon_micro=500_000),
            "epsilon_not_allowed",
            "covers an epsilon of 0.5; the run asks none.",
        ),
        (Limits(minimum_owners=3), "too_few_owners", "The grant says at least 3 owners, not 2."),
    ],
)
def test_what_an_owner_granted_less_than_was_asked_is_refused_with_rule_subject_and_fix(
    world: Any, limits: Limits, code: str, said: str
) -> None:
    world.requests["north"] = world.grant(world.north, limits)
    found = problems(world)
    assert set(found) == {code}
    assert found[code].startswith(f"north/access-north: {EXPLANATIONS[RefusalCode(code)]}")
    assert found[code].endswith(said)


def test_a_grant_with_a_limit_that_nobody_knows_takes_no_run(world: Any) -> None:
    world.requests["north"] = world.grant(world.north)
    Grant.objects.filter(request=world.requests["north"]).update(protocols=["pooled", "telepathy"])
    assert "a limit that is not known here" in problems(world)["not_granted"]


def test_a_request_that_was_withdrawn_takes_no_run(world: Any) -> None:
    world.requests["north"] = world.grant(world.north)
    decisions.withdraw(world.requests["north"], world.sam)
    assert "The request is withdrawn." in problems(world)["not_granted"]


def test_a_request_that_waits_for_an_answer_or_a_second_approval_takes_a_run_that_waits(world: Any) -> None:
    world.requests["north"] = world.ask(world.north)
    decisions.ask(world.requests["north"], world.owners["north"], "Why?")
    run = world.submit()
    advance(run.pk)
    run.refresh_from_db()
    assert (run.state, run.message) == (
        *("awaiting_grants", "Waiting for the approval of north (access-north)."),
    )


def test_a_revoked_expired_or_spent_grant_is_refused(world: Any) -> None:
    world.spec()
    grant = Grant.objects.get(request=world.requests["north"])
    booking.book_release(grant, "11" * 32)
    Grant.objects.filter(pk=grant.pk).update(releases=1)
    assert "All releases" in problems(world)["releases_spent"]
    Grant.objects.filter(pk=grant.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "grant_expired" in problems(world)
    decisions.revoke(world.requests["north"], world.owners["north"], "no longer")
    world.requests["north"].refresh_from_db()
    assert "grant_revoked" in problems(world)


def test_a_refused_request_is_no_grant(world: Any) -> None:
    world.requests["north"] = world.ask(world.north)
    decisions.refuse(world.requests["north"], world.owners["north"], "no")
    assert "refused" in problems(world)["not_granted"]


def test_pooled_needs_a_backend_whose_key_the_owners_hold(world: Any) -> None:
    found = problems(world, backend=PluginChoice(name="plaintext"))
    assert "Use keyed_tokens" in found["backend_not_allowed"]


def test_local_takes_a_backend_without_a_key(world: Any) -> None:
    found = problems(world, Protocol.LOCAL, backend=PluginChoice(name="keyed_tokens"))
    assert "such as plaintext" in found["backend_not_allowed"]


def test_a_missing_operation_is_named_with_the_backends_that_have_it(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedcore.coordinator.plugins import installed
    from fedcore.plugin_api import ModelType, TokenBackend

    linear = installed().of_type(ModelType, "linear")
    keyed = installed().of_type(TokenBackend, "keyed_tokens")
    monkeypatch.setattr(linear, "operations", {Protocol.POOLED: frozenset({"matmul_plain"})})
    monkeypatch.setattr(keyed, "operations", frozenset({"equality"}))
    other = installed().of_type(TokenBackend, "plaintext")
    monkeypatch.setattr(other, "operations", frozenset({"equality", "matmul_plain"}))
    text = problems(world)["backend_not_allowed"]
    assert "needs matmul_plain" in text
    assert text.endswith("Backends that have it: ckks, plaintext.")
    monkeypatch.setattr(linear, "operations", {Protocol.LOCAL: frozenset()})
    assert "cannot be trained under pooled (it can under: local)" in problems(world)["model_not_allowed"]


def test_a_run_of_fewer_owners_than_run_request_or_backend_want_is_refused(world: Any) -> None:
    spec = world.spec()
    found = problems(world, datasets=spec.datasets[:1], grants=spec.grants[:1], minimum_owners=2)
    assert "keyed_tokens needs 2 owners" in found["too_few_owners"]
    world.requests["north"] = world.grant(world.north, minimum_owners=3)
    assert "at least 3 owners" in problems(world)["too_few_owners"]


def test_a_scientist_of_an_owner_that_holds_the_key_is_refused(world: Any, settings: Any) -> None:
    world.sam.organisation = world.north.row.organisation
    world.sam.save()
    for host in (world.north, world.south):
        world.requests[host.row.name] = world.grant(host, organisation="north-hospital")
    assert "The scientist belongs to" in problems(world)["same_organisation"]
    assert world.submit(Protocol.REFERENCE).state == "submitted"


def test_an_operator_that_holds_the_key_is_refused(world: Any, settings: Any) -> None:
    settings.FEDCORE_OPERATOR_ORGANISATION = "south-bank"
    assert "The operator belongs to South-Bank" in problems(world)["same_organisation"]


def test_the_reference_host_must_be_one_and_bring_no_data(world: Any) -> None:
    found = problems(world, Protocol.REFERENCE, reference_host=world.north.key.public)
    assert "no active reference host" in found["reference_not_trusted"]
    OwnerHost.objects.filter(pk=world.north.row.pk).update(is_reference=True)
    found = problems(world, Protocol.REFERENCE, reference_host=world.north.key.public)
    assert "brings a dataset" in found["reference_not_trusted"]


def test_a_wrong_pipeline_is_explained_step_by_step(world: Any) -> None:
    steps = (PluginChoice(name="lower"), PluginChoice(name="nothing"), *world.pipeline().steps[2:])
    found = problems(world, pipeline=Pipeline(steps=steps))
    assert "Step 2" in found["invalid_options"]


def test_a_model_that_does_not_take_what_the_pipeline_gives_is_refused(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedcore.coordinator.plugins import installed
    from fedcore.plugin_api import ModelType, ValueKind

    monkeypatch.setattr(installed().of_type(ModelType, "linear"), "takes", frozenset({ValueKind.SEQUENCE}))
    assert "takes a sequence" in problems(world)["invalid_options"]


@pytest.mark.parametrize(
    ("training", "text"),
    [
        (Training(optimiser=PluginChoice(name="magic")), "magic"),
        (Training(optimiser=PluginChoice(name="sgd", options={"speed": 1})), "speed"),
        (Training(scheduler=PluginChoice(name="magic")), "scheduler"),
        (Training(loss="magic"), "loss"),
        (Training(class_weights=(1.0, 2.0, 3.0)), "class_weights"),
    ],
)
def test_training_options_are_tried_before_anything_runs(world: Any, training: Training, text: str) -> None:
    assert text in problems(world, training=training)["invalid_options"]


def test_a_usual_training_is_taken(world: Any) -> None:
    training = Training(
        optimiser=PluginChoice(name="sgd", options={"lr": 0.1, "momentum": 0.9}),
        scheduler=PluginChoice(name="step_lr", options={"step_size": 2}),
        class_weights="balanced",
        early_stopping=EarlyStopping(),
        precision="float64",
    )
    assert world.submit(training=training).state == "submitted"


def test_options_of_a_model_that_do_not_exist_are_refused(world: Any) -> None:
    found = problems(world, model=PluginChoice(name="linear", options={"depth": 3}))
    assert "depth" in found["invalid_options"]


ONE = Privacy(epsilon_micro=1_000_000, delta=1e-6)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "protocol pooled bounds no epsilon"),
        ({"privacy": Privacy(epsilon_micro=1_000_000)}, "a delta above 0"),
        ({"first_rows": 100}, "use all rows"),
        ({"model": PluginChoice(name="mlp")}, "model mlp on a matrix is not linear"),
        ({"training": Training(epochs=2000)}, "1000 epochs at most"),
    ],
)
def test_an_epsilon_cannot_be_asked_where_nothing_bounds_it(
    world: Any, changes: dict[str, Any], why: str
) -> None:
    protocol = Protocol.LOCAL if changes else Protocol.POOLED
    found = problems(world, protocol=protocol, **{"privacy": ONE} | changes)
    assert why in found["epsilon_not_allowed"]


def test_a_local_run_of_a_linear_model_may_promise_an_epsilon(world: Any) -> None:
    assert world.submit(Protocol.LOCAL, privacy=ONE).spec.privacy == ONE


@pytest.mark.parametrize(
    ("asked", "privacy", "why"),
    [
        (ONE, Privacy(), "an epsilon of 1; the run asks none"),
        (ONE, Privacy(epsilon_micro=1_000_001, delta=1e-6), "an epsilon of 1; the run asks 1.000001"),
        (ONE, Privacy(epsilon_micro=1_000_000, delta=1e-5), "a delta of 1e-06; the run asks 1e-05"),
    ],
)
def test_a_run_keeps_the_epsilon_of_its_grant(world: Any, asked: Privacy, privacy: Privacy, why: str) -> None:
    world.requests["north"] = world.grant(world.north, privacy=asked)
    assert why in problems(world, protocol=Protocol.LOCAL, privacy=privacy)["epsilon_not_allowed"]


def test_a_run_within_the_epsilon_of_its_grant_is_taken(world: Any) -> None:
    world.requests["north"] = world.grant(world.north, privacy=ONE)
    half = Privacy(epsilon_micro=500_000, delta=1e-6)
    assert world.submit(Protocol.LOCAL, privacy=half).state == "submitted"


def test_a_submitted_run_rings_for_a_worker_after_its_commit(
    world: Any, django_capture_on_commit_callbacks: Any
) -> None:
    world.spec()  # The grants are given before.
    with django_capture_on_commit_callbacks(execute=True):
        run = world.submit()
    assert world.rung == [("fedcore.runs.advance", run.pk)]


def test_plugin_pins_are_fixed_when_the_run_is_submitted(pooled: Run) -> None:
    assert {(pin.group, pin.name) for pin in pooled.plugin_pins} == {
        *(("preprocessing", name) for name in ("fields", "hash_columns", "lower", "words")),
        ("encryption", "keyed_tokens"),
        ("models", "linear"),
    }


def test_every_code_of_a_problem_has_an_explanation(world: Any) -> None:
    assert RefusalCode(next(iter(problems(world, backend=PluginChoice(name="plaintext")))))


@pytest.mark.parametrize("iterations", [10**9, 1e9, True, "many", [3]])
@pytest.mark.parametrize("option", ["max_iter", "max_eval"])
def test_an_optimiser_that_iterates_within_a_step_keeps_nobody_waiting(
    world: Any, option: str, iterations: Any
) -> None:
    """Within a step nobody can cancel a training, nor does it notice that its run has ended."""
    endless = {"tolerance_grad": -1.0, "tolerance_change": -1.0, option: iterations}
    training = Training(optimiser=PluginChoice(name="lbfgs", options=endless))
    assert f"optimiser.{option}" in problems(world, training=training)["invalid_options"]


def test_an_optimiser_that_iterates_a_few_times_within_a_step_is_taken(world: Any) -> None:
    few = {"max_iter": 1000, "max_eval": 1000, "tolerance_grad": -1.0, "tolerance_change": -1.0}
    started = time.monotonic()
    run = world.submit(training=Training(optimiser=PluginChoice(name="lbfgs", options=few)))
    assert run.state == "submitted"
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "training",
    [
        {"scheduler": PluginChoice(name="cosine_annealing_lr", options={"T_max": 0})},
        {"scheduler": PluginChoice(name="step_lr", options={"step_size": 0})},
        {"scheduler": PluginChoice(name="step_lr", options={"step_size": 2, "last_epoch": 3})},
        {"scheduler": PluginChoice(name="step_lr", options={"step_size": "x"})},
        {"optimiser": PluginChoice(name="adam", options={"lr": 0.1, "capturable": True})},
        {"optimiser": PluginChoice(name="adam", options={"lr": 0.1, "weight_decay": [1]})},
    ],
)
def test_options_that_torch_trips_over_are_the_scientists_mistake(
    world: Any, training: dict[str, Any]
) -> None:
    assert "invalid_options" in problems(world, training=Training.model_validate(training))


def test_only_data_scientists_submit_runs(world: Any) -> None:
    """The checks of a run compute: whoever could not ask for data does not make the coordinator do it either."""
    signed = world.spec().signed_by(world.sam_key)
    world.sam.memberships.all().delete()
    world.sam.refresh_from_db()
    with pytest.raises(decisions.DecisionError) as refused:
        submit(world.sam, signed)
    assert refused.value.code == "not_data_scientist"


def test_a_network_too_large_for_memory_is_refused_before_it_is_made(world: Any) -> None:
    model = PluginChoice(name="mlp", options={"hidden": [65_536, 65_536]})
    assert "narrow them" in problems(world, model=model)["invalid_options"]
