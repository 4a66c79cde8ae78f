"""Dry runs: asked for with a request or before it, performed in a process with limits, and shown to both sides."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from fedcore.coordinator.governance import aside, dry_run_process, submissions, tasks, trying
from fedcore.coordinator.governance.models import DatasetVersion, DryRun, MockSample
from fedcore.owner import mocks
from fedcore.wire.catalogue import MockSample as Sample
from fedcore.wire.dry_runs import DryRunPlan, Trial
from fedcore.wire.spec import DatasetVersion as Wanted
from fedcore.wire.spec import PluginChoice, Training
from plugins.readers.labelled_lines import LabelledLines

from .conftest import VERSION


@pytest.fixture
def mock(cast):
    """The mock sample of Olga's dataset, as her host has sent it."""
    content = mocks.generated(LabelledLines())
    ref = mocks.ref_of(content)
    now = timezone.now()
    DatasetVersion.objects.create(
        dataset=cast.dataset,
        digest=VERSION,
        rows=1,
        mock_digest=ref.digest,
        first_announced=now,
        last_announced=now,
    )
    return MockSample.objects.create(digest=ref.digest, content=content)


@pytest.fixture
def rung(monkeypatch):
    """The dry runs that workers were told of; no broker is needed."""
    found = []

    class App:
        def send_task(self, task, kwargs, **options):
            found.append((task, kwargs["dry_run_id"]))

    monkeypatch.setattr(trying, "current_app", App())
    return found


@pytest.fixture
def plan(cast, message):
    def plan_with(**changes):
        facts = {
            "datasets": (Wanted(host=cast.north.signing_key, name="access-2026", version=VERSION),),
            "pipelines": message().pipelines,
            "backends": (PluginChoice(name="keyed_tokens"),),
            "models": (PluginChoice(name="linear"),),
            "training": Training(epochs=1),
        }
        return DryRunPlan(**facts | changes)

    return plan_with


def answered(trials, reason="It took too long."):
    """The process as it would be if it had answered with these trials."""
    return lambda plan, samples: (list(trials), reason)


PASSED = Trial(
    pipeline=0, backend="keyed_tokens", model="linear", passes=True, kind="matrix", columns=64, rows=9
)


def test_a_request_is_tried_by_a_worker_as_soon_as_it_is_handed_in(
    cast, message, rung, django_capture_on_commit_callbacks
):
    from fedcore.coordinator.governance import submissions

    with django_capture_on_commit_callbacks(execute=True):
        request, _ = submissions.submit_request(message().signed_by(cast.sam_key), cast.sam)
    assert rung == [(trying.TASK, request.dry_run.pk)]
    assert request.dry_run.state == "waiting"
    assert trying.ask_for_request(request) == request.dry_run


def test_the_web_process_computes_nothing_when_a_request_is_handed_in(cast, api, message, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    signed = message().signed_by(cast.sam_key)
    answer = api(cast.sam).post("/api/requests", signed.encode(), content_type="application/json")
    assert answer.status_code == 201
    assert answer.json()["dry_run"]["state"] == "waiting"


@pytest.mark.slow
def test_a_request_that_fits_passes_in_a_real_process_and_both_sides_see_it(cast, api, asked, mock):
    trying.perform(asked.dry_run.pk)
    asked.dry_run.refresh_from_db()
    assert asked.dry_run.remark == ""
    for person in (cast.sam, cast.olga, cast.anna):
        found = api(person).get(f"/api/requests/{asked.pk}").json()["dry_run"]
        assert (found["state"], found["passes"]) == ("done", True)
        (trial,) = found["trials"]
        assert (trial["kind"], trial["columns"], trial["rows"]) == ("matrix", 64, 400)
        assert 0 <= trial["accuracy"] <= 1
    assert api(cast.eve).get(f"/api/dry-runs/{asked.dry_run.pk}").status_code == 404


@pytest.mark.slow
def test_a_process_that_takes_too_long_is_ended_and_told(settings, cast, plan, mock, monkeypatch):
    settings.FEDCORE_DRY_RUN_SECONDS = 1
    monkeypatch.setattr(trying, "_STARTING_SECONDS", 0)
    dry_run = trying.ask(cast.sam, plan())
    started = time.monotonic()
    trying.perform(dry_run.pk)
    assert time.monotonic() - started < 10
    dry_run.refresh_from_db()
    assert [trial["passes"] for trial in dry_run.trials] == [False]
    assert "more than 1 seconds" in dry_run.trials[0]["problem"]


@pytest.mark.slow
def test_a_model_that_takes_too_much_memory_does_not_pass(settings, cast, plan, mock):
    settings.FEDCORE_DRY_RUN_MEMORY_MB = 256
    wide = PluginChoice(name="mlp", options={"hidden": [500]})
    steps = plan().pipelines[0].steps[:-1]
    columns = PluginChoice(name="hash_columns", options={"columns": 65_536})
    pipeline = plan().pipelines[0].model_copy(update={"steps": (*steps, columns)})
    dry_run = trying.ask(cast.sam, plan(models=(wide,), pipelines=(pipeline,)))
    trying.perform(dry_run.pk)
    dry_run.refresh_from_db()
    assert not dry_run.passes
    assert "more memory than a dry run may use" in dry_run.trials[0]["problem"]


def test_the_process_gets_no_secret_of_the_coordinator(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "canary")
    monkeypatch.setenv("DATABASE_URL", "postgres://canary")
    monkeypatch.setenv("BROKER_URL", "canary")
    environment = trying._environment()
    assert "canary" not in str(environment)
    assert environment["CUDA_VISIBLE_DEVICES"] == ""


def test_the_process_ends_by_itself_when_its_time_is_over(plan):
    job = job_of(plan(), seconds=1)
    command = [sys.executable, "-c", SLOW]
    done = subprocess.run(command, input=job.encode().encode(), capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGALRM


def test_the_process_does_not_outlive_its_worker(plan):
    job = job_of(plan(), parent=os.getpid() + 1)
    command = [sys.executable, "-c", SLOW]
    done = subprocess.run(command, input=job.encode().encode(), capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


SLOW = """
import time
from fedcore.coordinator.governance import dry_run_process
dry_run_process._warm = lambda: time.sleep(60)
dry_run_process.main()
"""


def job_of(plan, **changes):
    sample = Sample.parse(mocks.generated(LabelledLines()))
    facts = {"parent": os.getpid(), "seconds": 60, "memory_mb": 2048, **changes}
    return dry_run_process.DryRunJob(plan=plan, samples=(sample,), distributions=("fedcore",), **facts)


@pytest.mark.slow
def test_what_plugins_print_is_no_answer(plan):
    job = job_of(plan())
    done = subprocess.run(
        [sys.executable, "-c", NOISY],
        input=job.encode().encode(),
        capture_output=True,
        timeout=90,
        check=True,
    )
    assert [Trial.parse(line).passes for line in done.stdout.splitlines()] == [True]
    assert b"noise" in done.stderr


NOISY = """
import os
from fedcore.coordinator.governance import dry_run_process
warm = dry_run_process._warm
dry_run_process._warm = lambda: (print("noise", flush=True), os.write(1, b"more noise\\n"), warm())
dry_run_process.main()
"""


def test_without_a_mock_sample_there_is_nothing_to_try_and_it_says_so(cast, asked):
    trying.perform(asked.dry_run.pk)
    asked.dry_run.refresh_from_db()
    assert (asked.dry_run.state, asked.dry_run.trials) == ("done", [])
    assert "has no mock sample" in asked.dry_run.remark
    assert not asked.dry_run.passes


def test_datasets_with_different_schemas_are_not_tried(cast, plan, mock, monkeypatch):
    other = mock.sample.model_copy(update={"classes": ("a", "b")})
    samples = iter([mock.sample, other])
    monkeypatch.setattr(trying, "_sample_of", lambda wanted: next(samples))
    dry_run = trying.ask(cast.sam, plan(datasets=plan().datasets * 2))
    trying.perform(dry_run.pk)
    dry_run.refresh_from_db()
    assert "different columns or classes" in dry_run.remark


def test_trials_that_did_not_end_are_named_with_the_reason(cast, plan, mock, monkeypatch):
    monkeypatch.setattr(trying, "_run_process", answered([PASSED]))
    models = tuple(PluginChoice(name=name) for name in ("linear", "mlp"))
    dry_run = trying.ask(cast.sam, plan(models=models))
    trying.perform(dry_run.pk)
    dry_run.refresh_from_db()
    assert [(trial["model"], trial["passes"]) for trial in dry_run.trials] == [
        ("linear", True),
        ("mlp", False),
    ]
    assert dry_run.trials[1]["problem"] == "It took too long."
    assert not dry_run.passes


def test_combinations_beyond_the_limit_are_counted(cast, plan, mock, monkeypatch):
    monkeypatch.setattr(trying, "_run_process", answered([PASSED] * 16))
    dry_run = trying.ask(
        cast.sam, plan(models=(PluginChoice(name="linear"),) * 16, pipelines=plan().pipelines * 2)
    )
    trying.perform(dry_run.pk)
    dry_run.refresh_from_db()
    assert dry_run.remark == "16 further combinations were not tried."
    assert len(dry_run.trials) == 16


@pytest.mark.django_db(transaction=True)
def test_a_worker_goes_on_with_other_work_while_a_dry_run_waits_for_its_process(cast, plan, monkeypatch):
    going_on, performed = threading.Event(), []

    def perform(dry_run_id):
        performed.append(dry_run_id)
        assert going_on.wait(30)
        DryRun.objects.filter(pk=dry_run_id).update(state="done")

    monkeypatch.setattr(trying, "perform", perform)
    first, second = trying.ask(cast.sam, plan()), trying.ask(cast.sam, plan())
    thread = aside.perform_aside(first.pk)
    tasks.dry_run(dry_run_id=second.pk)
    assert aside.perform_aside(second.pk) is None
    going_on.set()
    thread.join(30)
    assert performed == [first.pk, second.pk]
    assert aside._BUSY.acquire(blocking=False)
    aside._BUSY.release()


@pytest.mark.django_db(transaction=True)
def test_a_dry_run_that_fails_keeps_no_other_from_being_performed(cast, plan, monkeypatch, caplog):
    monkeypatch.setattr(trying, "perform", lambda dry_run_id: 1 / 0)
    dry_run = trying.ask(cast.sam, plan())
    for _ in range(2):
        thread = aside.perform_aside(dry_run.pk)
        assert thread is not None
        thread.join(30)
    assert "could not be performed" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_what_the_sweep_finds_is_performed_aside(cast, plan, monkeypatch):
    found = []
    monkeypatch.setattr(aside, "perform_aside", found.append)
    dry_run = trying.ask(cast.sam, plan())
    tasks.sweep_dry_runs()
    DryRun.objects.update(asked_at=timezone.now() - timedelta(minutes=1))
    tasks.sweep_dry_runs()
    assert found == [dry_run.pk]


def test_a_dry_run_is_performed_once_however_often_its_message_comes(cast, plan, mock, monkeypatch):
    performed = []
    monkeypatch.setattr(trying, "_run_process", lambda *given: performed.append(given) or ([PASSED], ""))
    dry_run = trying.ask(cast.sam, plan())
    for _ in range(3):
        trying.perform(dry_run.pk)
    assert len(performed) == 1


def test_an_answer_that_comes_after_another_worker_has_taken_over_changes_nothing(
    cast, plan, mock, monkeypatch
):
    dry_run = trying.ask(cast.sam, plan())
    lost = trying._claim(dry_run.pk)
    DryRun.objects.update(started_at=lost - timedelta(hours=1))
    monkeypatch.setattr(trying, "_run_process", answered([PASSED]))
    trying.perform(dry_run.pk)
    trying._finish(dry_run.pk, lost, [], "late")
    dry_run.refresh_from_db()
    assert (dry_run.remark, dry_run.passes) == ("", True)


def test_the_sweep_finds_what_was_not_said_and_what_was_lost(cast, plan, mock, monkeypatch):
    monkeypatch.setattr(trying, "_run_process", answered([PASSED]))
    long_ago = timezone.now() - timedelta(hours=1)
    waiting, running = trying.ask(cast.sam, plan()), trying.ask(cast.sam, plan())
    DryRun.objects.update(asked_at=long_ago)
    DryRun.objects.filter(pk=running.pk).update(state="running", started_at=long_ago, attempts=1)
    for _ in range(2):
        trying.perform(trying.sweep())
    assert trying.sweep() is None
    assert set(DryRun.objects.values_list("pk", "state")) == {(waiting.pk, "done"), (running.pk, "done")}


def test_a_dry_run_whose_process_is_lost_each_time_is_given_up(cast, plan, mock, monkeypatch):
    monkeypatch.setattr(trying, "_run_process", lambda *given: pytest.fail("it was tried once more"))
    dry_run = trying.ask(cast.sam, plan())
    DryRun.objects.update(
        asked_at=timezone.now() - timedelta(hours=1),
        started_at=timezone.now() - timedelta(hours=1),
        state="running",
        attempts=trying.MAXIMUM_ATTEMPTS,
    )
    trying.sweep()
    dry_run.refresh_from_db()
    assert (dry_run.state, dry_run.passes) == ("done", False)
    assert "could not be performed" in dry_run.remark


def test_old_dry_runs_go_unless_a_request_has_them(cast, plan, asked, mock, monkeypatch):
    monkeypatch.setattr(trying, "_run_process", answered([PASSED]))
    trying.ask(cast.sam, plan())
    DryRun.objects.update(asked_at=timezone.now() - timedelta(days=8))
    trying.sweep()
    assert list(DryRun.objects.values_list("request", flat=True)) == [asked.pk]


def post(client, plan):
    return client.post("/api/dry-runs", plan.encode(), content_type="application/json")


def test_a_scientist_has_a_plan_tried_before_asking(cast, api, plan, mock, monkeypatch):
    monkeypatch.setattr(trying, "_run_process", answered([PASSED]))
    answer = post(api(cast.sam), plan())
    assert answer.status_code == 201
    path = f"/api/dry-runs/{answer.json()['id']}"
    trying.perform(answer.json()["id"])
    assert api(cast.sam).get(path).json()["passes"] is True
    for person in (cast.eve, cast.olga, cast.paul, cast.nobody):
        assert api(person).get(path).status_code == 404
    assert api(None).get(path).status_code == 401


@pytest.mark.parametrize(
    ("who", "changes", "status", "code"),
    [
        ("olga", {}, 403, "not_data_scientist"),
        ("nobody", {}, 403, "not_data_scientist"),
        ("sam", {"version": "0" * 64}, 400, "unknown_dataset"),
        ("sam", {"name": "other"}, 400, "unknown_dataset"),
    ],
)
def test_a_plan_is_tried_for_scientists_on_what_is_offered_only(cast, api, plan, who, changes, status, code):
    datasets = (plan().datasets[0].model_copy(update=changes),)
    answer = post(api(cast[who]), plan(datasets=datasets))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert DryRun.objects.count() == 0


def test_withdrawn_datasets_are_not_tried(cast, api, plan, mock):
    cast.dataset.is_offered = False
    cast.dataset.save()
    assert post(api(cast.sam), plan()).json()["code"] == "unknown_dataset"


def test_of_many_requests_few_are_tried_and_the_others_say_so(cast, api, message):
    most = trying.UNFINISHED_OF_REQUESTS
    kept = [
        submissions.submit_request(message().signed_by(cast.sam_key), cast.sam)[0] for _ in range(most + 2)
    ]
    waiting = DryRun.objects.filter(asked_by=cast.sam).exclude(state="done")
    assert waiting.count() == most
    left = DryRun.objects.get(request=kept[-1])
    assert (left.state, left.trials) == ("done", [])
    assert "Have it tried again" in left.remark
    assert trying.is_worth_again(kept[-1], cast.olga)
    for client in (api(cast.sam), api(cast.olga)):
        again = client.post(f"/api/requests/{kept[-1].pk}/dry-run")
        assert (again.status_code, again.json()["code"]) == (429, "too_many_dry_runs")
    waiting.update(state="done")
    assert api(cast.olga).post(f"/api/requests/{kept[-1].pk}/dry-run").json()["state"] == "waiting"


def test_nobody_keeps_the_workers_busy_with_many_dry_runs(cast, api, plan):
    client = api(cast.sam)
    for _ in range(trying.UNFINISHED_EACH):
        assert post(client, plan()).status_code == 201
    answer = post(client, plan())
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_dry_runs")
    DryRun.objects.update(state="done")
    assert post(client, plan()).status_code == 201


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"datasets": []}'])
def test_what_is_no_plan_is_refused(cast, api, body):
    answer = api(cast.sam).post("/api/dry-runs", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


def test_a_request_is_tried_again_when_asked(cast, api, asked, mock, monkeypatch):
    monkeypatch.setattr(trying, "_run_process", answered([PASSED]))
    trying.perform(asked.dry_run.pk)
    path = f"/api/requests/{asked.pk}/dry-run"
    for person in (cast.sam, cast.olga):
        answer = api(person).post(path)
        assert (answer.status_code, answer.json()["state"], answer.json()["trials"]) == (200, "waiting", [])
        trying.perform(asked.dry_run.pk)
    asked.dry_run.refresh_from_db()
    assert asked.dry_run.passes


def test_a_dry_run_that_is_not_over_is_not_begun_anew(
    cast, api, asked, rung, django_capture_on_commit_callbacks
):
    before = asked.dry_run.asked_at
    with django_capture_on_commit_callbacks(execute=True):
        api(cast.sam).post(f"/api/requests/{asked.pk}/dry-run")
    asked.dry_run.refresh_from_db()
    assert (asked.dry_run.asked_at, rung) == (before, [])


@pytest.mark.parametrize(("who", "status"), [("eve", 404), ("paul", 404), ("anna", 403), ("nobody", 404)])
def test_only_the_two_sides_have_a_request_tried_again(cast, api, asked, who, status):
    DryRun.objects.update(state="done")
    assert api(cast[who]).post(f"/api/requests/{asked.pk}/dry-run").status_code == status
    asked.dry_run.refresh_from_db()
    assert asked.dry_run.state == "done"


@pytest.mark.parametrize(
    ("trials", "shown"),
    [
        ([PASSED], "passes"),
        ([PASSED.model_copy(update={"passes": False, "problem": "Too wide."})], "Too wide."),
        ([], "has no mock sample"),
    ],
)
def test_the_owners_page_shows_what_came_of_it(cast, browser, asked, trials, shown):
    DryRun.objects.update(
        state="done",
        trials=[trial.model_dump(mode="json") for trial in trials],
        remark="" if trials else "north/access-2026 has no mock sample",
    )
    page = browser(cast.olga).get(f"/admin/governance/accessrequest/{asked.pk}/change/").content.decode()
    panel = page[page.index('id="fedcore-dry-run"') :][:4000]
    assert shown in panel
    assert ("they say nothing about the model" in panel) == bool(trials)


def again(asked):
    return f"/admin/governance/accessrequest/{asked.pk}/try_again/"


def shown_panel(browser, person, asked):
    page = browser(person).get(f"/admin/governance/accessrequest/{asked.pk}/change/").content.decode()
    return page[page.index('id="fedcore-dry-run"') :].partition("</section>")[0]


@pytest.mark.parametrize("who", ["olga", "sam"])
def test_a_dry_run_that_failed_is_tried_again_from_its_page(
    cast, browser, asked, rung, who, django_capture_on_commit_callbacks
):
    DryRun.objects.update(state="done", remark="north/access-2026 has no mock sample", attempts=3)
    assert again(asked) in shown_panel(browser, cast[who], asked)
    client = browser(cast[who])
    assert "Try this request again?" in client.get(again(asked)).content.decode()
    assert DryRun.objects.get().state == "done", "Opening the dialog changes nothing."
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(again(asked), {"_form_submitted": "on"})
    assert answer.headers["HX-Redirect"] == f"/admin/governance/accessrequest/{asked.pk}/change/"
    found = DryRun.objects.get()
    assert (found.state, found.attempts, found.remark, found.trials) == ("waiting", 0, "", [])
    assert rung == [(trying.TASK, found.pk)]
    panel = shown_panel(browser, cast[who], asked)
    assert again(asked) not in panel
    assert "hx-trigger" in panel, "The page follows by itself."


@pytest.mark.parametrize("who", ["anna", "ada", "eve", "paul"])
def test_nobody_else_is_offered_to_try_again(cast, browser, asked, who):
    DryRun.objects.update(state="done")
    client = browser(cast[who])
    page = client.get(f"/admin/governance/accessrequest/{asked.pk}/change/").content.decode()
    assert "try_again" not in page
    assert client.post(again(asked), {"_form_submitted": "on"}).status_code == 403
    assert DryRun.objects.get().state == "done"


@pytest.mark.parametrize("state", ["waiting", "running", "passed"])
def test_what_passed_or_is_under_way_is_not_offered_again(cast, browser, asked, state):
    if state == "passed":
        DryRun.objects.update(state="done", trials=[PASSED.model_dump(mode="json")])
    else:
        DryRun.objects.update(state=state)
    before = DryRun.objects.values().get()
    assert again(asked) not in shown_panel(browser, cast.olga, asked)
    assert browser(cast.olga).post(again(asked), {"_form_submitted": "on"}).status_code == 403
    assert DryRun.objects.values().get() == before


def test_a_broker_that_is_away_only_delays(
    cast, plan, monkeypatch, caplog, django_capture_on_commit_callbacks
):
    class App:
        def send_task(self, *arguments, **options):
            raise trying.OperationalError("away")

    monkeypatch.setattr(trying, "current_app", App())
    with django_capture_on_commit_callbacks(execute=True):
        dry_run = trying.ask(cast.sam, plan())
    assert dry_run.state == "waiting"
    assert "waits for the sweep" in caplog.text


def test_a_process_that_ends_at_once_is_told(cast, plan, mock, monkeypatch):
    monkeypatch.setattr(trying.sys, "executable", "/bin/false")
    dry_run = trying.ask(cast.sam, plan())
    trying.perform(dry_run.pk)
    dry_run.refresh_from_db()
    assert "ended unexpectedly" in dry_run.trials[0]["problem"]


def test_a_process_does_not_go_on_when_its_worker_is_interrupted(cast, plan, mock, monkeypatch):
    started = []

    class Interrupted(subprocess.Popen):
        def communicate(self, *given, **more):
            started.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    dry_run = trying.ask(cast.sam, plan())
    with pytest.raises(KeyboardInterrupt):
        trying.perform(dry_run.pk)
    assert started[0].wait(10) == -signal.SIGKILL
