"""The history of a thing is what the audit has of it, and it shows nobody more than the audit does."""

from __future__ import annotations

import pytest
from django.urls import reverse

from fedcore.coordinator.governance import audit, decisions
from fedcore.coordinator.governance.audit import Action


def history(browser, person, model, key):
    return browser(person).get(reverse(f"admin:governance_{model}_history", args=(key,)), follow=True)


def shown(answer):
    return [entry.action for entry in answer.context["cl"].result_list]


def test_the_history_of_a_request_is_what_the_audit_has_of_it(cast, browser, asked):
    decisions.approve(asked, cast.olga)
    audit.record(Action.CHANGE_HOST, cast.south, by=cast.olga, fields=("name",))
    answer = history(browser, cast.olga, "accessrequest", asked.pk)
    assert answer.redirect_chain == [(f"/admin/governance/auditentry/?about=request%3A{asked.pk}", 302)]
    assert shown(answer) == ["approve_request", "submit_request"]
    assert f"access request: {asked}" in answer.content.decode().replace("&gt;", ">")


def test_a_grant_has_the_history_of_its_request(cast, browser, asked):
    decisions.approve(asked, cast.olga)
    assert "approve_request" in shown(history(browser, cast.olga, "grant", asked.pk))


@pytest.mark.parametrize(("model", "name"), [("ownerhost", "north"), ("organisation", "north-hospital")])
def test_whoever_oversees_nothing_sees_only_the_own_acts(cast, browser, asked, model, name):
    key = cast.north.pk if model == "ownerhost" else cast.north.organisation_id
    decisions.approve(asked, cast.olga)
    seen = history(browser, cast.sam, model, key).context["cl"].result_list
    assert {entry.person for entry in seen} <= {cast.sam}


def test_eve_finds_no_history_of_what_is_hidden_from_her(cast, browser, asked):
    answer = history(browser, cast.eve, "accessrequest", asked.pk)
    assert answer.redirect_chain == [("/admin/", 302)]
    listed = browser(cast.eve).get(f"/admin/governance/auditentry/?about=request:{asked.pk}")
    assert shown(listed) == []
    assert str(cast.sam) not in listed.content.decode()


@pytest.mark.parametrize("about", ["", "nonsense", "request:", ":7", "castle:7"])
def test_what_names_nothing_cuts_nothing_down(cast, browser, asked, about):
    answer = browser(cast.olga).get("/admin/governance/auditentry/", {"about": about}, follow=True)
    assert answer.status_code == 200


def test_an_entry_of_the_audit_has_no_history(cast, browser, asked):
    entry = audit.head().serial
    text = browser(cast.ada).get(reverse("admin:governance_auditentry_change", args=(entry,)))
    assert "/history/" not in text.content.decode()
