"""The dialogs in which people decide, as they use them."""

from __future__ import annotations

from typing import Any


def open_dialog(page: Any, decision: str) -> Any:
    """The dialog of a decision. On a phone, its button is behind the one with the dots."""
    button = page.get_by_role("link", name=decision).or_(page.get_by_role("button", name=decision)).first
    if not button.is_visible():
        page.get_by_text("more_horiz").first.click()
    button.click()
    dialog = page.locator("#dialog")
    dialog.wait_for()
    return dialog


def decide(page: Any, dialog: Any, decision: str) -> None:
    """Confirm the dialog, and wait for the request's page."""
    with page.expect_navigation():
        dialog.get_by_role("button", name=decision).click()
    page.locator(".fedcore-request").wait_for()
