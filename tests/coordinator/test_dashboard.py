"""The front page for each role: what it shows, what it does not, and that it asks the database little."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from fedcore.coordinator.governance import booking, decisions, submissions
from fedcore.coordinator.governance.decisions import Limits
from fedcore.coordinator.governance.models import Membership, OwnerHost, Person, Role


def front(browser, person):
    return browser(person).get("/admin/").content.decode()


def test_olga_sees_what_waits_for_her_what_her_data_gave_and_which_hosts_are_away(cast, browser, asked):
    grant = decisions.approve(asked, cast.olga, Limits(epsilon_micro=2_000_000))
    booking.book_release(grant, "a" * 64, epsilon_micro=500_000)
    text = front(browser, cast.olga)
    for words in (
        "Requests waiting",
        "What datasets have given",
        "Grants about to end",
        "Owner hosts",
        "1 of 5",
    ):
        assert words in text
    assert 'class="chart"' in text
    assert ">0.5<" in text.replace(" ", "").replace("\n", "")
    assert ">1.5<" in text.replace(" ", "").replace("\n", "")
    assert "My requests" not in text


def test_sam_sees_the_own_requests_grants_and_runs_and_no_ones_duties(cast, browser, asked):
    decisions.ask(asked, cast.olga, "Why?")
    text = front(browser, cast.sam)
    for words in ("Questions to answer", "My requests", "asked back", "My grants", "My runs", "No run yet."):
        assert words in text
    for words in ("Requests waiting", "People without a role", "Hosts away", "Latest decisions"):
        assert words not in text


def test_eve_sees_nothing_of_sam(cast, browser, asked):
    text = front(browser, cast.eve)
    assert "access-2026" not in text
    assert "You have asked for nothing yet." in text


@pytest.mark.parametrize("who", ["anna", "ada"])
def test_auditors_see_the_latest_decisions(cast, browser, asked, who):
    decisions.refuse(asked, cast.olga, "no")
    text = front(browser, cast[who])
    assert "Latest decisions" in text
    assert "refused" in text


def test_ada_sees_people_without_a_role_and_whom_is_away(cast, browser):
    OwnerHost.objects.filter(name="north").update(last_contact=timezone.now())
    text = front(browser, cast.ada)
    assert "People without a role" in text
    assert "nobody" in text
    assert "1 / 2" in text


def test_whoever_has_two_roles_sees_the_panels_of_both(cast, browser):
    Membership.objects.create(person=cast.olga, role=Role.DATA_SCIENTIST)
    text = front(browser, Person.objects.get(username="olga"))
    assert "Requests waiting" in text
    assert "My requests" in text


def test_empty_panels_say_so_in_friendly_words(cast, browser):
    text = front(browser, cast.olga)
    for words in (
        "Nothing waits for a decision.",
        "No run is in progress.",
        "No dataset has been used yet.",
        "No order was refused within 30 days.",
        "No grant ends soon.",
    ):
        assert words in text


def test_the_navigation_counts_what_waits_for_the_person_who_looks(cast, browser, asked):
    def badge(person):
        return browser(person).get("/admin/").context["cards"][0].figure

    assert badge(cast.olga) == 1
    assert badge(cast.sam) == 0
    decisions.ask(asked, cast.olga, "Why?")
    assert badge(cast.olga) == 0
    assert badge(cast.sam) == 1


@pytest.mark.parametrize(("who", "most"), [("olga", 22), ("sam", 14), ("ada", 24)])
def test_the_front_page_costs_as_many_queries_for_many_rows_as_for_few(
    cast, browser, message, asked, django_assert_max_num_queries, who, most
):
    for number in range(6):
        more = submissions.submit_request(message().signed_by(cast.sam_key), cast.sam)[0]
        if number % 2:
            grant = decisions.approve(more, cast.olga)
            booking.book_release(grant, f"{number}" * 64)
    client = browser(cast[who])
    with django_assert_max_num_queries(most):
        assert client.get("/admin/").status_code == 200


def test_a_grant_that_ends_later_is_not_about_to_end(cast, browser, message):
    expires_at = int((timezone.now() + timedelta(days=60)).timestamp())
    later = submissions.submit_request(message(expires_at=expires_at).signed_by(cast.sam_key), cast.sam)[0]
    decisions.approve(later, cast.olga)
    assert "No grant ends soon." in front(browser, cast.olga)
