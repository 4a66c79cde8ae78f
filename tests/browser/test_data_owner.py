"""Olga reads what is asked of her data, and decides."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.browser.conftest import PHONE, log_in
from tests.browser.dialogs import decide, open_dialog
from tests.browser.site import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_olga_logs_in_and_sees_what_waits_for_her(visit: Any, site: Any) -> None:
    page = visit(None)
    log_in(page, site, "olga")
    content = page.locator("#main, body").first
    assert page.title().startswith("Overview")
    for words in ("Requests waiting", "Runs in progress", "Hosts away", "Grants about to end"):
        assert words in content.inner_text()
    waiting = page.get_by_role("link", name="north/access-2026").first
    waiting.click()
    page.wait_for_url("**/change/")
    assert "Who asks" in page.content()


def test_a_wrong_password_stays_outside_and_says_so(visit: Any, site: Any) -> None:
    page = visit(None)
    log_in(page, site, "olga", "not her password")
    assert "/admin/login/" in page.url
    assert "Please enter the correct username and password" in page.content()


def test_a_request_is_read_in_plain_words(visit: Any, site: Any) -> None:
    page = visit("olga")
    page.goto(site.request("to approve"))
    words = page.locator(".fedcore-request").inner_text()
    assert site.fingerprint in words
    for said in (
        "Sam Scientist of University, for the purpose security-research.",
        "One detector of malicious requests for all of us.",
        "Who could read rows",
        "Any owner on the roster together with the coordinator",
        "close to a substitution cipher",
        "What cannot be called back",
        "The model that a finished run has given to the scientist and to the other owners.",
        "What revoking does",
        "Pseudonymised is not encrypted",
    ):
        assert said in words
    assert "PSEUDONYMISED" in words
    assert not page.locator(".fedcore-badge", has_text=re.compile("^encrypted$", re.IGNORECASE)).count()


def test_where_no_row_leaves_the_page_does_not_frighten_with_what_rows_would_show(
    visit: Any, site: Any
) -> None:
    page = visit("olga")
    page.goto(site.request("to revoke"))
    words = page.locator(".fedcore-request").inner_text()
    assert "No row leaves your host" in words
    assert "Who could read rows" not in words


def test_olga_asks_back_sam_answers_and_she_approves_within_tighter_limits(visit: Any, site: Any) -> None:
    page = visit("olga", PHONE)
    page.goto(site.request("to approve"))
    dialog = open_dialog(page, "Ask back")
    dialog.get_by_label("Question").fill("Why pieces of words?")
    decide(page, dialog, "Ask")
    assert "ASKED BACK" in page.locator("#who").inner_text()
    assert "Waits for the answer of Sam Scientist." in page.locator("#thread").inner_text()
    _answer(site, "to approve", "Attacks hide in them.")
    page.reload()
    assert "Attacks hide in them." in page.locator("#thread").inner_text()
    dialog = open_dialog(page, "Approve")
    dialog.get_by_label("Releases").fill("2")
    dialog.get_by_label("Owners in each run, at least").fill("3")
    dialog.get_by_label("May download").uncheck()
    dialog.get_by_label("Note").fill("Two runs, to begin with.")
    decide(page, dialog, "Approve")
    words = page.locator("#limits").inner_text()
    for said in ("Approved by Olga Owner", "Two runs, to begin with.", "0 of 2 releases used"):
        assert said in words
    for limit, asked, granted in (
        ("Runs", "at most 5", "at most 2"),
        ("Owners in each run", "at least 1", "at least 3"),
        ("Download of the merged dataset", "yes", "no"),
    ):
        row = page.locator("#limits tr", has=page.get_by_role("rowheader", name=re.compile(f"^{limit}")))
        cells = row.locator("td").all_inner_texts()
        assert (cells[0], cells[1].split()[: len(granted.split())]) == (asked, granted.split())


def test_a_limit_that_is_wider_than_asked_is_said_beside_its_field_and_nothing_is_lost(
    visit: Any, site: Any
) -> None:
    page = visit("olga")
    page.goto(site.request("to keep"))
    dialog = open_dialog(page, "Approve")
    dialog.get_by_label("Releases").fill("99")
    dialog.get_by_label("Note").fill("For the summer.")
    dialog.get_by_label("keyed_tokens").uncheck()
    dialog.get_by_role("button", name="Approve").click()
    dialog.get_by_text("grant between 1 and 5").wait_for()
    assert dialog.get_by_label("Note").input_value() == "For the summer."
    assert not dialog.get_by_label("keyed_tokens").is_checked()
    page.reload()
    assert "WAITING" in page.locator("#who").inner_text()


def test_the_longest_dialog_fits_a_phone_and_its_button_can_be_reached(visit: Any, site: Any) -> None:
    page = visit("olga", PHONE)
    page.goto(site.request("to keep"))
    dialog = open_dialog(page, "Approve")
    box = page.locator("#modal-content").bounding_box()
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= PHONE["height"]
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    button = dialog.get_by_role("button", name="Approve")
    button.scroll_into_view_if_needed()
    assert button.is_visible()


def test_olga_tightens_what_she_granted_and_then_revokes_it(visit: Any, site: Any) -> None:
    page = visit("olga")
    page.goto(site.request("to revoke"))
    dialog = open_dialog(page, "Tighten")
    assert dialog.get_by_label("Releases").input_value() == "2"
    dialog.get_by_label("Releases").fill("1")
    dialog.get_by_label("Reason").fill("One will do.")
    decide(page, dialog, "Tighten")
    assert "at most 1" in page.locator("#limits").inner_text()
    dialog = open_dialog(page, "Revoke")
    assert "What was handed over before cannot be called back." in dialog.inner_text()
    dialog.get_by_label("Reason").fill("The purpose has changed.")
    decide(page, dialog, "Revoke")
    assert "Revoked by Olga Owner" in page.locator("#limits").inner_text()
    told = page.locator("#thread").inner_text()
    assert told.index("One will do.") < told.index("The purpose has changed.")
    page.goto(site.list("grant"))
    assert page.locator(".fedcore-badge", has_text="revoked").count() == 1


def test_the_bell_leads_to_the_notices_and_they_are_marked_as_read(visit: Any, site: Any) -> None:
    page = visit("paul", PHONE)
    page.goto(f"{site.url}/admin/")
    bell = page.locator(".fedcore-bell")
    assert int(bell.locator(".fedcore-count").inner_text()) >= 1
    bell.click()
    page.get_by_role("link", name=re.compile("Sam Scientist asks for access to south")).first.wait_for()
    dialog = open_dialog(page, "Mark all as read")
    with page.expect_navigation():
        dialog.get_by_role("button", name="Mark as read").click()
    assert page.locator(".fedcore-bell .fedcore-count").count() == 0


def test_the_front_page_shows_what_data_gave_as_a_chart(visit: Any, site: Any) -> None:
    page = visit("olga")
    page.goto(f"{site.url}/admin/")
    chart = page.locator("canvas.chart")
    assert chart.count() == 1
    assert chart.bounding_box()["height"] > 100
    words = page.locator(".fedcore-tables").inner_text()
    assert "What datasets have given" in words
    assert "TOO_FEW_ROWS" not in words


def test_olga_refuses_with_a_reason_which_the_dialog_asks_for(visit: Any, site: Any) -> None:
    page = visit("olga")
    page.goto(site.request("to refuse"))
    dialog = open_dialog(page, "Refuse")
    dialog.get_by_role("button", name="Refuse").click()
    dialog.get_by_text("This field is required.").wait_for()
    dialog.get_by_label("Reason").fill("Fifty runs are more than a detector needs.")
    decide(page, dialog, "Refuse")
    words = page.locator(".fedcore-request").inner_text()
    assert "Refused by Olga Owner" in words
    assert "Fifty runs are more than a detector needs." in words


def _answer(site: Any, name: str, text: str) -> None:
    """Sam answers by the API, as the client does."""
    with httpx.Client(base_url=site.url) as client:
        token = client.post("/api/login", json={"username": "sam", "password": PASSWORD}).json()["token"]
        answer = client.post(
            f"/api/requests/{site.requests[name]}/answer",
            json={"text": text},
            headers={"Authorization": f"Token {token}"},
        )
    assert answer.status_code == 200, answer.text
