"""The first run, the second factor, and what one sees and ends of one's own logins."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from tests.authenticator import code_of
from tests.browser.authenticator import enter, set_up
from tests.browser.conftest import DESKTOP, PHONE, log_in
from tests.browser.site import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_the_first_visitor_with_the_code_becomes_the_administrator(visit: Any, empty_site: Any) -> None:
    url, data = empty_site
    visit.other_sites.append(url)
    page = visit(None, PHONE)
    page.goto(url)
    assert page.url.endswith("/admin/first-run/")
    page.get_by_label("Code").fill((data / "first-run.code").read_text())
    page.get_by_label("Username").fill("clara")
    page.get_by_label("Password", exact=False).first.fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    page.get_by_label("Your organisation").fill("Cloud House")
    page.get_by_role("button", name="Make administrator").click()
    assert "You are the first administrator" in page.content()
    page.get_by_label("Username").fill("clara")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_load_state()
    assert page.title().startswith("Overview")
    assert not (data / "first-run.code").exists()
    assert page.request.get(f"{url}/admin/first-run/").status == 404


def test_vera_sets_up_a_second_factor_and_needs_it_from_then_on(visit: Any, site: Any) -> None:
    page = visit(None)
    log_in(page, site, "vera")
    page.goto(f"{site.url}/admin/security/")
    page.get_by_role("link", name="Set up").click()
    secret, codes = set_up(page)
    assert len(codes) == 10
    assert page.url == f"{site.url}/admin/security/"
    assert "SET UP" in page.locator(".fedcore-panel").first.inner_text()

    other = visit(None, PHONE)
    log_in(other, site, "vera")
    assert "/admin/login/code/" in other.url
    enter(other, "000000" if code_of(secret) != "000000" else "000001")
    assert "This code is wrong" in other.content()
    time.sleep(1.1)
    enter(other, code_of(secret, ahead=1))
    assert other.title().startswith("Overview")

    third = visit(None)
    log_in(third, site, "vera")
    enter(third, codes[0])
    assert third.title().startswith("Overview")


def test_olga_ends_a_session_that_she_left_open(visit: Any, site: Any) -> None:
    left_open, here = visit(None), visit(None, DESKTOP, user_agent="Mozilla/5.0 (Android) Firefox/130.0")
    log_in(left_open, site, "olga")
    log_in(here, site, "olga")
    here.goto(f"{site.url}/admin/security/")
    logins = here.locator(".fedcore-login")
    assert "THIS ONE" in logins.filter(has_text="Firefox, Android").first.inner_text()
    newest_other = logins.filter(has_not_text="this one").filter(has_text="Chrome").first
    newest_other.get_by_role("link", name="End").click()
    assert "Whoever uses it is logged out at once" in here.content()
    here.get_by_role("button", name="End session").click()
    assert "It is ended" in here.content()
    left_open.goto(f"{site.url}/admin/")
    assert "/admin/login/" in left_open.url


def test_ada_gives_a_new_person_a_link_and_the_person_sets_a_password(visit: Any, site: Any) -> None:
    page = visit("ada")
    page.goto(f"{site.list('person')}add/")
    page.get_by_label("Username").fill("nora")
    page.locator("select[name=organisation]").select_option(label="Institute")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url("**/change/")
    link = re.search(r"http://[^\s<]+/admin/welcome/[^\s<]+", page.content())
    assert link is not None
    nora = visit(None, PHONE)
    nora.goto(link[0])
    for name in ("new_password1", "new_password2"):
        nora.locator(f"input[name={name}]").fill("staple of batteries")
    nora.get_by_role("button", name="Set password").click()
    assert "Your password is set" in nora.content()
