"""The pages of the second factor, as a person with an authenticator app goes through them."""

from __future__ import annotations

from typing import Any

from tests.authenticator import code_of
from tests.browser.site import PASSWORD


def set_up(page: Any, password: str = PASSWORD) -> tuple[str, list[str]]:
    """Set up the second factor on the page that asks for it; the secret, and the recovery codes."""
    secret = "".join(page.locator(".fedcore-code").inner_text().split())
    assert page.locator(".fedcore-qr svg").is_visible()
    page.get_by_role("textbox", name="Code").fill(code_of(secret))
    page.get_by_label("Your password").fill(password)
    page.get_by_role("button", name="Confirm").click()
    codes: list[str] = page.locator(".fedcore-codes code").all_inner_texts()
    page.get_by_role("link", name="I have kept them").click()
    return secret, codes


def enter(page: Any, code: str) -> None:
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_load_state()
