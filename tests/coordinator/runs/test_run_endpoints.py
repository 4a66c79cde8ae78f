"""The endpoints for people: what Sam, Olga, Paul and Eve get to see of a run."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from fedcore.coordinator.api import waiting
from fedcore.coordinator.governance.models import ApiToken, OwnerHost
from fedcore.coordinator.runs.advance import advance
from fedcore.coordinator.runs.models import Run, RunEvent
from fedcore.wire.spec import Protocol

ENDINGS = ("", "/report", "/model", "/dataset", "/wait?after=0")


def test_eve_sees_nothing_of_sams_run(world: Any, api: Any, pooled: Run) -> None:
    world.drive(pooled)
    eve = api(world.eve)
    assert eve.get("/api/runs").json() == []
    for ending in ENDINGS:
        assert eve.get(f"/api/runs/{pooled.pk}{ending}").status_code == 404, ending
    assert eve.post(f"/api/runs/{pooled.pk}/cancel").status_code == 404


def test_nobody_without_a_token_sees_anything(world: Any, api: Any, pooled: Run) -> None:
    for ending in ENDINGS:
        assert api(None).get(f"/api/runs/{pooled.pk}{ending}").status_code == 401, ending
    assert api(None).get("/api/runs").status_code == 401
    assert api(None).post("/api/runs", {}, format="json").status_code == 401
    assert api(None).post(f"/api/runs/{pooled.pk}/cancel").status_code == 401
    bad = Client().get(f"/api/runs/{pooled.pk}/wait", headers={"Authorization": "Token nonsense"})
    assert bad.status_code == 401


def test_the_owner_of_the_data_follows_the_run_but_gets_no_model(world: Any, api: Any, pooled: Run) -> None:
    world.drive(pooled)
    olga = api(world.owners["north"])
    assert [run["id"] for run in olga.get("/api/runs").json()] == [pooled.pk]
    assert olga.get(f"/api/runs/{pooled.pk}/report").status_code == 200
    for ending in ("/model", "/dataset"):
        assert olga.get(f"/api/runs/{pooled.pk}{ending}").status_code == 404
    assert olga.post(f"/api/runs/{pooled.pk}/cancel").status_code == 404


def test_lists_of_runs_read_neither_reports_nor_specs(
    world: Any, api: Any, browser: Any, django_assert_max_num_queries: Any
) -> None:
    world.submit()
    for client, address in (
        (api(world.sam), "/api/runs"),
        (browser(world.sam), "/admin/runs/run/"),
    ):
        with django_assert_max_num_queries(60) as asked:
            assert client.get(address).status_code == 200
        read = " ".join(query["sql"] for query in asked.captured_queries)
        assert '"runs_run"."title"' in read.replace("`", '"')
        assert not [
            name for name in ("envelope", "report") if f'"runs_run"."{name}"' in read.replace("`", '"')
        ]


def test_runs_come_in_pages(world: Any, api: Any) -> None:
    older, newer = world.submit(), world.submit(title="Second")
    sam = api(world.sam)
    first = sam.get("/api/runs?page_size=1")
    following = re.search(r'<([^>]+)>; rel="next"', first.headers["Link"])
    assert following is not None
    assert [run["id"] for run in first.json()] == [newer.pk]
    second = sam.get(following[1])
    assert [run["id"] for run in second.json()] == [older.pk]
    assert 'rel="next"' not in second.headers["Link"]


def test_a_run_shows_where_it_is(world: Any, api: Any, pooled: Run) -> None:
    OwnerHost.objects.update(last_contact=None)
    advance(pooled.pk)
    shown = api(world.sam).get(f"/api/runs/{pooled.pk}").json()
    assert (shown["state"], shown["phase"], shown["code"], shown["culprit"]) == (
        "checking",
        "check",
        "",
        None,
    )
    assert shown["message"] == "Waiting for north, south, which is away. Ask the owner to start the host."
    assert 0 <= shown["progress"] < 1


def test_a_report_is_there_when_the_run_has_finished(world: Any, api: Any, pooled: Run) -> None:
    answer = api(world.sam).get(f"/api/runs/{pooled.pk}/report")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "submitted" in answer.json()["detail"]
    assert api(world.sam).get(f"/api/runs/{pooled.pk}/model").status_code == 404


def test_sam_cancels_his_run(world: Any, api: Any, pooled: Run) -> None:
    answer = api(world.sam).post(f"/api/runs/{pooled.pk}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert api(world.sam).post(f"/api/runs/{pooled.pk}/cancel").status_code == 200


def test_a_finished_run_is_not_cancelled(world: Any, api: Any, pooled: Run) -> None:
    world.drive(pooled)
    answer = api(world.sam).post(f"/api/runs/{pooled.pk}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_a_local_run_has_no_dataset_to_fetch(world: Any, api: Any) -> None:
    run = world.drive(world.submit(Protocol.LOCAL))
    assert api(world.sam).get(f"/api/runs/{run.pk}/dataset").status_code == 403


def test_events_are_answered_at_once_where_there_are_some(world: Any, api: Any, pooled: Run) -> None:
    token = ApiToken.objects.create(user=world.sam)[1]
    headers = {"Authorization": f"Token {token}"}
    answer = Client().get(f"/api/runs/{pooled.pk}/wait?after=0", headers=headers).json()
    assert answer["state"] == "submitted"
    assert [event["text"] for event in answer["events"]] == ["The run was submitted."]
    assert set(answer["events"][0]) == {"serial", "at", "state", "text", "progress"}
    assert Client().get(f"/api/runs/{pooled.pk}/wait?after=x", headers=headers).status_code == 400


def test_waiting_for_an_ended_run_does_not_wait(world: Any, pooled: Run) -> None:
    world.drive(pooled)
    token = ApiToken.objects.create(user=world.sam)[1]
    last = RunEvent.objects.latest("pk").pk
    started = time.monotonic()
    answer = Client().get(
        f"/api/runs/{pooled.pk}/wait?after={last}", headers={"Authorization": f"Token {token}"}
    )
    assert answer.json() == {"events": [], "state": "finished"}
    assert time.monotonic() - started < 2


@pytest.mark.django_db(transaction=True)
def test_whoever_waits_is_woken_by_a_new_event(world: Any) -> None:
    run = world.submit()
    token = ApiToken.objects.create(user=world.sam)[1]
    last = RunEvent.objects.latest("pk").pk

    async def wait_and_advance() -> Any:
        path = f"/api/runs/{run.pk}/wait?after={last}"
        poll = asyncio.create_task(AsyncClient().get(path, headers={"Authorization": f"Token {token}"}))
        await asyncio.sleep(0.3)
        assert not poll.done()
        await waiting.in_database(advance)(run.pk)
        return await asyncio.wait_for(poll, 5)

    answer = async_to_sync(wait_and_advance)().json()
    assert answer["state"] == "checking"


def test_files_are_streamed_under_asgi_too(world: Any, pooled: Run) -> None:
    world.drive(pooled)
    token = ApiToken.objects.create(user=world.sam)[1]

    async def fetch() -> bytes:
        answer = await AsyncClient().get(
            f"/api/runs/{pooled.pk}/model", headers={"Authorization": f"Token {token}"}
        )
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="model-')
        return b"".join([block async for block in answer.streaming_content])

    data = async_to_sync(fetch)()
    assert len(data) == pooled.artefacts.get(role="model").size


def test_admin_pages_of_runs_open_for_sam_and_olga_and_not_for_eve(
    world: Any, browser: Any, pooled: Run
) -> None:
    world.drive(pooled)
    for person in (world.sam, world.owners["north"]):
        page = browser(person).get(f"/admin/runs/run/{pooled.pk}/change/")
        assert page.status_code == 200
        assert "finished" in page.content.decode()
        assert "Detector" in browser(person).get("/admin/runs/run/").content.decode()
    assert "Detector" not in browser(world.eve).get("/admin/runs/run/").content.decode()
    assert browser(world.eve).get(f"/admin/runs/run/{pooled.pk}/change/").status_code in (302, 403, 404)


def test_the_broker_being_away_costs_nothing_but_time(
    world: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from kombu.exceptions import OperationalError

    from fedcore.coordinator.runs import bell

    class App:
        def send_task(self, *arguments: Any, **options: Any) -> None:
            raise OperationalError("no socket")

    monkeypatch.setattr(bell, "current_app", App())
    bell.ring("ab" * 32)
    assert "waits for the sweep" in caplog.text
