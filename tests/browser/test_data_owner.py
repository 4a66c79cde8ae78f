"""Olga reads what is asked of her data, and decides."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.browser.conftest import PHONE, log_in

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
        "The model that a finished run has given to the scientist.",
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


def test_olga_approves_within_tighter_limits_by_the_dialog(visit: Any, site: Any) -> None:
    page = visit("olga", PHONE)
    page.goto(site.request("to approve"))
    dialog = _open(page, "Approve")
    dialog.get_by_label("Releases").fill("2")
    dialog.get_by_label("Note").fill("Two runs, to begin with.")
    _decide(page, dialog, "Approve")
    words = page.locator(".fedcore-request").inner_text()
    assert "Approved by Olga Owner" in words
    assert "Two runs, to begin with." in words
    assert "0 of 2 releases used" in words
    assert "Download is not allowed." in words


def test_olga_refuses_with_a_reason_which_the_dialog_asks_for(visit: Any, site: Any) -> None:
    page = visit("olga")
    page.goto(site.request("to refuse"))
    dialog = _open(page, "Refuse")
    dialog.get_by_role("button", name="Refuse").click()
    dialog.get_by_text("This field is required.").wait_for()
    dialog.get_by_label("Reason").fill("Fifty runs are more than a detector needs.")
    _decide(page, dialog, "Refuse")
    words = page.locator(".fedcore-request").inner_text()
    assert "Refused by Olga Owner" in words
    assert "Fifty runs are more than a detector needs." in words


def test_olga_revokes_what_she_granted(visit: Any, site: Any) -> None:
    page = visit("olga")
    page.goto(site.request("to revoke"))
    dialog = _open(page, "Revoke")
    assert "What was handed over before cannot be called back." in dialog.inner_text()
    dialog.get_by_label("Reason").fill("The purpose has changed.")
    _decide(page, dialog, "Revoke")
    assert "Revoked by Olga Owner" in page.locator(".fedcore-request").inner_text()
    page.goto(site.list("grant"))
    assert page.locator(".fedcore-badge", has_text="revoked").count() == 1


def _open(page: Any, decision: str) -> Any:
    """The dialog of a decision. On a phone, its button is behind the one with the dots."""
    button = page.get_by_role("link", name=decision).or_(page.get_by_role("button", name=decision)).first
    if not button.is_visible():
        page.get_by_text("more_horiz").first.click()
    button.click()
    dialog = page.locator("#dialog")
    dialog.wait_for()
    return dialog


def _decide(page: Any, dialog: Any, decision: str) -> None:
    with page.expect_navigation():
        dialog.get_by_role("button", name=decision).click()
    page.locator(".fedcore-request").wait_for()
