"""Every page fits its window and can be read, on a desk and on a phone, by day and by night.

With `FEDCORE_SCREENSHOTS=FOLDER`, pictures of all of them are left there.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser import looks
from tests.browser.dialogs import open_dialog
from tests.browser.every_page import pages_of

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

DIALOGS = {
    "olga": {"to keep": ("Approve", "Ask back", "Refuse")},
    "paul": {"tightened": ("Tighten", "Revoke")},
    "sam": {"asked back": ("Answer", "Withdraw"), "does not fit": ("Try again",)},
}


@pytest.mark.parametrize("who", ["olga", "paul", "sam", "eve", "ada", "vera", "nobody"])
def test_every_page_fits_and_can_be_read(visit: Any, site: Any, who: str) -> None:
    page = visit(None if who == "nobody" else who)
    found = []
    for name, address in pages_of(site)[who].items():
        page.goto(address)
        assert page.locator("h1").first.inner_text().strip(), name
        found += looks.look_at(page, f"{who}-{name}")
    visit.errors[:] = [error for error in visit.errors if "/nothing/" not in error and "/add/" not in error]
    assert found == []


@pytest.mark.parametrize(
    ("who", "request_name", "decision"),
    [
        (who, name, decision)
        for who, of in DIALOGS.items()
        for name, decisions in of.items()
        for decision in decisions
    ],
)
def test_every_dialog_fits_and_can_be_read(
    visit: Any, site: Any, who: str, request_name: str, decision: str
) -> None:
    page = visit(who)
    page.goto(site.request(request_name))
    dialog = open_dialog(page, decision)
    found = looks.look_at(page, f"dialog-{decision}", whole=False)
    for look in looks.each_look(page):
        box, window = page.locator("#modal-content").bounding_box(), page.viewport_size
        button = dialog.get_by_role("button").last.bounding_box()
        assert box["y"] >= 0, look
        assert box["y"] + box["height"] <= window["height"], look
        assert box["x"] >= 0, look
        assert box["x"] + box["width"] <= window["width"], look
        assert button["y"] + button["height"] <= box["y"] + box["height"], (
            f"{look}: its button is out of sight"
        )
    assert found == []


def test_whoever_looks_at_a_page_of_the_admin_finds_the_way_back(visit: Any, site: Any) -> None:
    page = visit("ada", looks.PHONE)
    for name, address in pages_of(site)["ada"].items():
        page.goto(address)
        if address.endswith("/change/") or "/security/1/" in address:
            back = page.get_by_title("Go back").or_(page.get_by_role("link", name="Cancel"))
            assert back.first.is_visible(), name
