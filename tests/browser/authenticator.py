"""An authenticator app, and the pages of the second factor as a person goes through them."""

from __future__ import annotations

import base64
from typing import Any

from django_otp.oath import totp

from tests.browser.site import PASSWORD


def code_of(secret: str, ahead: int = 0) -> str:
    """What an app shows for this secret now, or some steps from now."""
    return f"{totp(base64.b32decode(secret), drift=ahead):06d}"


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
