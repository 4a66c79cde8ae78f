"""Sam reads a dataset's page before asking; Olga sees what came of the dry run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import DESKTOP, PHONE

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def open_dataset(page: Any, site: Any) -> None:
    page.goto(f"{site.list('dataset')}?q=north")
    page.get_by_role("link", name="Access log of North Hospital, 2026").first.click()
    page.wait_for_load_state()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_sam_reads_terms_columns_versions_and_made_up_rows(visit: Any, site: Any, size: Any) -> None:
    page = visit("sam", size)
    open_dataset(page, site)
    shown = page.locator(".fedcore-request")
    text = shown.inner_text()
    assert "SPECIAL CATEGORY" in text
    assert "data-office@north.example" in text
    assert "No attempt to recognise a visitor." in text
    assert "31 December 2099" in text
    assert "path and query as the server received them" in text
    mock = page.locator(".fedcore-mock tbody tr")
    assert mock.count() == 8
    assert {mock.nth(row).locator("th").inner_text() for row in range(8)} == {"benign", "attack"}
    assert "CURRENT" in text
    assert "41,000" in text


def test_sam_finds_datasets_by_words_of_their_terms(visit: Any, site: Any) -> None:
    page = visit("sam")
    page.goto(f"{site.list('dataset')}?q=universities+north")
    rows = page.get_by_role("row").filter(has_text="Access log of")
    assert rows.count() == 1
    assert "North Hospital" in rows.inner_text()


@pytest.mark.parametrize("who", ["olga", "sam"])
def test_both_sides_see_what_came_of_the_dry_run(visit: Any, site: Any, who: str) -> None:
    page = visit(who)
    page.goto(site.request("to approve"))
    panel = page.locator("#fedcore-dry-run")
    assert "PASSES" in panel.inner_text()
    assert "matrix, 64" in panel.inner_text()
    assert "they say nothing about the model's quality" in panel.inner_text()
