"""Eve finds nothing that is not hers; Sam finds the own requests and runs; Ada finds people and hosts."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_eve_sees_neither_requests_nor_grants_nor_runs(visit: Any, site: Any) -> None:
    page = visit("eve")
    page.goto(f"{site.url}/admin/")
    assert "Nothing waits for a decision." in page.content()
    for model in ("accessrequest", "grant", "run"):
        page.goto(site.list(model))
        assert "Sam Scientist" not in page.content()
        assert "Malicious requests" not in page.content()
    for address in (site.request("to approve"), site.run("finished")):
        page.goto(address)
        assert page.url == f"{site.url}/admin/"
        assert "doesn’t exist" in page.content()


def test_eve_cannot_open_the_dialogs_of_others(visit: Any, site: Any) -> None:
    page = visit("eve")
    for decision in ("approve", "renew", "ask", "refuse", "tighten", "revoke", "answer", "withdraw"):
        number = site.requests["to approve"]
        answer = page.request.get(
            f"{site.url}/admin/governance/accessrequest/{number}/{decision}/", max_redirects=0
        )
        assert answer.status in (302, 403, 404)


def test_sam_reads_the_own_requests_and_decides_about_none(visit: Any, site: Any) -> None:
    page = visit("sam")
    page.goto(site.list("accessrequest"))
    assert "north/access-2026" in page.content()
    assert "south/access-2026" in page.content()
    page.goto(site.request("to approve"))
    assert site.fingerprint in page.locator(".fedcore-request").inner_text()
    for decision in ("Approve", "Ask back", "Refuse", "Tighten", "Revoke"):
        assert page.get_by_role("link", name=decision).count() == 0
        assert page.get_by_role("button", name=decision).count() == 0


def test_sam_finds_own_runs_and_the_own_key(visit: Any, site: Any) -> None:
    page = visit("sam")
    page.goto(site.list("run"))
    assert page.get_by_role("row").filter(has_text="Malicious requests").count() == len(site.runs)
    page.goto(site.list("personkey"))
    assert site.fingerprint in page.content()


def test_ada_finds_people_with_their_roles_and_hosts_with_their_fingerprints(visit: Any, site: Any) -> None:
    page = visit("ada")
    page.goto(site.list("person"))
    assert "data scientist" in page.get_by_role("row").filter(has_text="Sam Scientist").inner_text()
    page.goto(site.list("ownerhost"))
    assert "REFERENCE HOST" in page.get_by_role("row").filter(has_text="Institute").inner_text()
    page.goto(f"{site.list('ownerhost')}add/")
    assert page.get_by_label("Card").is_visible()
