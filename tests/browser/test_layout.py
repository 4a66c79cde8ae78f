"""Every page fits its window, on a desk and on a phone, by day and by night."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import DESKTOP, PHONE

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

LISTS = (
    *(
        "notice",
        "accessrequest",
        "grant",
        "dataset",
        "ownerhost",
        "organisation",
        "person",
        "personkey",
        "run",
    ),
    "auditentry",
)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_page_is_wider_than_its_window(visit: Any, site: Any, size: Any) -> None:
    page = visit("olga", size, color_scheme="dark" if size is PHONE else "light")
    addresses = [f"{site.url}/admin/", f"{site.url}/admin/security/", *map(site.list, LISTS)]
    addresses += [site.request("to approve"), *map(site.run, site.runs)]
    addresses += [f"{site.list('auditentry')}{number}/change/" for number in _seen_by_olga(page, site)]
    addresses += [f"{site.list('dataset')}1/change/", f"{site.list('ownerhost')}1/change/"]
    assert {address: excess for address in addresses if (excess := _excess(page, address))} == {}


def test_the_page_for_logging_in_fits_a_phone(visit: Any, site: Any) -> None:
    assert _excess(visit(None, PHONE), f"{site.url}/admin/") == 0


def _seen_by_olga(page: Any, site: Any) -> list[str]:
    """The serials of some entries of the audit that Olga may see."""
    page.goto(site.list("auditentry"))
    texts = page.locator("#result_list tbody a").all_inner_texts()
    serials = [text.strip() for text in texts if text.strip().isdigit()]
    assert serials
    return serials[:3]


def _excess(page: Any, address: str) -> int:
    """By how many pixels the page is wider than its window."""
    page.goto(address)
    wide: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wide
