"""What Olga is told of a run over her data and Paul's: her own part, and of his that he took part."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.utils import timezone

from fedcore.coordinator.governance import decisions
from fedcore.coordinator.governance.models import AuditEntry
from fedcore.coordinator.runs.models import Artefact, Run, RunOrder
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase

WITHHELD = "It ended at south. Why is told to the scientist, and to whoever oversees that host."


def words_of(page: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.content.decode()))


def page_of(run: Run) -> str:
    return f"/admin/runs/run/{run.pk}/change/"


def refused_at_south(world: Any) -> Run:
    run = world.at(world.submit(), Phase.CHECK)
    for order in world.south.orders(after=0):
        world.south.refuse(order, RefusalCode.TOO_FEW_ROWS)
    world.north.work()
    return world.drive(run)


def test_an_owners_page_names_the_other_owner_and_not_the_others_request(world: Any, browser: Any) -> None:
    run = world.drive(world.submit())
    shown = words_of(browser(world.owners["north"]).get(page_of(run)))
    assert f"{world.requests['north']}" in shown
    assert "access-south" in shown
    assert f"{world.requests['south']}" not in shown
    seen_by_sam = words_of(browser(world.sam).get(page_of(run)))
    assert f"{world.requests['south']}" in seen_by_sam


def test_an_owner_sees_the_own_orders_and_uploads_and_the_model(world: Any) -> None:
    run = world.drive(world.submit())
    olga = world.owners["north"]
    hosts = RunOrder.objects.visible_to(olga).filter(run=run).values_list("host__name", flat=True)
    assert set(hosts) == {"north"}
    seen = Artefact.objects.visible_to(olga).filter(run=run)
    senders = {(each.order.host.name if each.order else "coordinator", each.role) for each in seen}
    assert senders == {("north", "features"), ("coordinator", "model")}
    assert RunOrder.objects.visible_to(world.sam).count() == RunOrder.objects.count()
    assert Artefact.objects.visible_to(world.sam).count() == Artefact.objects.count()


def test_a_report_tells_an_owner_no_row_count_of_another(world: Any, api: Any, browser: Any) -> None:
    run = world.drive(world.submit())
    told = api(world.owners["north"]).get(f"/api/runs/{run.pk}/report").json()
    [own] = told["owners"]
    assert (own["host_name"], own["rows_trained"] > 0) == ("north", True)
    south = {"host_name": "south", "organisation": "south-bank", "dataset": "access-south"}
    [other] = told["other_owners"]
    assert other == south | {"version": run.datasets.get(name="access-south").version}
    assert told["metrics"]["f1"] == round(run.report["metrics"]["f1"], 4)
    assert {"rows", "confusion", "roc", "precision_recall"}.isdisjoint(told["metrics"])
    assert set(told["training"]) == {"epochs"}
    assert api(world.sam).get(f"/api/runs/{run.pk}/report").json() == run.report
    assert "rows trained on - " in words_of(browser(world.owners["north"]).get(page_of(run)))


def test_an_owner_of_all_the_data_reads_the_whole_report(world: Any, api: Any) -> None:
    run = world.drive(world.submit())
    world.south.row.organisation = world.north.row.organisation
    world.south.row.save()
    Run.objects.filter(pk=run.pk).update(
        report={
            **run.report,
            "owners": [owner | {"organisation": "north-hospital"} for owner in run.report["owners"]],
        }
    )
    told = api(world.owners["north"]).get(f"/api/runs/{run.pk}/report").json()
    assert "other_owners" not in told
    assert told["metrics"] == run.report["metrics"]


def test_where_another_host_ended_a_run_an_owner_is_told_where_and_not_why(
    world: Any, api: Any, browser: Any
) -> None:
    run = refused_at_south(world)
    olga, paul = (api(world.owners[name]) for name in ("north", "south"))
    told = olga.get(f"/api/runs/{run.pk}").json()
    assert (told["state"], told["code"], told["message"]) == ("failed", "", WITHHELD)
    assert told["culprit"] == {"host_name": "south", "dataset": "access-south", "remedy": ""}
    story = olga.get(f"/api/runs/{run.pk}/wait?after=0").json()["events"]
    assert [event["text"] for event in story if "south" in event["text"]][-2:] == [
        "south has answered.",
        WITHHELD,
    ]
    assert "north: check done" in [event["text"] for event in story]
    for person in (paul, api(world.sam)):
        assert person.get(f"/api/runs/{run.pk}").json()["code"] == "too_few_rows"
        texts = [event["text"] for event in person.get(f"/api/runs/{run.pk}/wait?after=0").json()["events"]]
        assert "south: check refused, too_few_rows" in texts
    client = browser(world.owners["north"])
    for address in (page_of(run), "/admin/runs/run/"):
        assert "too_few_rows" not in client.get(address).content.decode()
        assert "too_few_rows" in browser(world.sam).get(address).content.decode()
    assert "Detector" not in words_of(client.get("/admin/runs/run/?q=too_few_rows"))
    assert WITHHELD in words_of(client.get(page_of(run)))


def test_the_audit_tells_an_owner_no_code_of_another_owners_host(world: Any) -> None:
    run = refused_at_south(world)
    stopped = AuditEntry.objects.get(action="stop_run", thing_id=run.pk)
    assert stopped.code == "too_few_rows"
    for name, number in (("north", 0), ("south", 2)):
        seen = AuditEntry.objects.visible_to(world.owners[name])
        assert seen.filter(code="too_few_rows").count() == number


@pytest.mark.parametrize(
    ("who", "because"),
    [
        ("north", "A grant of another owner takes it away."),
        ("south", "The grant of south/access-south is revoked."),
    ],
)
def test_which_grant_took_a_right_away_is_told_to_its_own_owner(
    world: Any, api: Any, browser: Any, who: str, because: str
) -> None:
    run = world.drive(world.submit())
    decisions.revoke(world.requests["south"], world.owners["south"], "no longer")
    told = api(world.owners[who]).get(f"/api/runs/{run.pk}/rights").json()
    assert (told["predict"], told["because"]) == (False, because)
    assert because in words_of(browser(world.owners[who]).get(page_of(run)))


def test_a_run_that_is_late_says_at_which_host_to_those_who_oversee_it(world: Any, api: Any) -> None:
    run = world.at(world.submit(), Phase.CHECK)
    world.north.work()
    Run.objects.filter(pk=run.pk).update(deadline=timezone.now())
    run = world.drive(run)
    assert api(world.owners["north"]).get(f"/api/runs/{run.pk}").json()["code"] == ""
    assert api(world.owners["south"]).get(f"/api/runs/{run.pk}").json()["code"] == run.code
