"""The front page for each role: what it shows, what it does not, and that it asks the database little."""

from __future__ import annotations

import io
import re
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fedcore.coordinator.dashboard import waiting_badge
from fedcore.coordinator.governance import audit, booking, decisions, submissions
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.decisions import Limits
from fedcore.coordinator.governance.models import (
    AccessRequest,
    AuditEntry,
    Membership,
    Organisation,
    OwnerHost,
    Person,
    Role,
)
from fedcore.wire.codes import EXPLANATIONS, RefusalCode


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
    for words in ("Requests waiting", "People without a role", "Hosts away", "Latest entries of the audit"):
        assert words not in text


def test_eve_sees_nothing_of_sam(cast, browser, asked):
    text = front(browser, cast.eve)
    assert "access-2026" not in text
    assert "You have asked for nothing yet." in text


def panels(browser, person):
    return {panel.title: panel for panel in browser(person).get("/admin/").context["panels"]}


@pytest.mark.parametrize("who", ["anna", "ada"])
def test_auditors_see_the_latest_entries_of_what_they_oversee(cast, browser, asked, who):
    decisions.refuse(asked, cast.olga, "no")
    latest = panels(browser, cast[who])["Latest entries of the audit"]
    serial, when, person, action, subject, outcome = latest.rows[0]
    entry = AuditEntry.objects.visible_to(cast[who]).latest("serial")
    assert f'href="/admin/governance/auditentry/{entry.serial}/change/"' in serial
    assert (when, person, action) == (
        "just\N{NO-BREAK SPACE}now",
        entry_name(entry),
        entry.get_action_display(),
    )
    assert any("refuse an access request" in row for row in latest.rows)
    assert "done" in outcome
    assert subject


def entry_name(entry):
    return str(entry.person or entry.host or entry.get_who_display())


def test_an_auditor_sees_the_audit_before_everything_else(cast, browser):
    assert next(iter(panels(browser, cast.anna))) == "Latest entries of the audit"
    assert next(iter(panels(browser, cast.ada))) == "Requests waiting for a decision"


def test_auditors_see_refusals_by_code_with_what_it_means(cast, browser, asked):
    for _ in range(2):
        with pytest.raises(decisions.DecisionError):
            decisions.refuse(asked, cast.paul, "not mine")
    audit.record(Action.SUBMIT_RUN, asked, by=cast.sam, refused="grant_revoked")
    refusals = panels(browser, cast.anna)["Refused within 30 days, by code"]
    code, what, count, meaning = refusals.rows[0]
    assert "not_data_owner" in code
    assert (what, count, meaning) == ("refuse an access request", 2, "-")
    revoked = next(row for row in refusals.rows if "grant_revoked" in row[0])
    assert revoked[3] == EXPLANATIONS[RefusalCode.GRANT_REVOKED]
    address = re.search(r'href="([^"]+)"', code)[1].replace("&amp;", "&")
    assert len(browser(cast.anna).get(address).context["cl"].result_list) == 2


def test_cards_of_auditors_count_what_their_lists_show(cast, browser, asked):
    with pytest.raises(decisions.DecisionError):
        decisions.refuse(asked, cast.paul, "not mine")
    cards = browser(cast.anna).get("/admin/").context["cards"][:2]
    assert [card.title for card in cards] == ["Audit entries since yesterday", "Refused within 30 days"]
    for card in cards:
        # Each log-in of the browser is an entry as well.
        assert 0 <= browser(cast.anna).get(card.address).context["cl"].result_count - card.figure <= 1


def test_auditors_see_the_head_and_when_the_audit_was_last_found_whole(cast, browser, asked):
    def facts():
        return dict(panels(browser, cast.anna)["Head of the audit"].facts)

    assert facts()["Last found whole"].startswith("It was never verified here")
    shown = facts()["Its digest"]
    assert audit.head().digest in shown
    call_command("audit", "verify", stdout=io.StringIO())
    last = audit.head().serial - 1
    assert (
        facts()["Last found whole"]
        == f"just\N{NO-BREAK SPACE}now, entries 1 to {last}, without a head that was noted down"
    )
    call_command("audit", "verify", "--from", "2", "--head", audit.head().digest, stdout=io.StringIO())
    assert facts()["Last found whole"].startswith("just\N{NO-BREAK SPACE}now, entries 2 to ")
    assert not facts()["Last found whole"].endswith("noted down")


def test_an_auditor_sees_no_entry_of_other_organisations(cast, browser, asked):
    audit.record(Action.CHANGE_HOST, cast.south, by=cast.paul, fields=("name",))
    audit.record(Action.CHANGE_HOST, cast.south, by=cast.paul, refused="not_yours")
    own, all_of_them = panels(browser, cast.anna), panels(browser, cast.ada)
    for title in ("Latest entries of the audit", "Refused within 30 days, by code"):
        assert "change an owner host" not in str(own[title].rows)
        assert "change an owner host" in str(all_of_them[title].rows)


@pytest.mark.parametrize("who", ["olga", "sam", "eve"])
def test_whoever_audits_nothing_sees_no_panel_of_the_audit(cast, browser, asked, who):
    assert not {title for title in panels(browser, cast[who]) if "audit" in title}


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


@pytest.mark.parametrize("who", ["olga", "sam", "ada", "anna"])
def test_the_front_page_costs_as_many_queries_for_many_rows_as_for_few(cast, browser, message, asked, who):
    def more(numbers):
        for number in numbers:
            asked = submissions.submit_request(message().signed_by(cast.sam_key), cast.sam)[0]
            if number % 2:
                booking.book_release(decisions.approve(asked, cast.olga), f"{number:02d}" * 32)

    def queries():
        with CaptureQueriesContext(connection) as found:
            assert client.get("/admin/").status_code == 200
        return len(found)

    more(range(2))
    client = browser(cast[who])
    client.get("/admin/")
    few = queries()
    more(range(2, 12))
    assert queries() <= few


def test_the_cards_of_requests_lead_to_as_many_as_they_count(cast, browser, message):
    """One waits, one is proposed, one has expired, one is asked back; and Olga's own is not hers to decide."""
    Organisation.objects.update(two_approvers=True)
    waiting, proposed, expired, asked_back = (
        submissions.submit_request(message().signed_by(cast.sam_key), cast.sam)[0] for _ in range(4)
    )
    cast.north.organisation.refresh_from_db()
    decisions.approve(AccessRequest.objects.get(pk=proposed.pk), cast.olga)
    decisions.ask(asked_back, cast.olga, "Why?")
    AccessRequest.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    for who, title, shown in (
        ("olga", "Requests waiting", {waiting.pk, proposed.pk}),
        ("sam", "Questions to answer", {asked_back.pk}),
    ):
        client = browser(cast[who])
        [card] = [card for card in client.get("/admin/").context["cards"] if card.title == title]
        listed = {asked.pk for asked in client.get(card.address).context["cl"].result_list}
        assert (card.figure, listed) == (len(shown), shown)


def test_a_grant_that_ends_later_is_not_about_to_end(cast, browser, message):
    expires_at = int((timezone.now() + timedelta(days=60)).timestamp())
    later = submissions.submit_request(message(expires_at=expires_at).signed_by(cast.sam_key), cast.sam)[0]
    decisions.approve(later, cast.olga)
    assert "No grant ends soon." in front(browser, cast.olga)


@pytest.mark.parametrize(("who", "card"), [("olga", "Requests waiting"), ("sam", "Questions to answer")])
def test_a_request_that_has_expired_waits_for_nobody(cast, browser, asked, who, card):
    if who == "sam":
        decisions.ask(asked, cast.olga, "Why?")
    page = RequestFactory().get("/admin/")
    page.user = cast[who]

    def waiting():
        cards = {card.title: card.figure for card in browser(cast[who]).get("/admin/").context["cards"]}
        return cards[card], waiting_badge(page)

    assert waiting() == (1, "1")
    AccessRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert waiting() == (0, "")
