"""A run's page: how far it is, how good its model is, what was leaked, and what stopped it."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_a_finished_run_shows_its_metrics_by_owner_and_what_left(visit: Any, site: Any) -> None:
    page = visit("sam")
    page.goto(site.run("finished"))
    words = page.locator("#fedcore-run").inner_text()
    assert "FINISHED" in words
    assert "100%" in words
    headings = page.locator(".fedcore-table thead th").all_inner_texts()
    assert headings[1:] == ["all owners", "north", "south"]
    metric = page.locator(".fedcore-table tr", has=page.get_by_text("ROC AUC", exact=True))
    assert metric.locator("td").all_inner_texts() == ["1.0000"] * 3
    assert "PSEUDONYMISED" in words
    assert "Who could read rows" in words
    for phase in ("check", "offer", "share", "confirm", "prepare", "train", "evaluate", "overhead"):
        assert phase in words


def test_a_failed_run_names_the_owner_the_dataset_and_the_remedy(visit: Any, site: Any) -> None:
    page = visit("sam")
    page.goto(site.run("failed"))
    words = page.locator(".fedcore-warning").inner_text()
    for said in (
        "host south of South Bank",
        "dataset access-2026",
        "too_few_rows",
        "Add datasets, or ask the owner",
    ):
        assert said in words


def test_a_run_that_failed_elsewhere_names_the_host_alone_to_another_owner(visit: Any, site: Any) -> None:
    page = visit("olga")
    page.goto(site.run("failed"))
    words = page.locator("#fedcore-run").inner_text()
    assert "host south of South Bank" in words
    assert "Why is told to the scientist" in words
    assert "too_few_rows" not in words


def test_a_run_in_progress_shows_its_phase_and_refreshes_by_itself(visit: Any, site: Any) -> None:
    page = visit("sam")
    page.goto(site.run("running"))
    assert "phase prepare" in page.locator("#fedcore-run").inner_text()
    with page.expect_response(site.run("running")) as again:
        pass
    assert again.value.status == 200
    page.locator("#fedcore-run progress").wait_for()
    assert page.locator("#fedcore-run").count() == 1


def test_the_orders_of_a_run_are_one_tab_away(visit: Any, site: Any) -> None:
    page = visit("olga")
    page.goto(site.run("finished"))
    page.get_by_role("link", name="Orders").click()
    assert page.locator("#fedcore-run").is_hidden()
    assert page.locator("#orders-group").get_by_text("confirm").first.is_visible()


def test_only_the_scientist_is_offered_to_cancel(visit: Any, site: Any) -> None:
    seen = {}
    for person in ("sam", "olga"):
        page = visit(person)
        page.goto(site.run("running"))
        seen[person] = (
            page.get_by_role("link", name="Cancel").or_(page.get_by_role("button", name="Cancel")).count()
        )
    assert seen["sam"] > 0
    assert seen["olga"] == 0
