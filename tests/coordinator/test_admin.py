from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from fedcore.coordinator.governance import decisions
from fedcore.coordinator.governance.models import AccessRequest, Grant, OwnerHost, Person, PersonKey
from fedcore.wire.keys import HostCard, SealingKey, SigningKey

MODELS = (
    *("accessrequest", "grant", "dataset", "ownerhost", "organisation", "person", "personkey"),
    "auditentry",
)


def page(model, key=None, kind="change"):
    return reverse(f"admin:governance_{model}_{kind}", args=None if key is None else (key,))


def dialog(asked, decision):
    return reverse(f"admin:governance_accessrequest_{decision}", args=(asked.pk,))


def answers(decision, asked):
    given = {"_form_submitted": "on", "reason": "because"}
    if decision == "approve":
        given |= {"releases": "3", "expires_on": f"{asked.expires_at:%Y-%m-%d}"}
    return given


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("who", ["olga", "sam", "ada", "anna", "paul"])
def test_everyone_with_a_role_opens_every_list(cast, browser, asked, who, model):
    assert browser(cast[who]).get(page(model, kind="changelist")).status_code == 200


def test_whoever_has_no_role_does_not_enter(cast, browser):
    answer = browser(cast.nobody).get("/admin/")
    assert (answer.status_code, answer.url) == (302, "/admin/login/?next=/admin/")


def test_the_front_page_shows_what_waits_runs_is_away_and_ends(cast, browser, asked):
    decisions.approve(asked, cast.olga)
    text = browser(cast.olga).get("/admin/").content.decode()
    for words in (
        "Requests waiting",
        "Runs in progress",
        "Hosts away",
        "Grants about to end",
        "2 / 2",
        "0 of 5",
    ):
        assert words in text


def test_the_navigation_counts_what_waits(cast, browser, asked):
    text = browser(cast.olga).get("/admin/").content.decode()
    assert "waiting_badge" not in text
    assert 'class="fedcore-figure">1</span>' in text


def test_a_host_is_away_after_a_minute_without_contact(cast, browser):
    OwnerHost.objects.filter(name="north").update(last_contact=timezone.now() - timedelta(seconds=50))
    OwnerHost.objects.filter(name="south").update(last_contact=timezone.now() - timedelta(seconds=70))
    assert not OwnerHost.objects.get(name="north").is_away()
    assert OwnerHost.objects.get(name="south").is_away()
    text = browser(cast.olga).get(page("ownerhost", cast.north.pk)).content.decode()
    assert cast.north.fingerprint in text
    assert ">here</span>" in text


def test_a_request_is_explained_in_plain_words(cast, browser, asked):
    text = browser(cast.olga).get(page("accessrequest", asked.pk)).content.decode()
    for words in (
        asked.fingerprint,
        "One detector for all.",
        "pseudonymised",
        "how often each token occurs",
        "Who could read rows",
        "close to a substitution cipher",
        "What cannot be called back",
        "once the scientist has downloaded it",
    ):
        assert words in text
    assert ">encrypted<" not in text


def test_a_backend_that_is_not_installed_is_said_to_be_unknown(cast, browser, asked):
    AccessRequest.objects.update(backends=["unheard_of"])
    text = browser(cast.olga).get(page("accessrequest", asked.pk)).content.decode()
    assert "nobody can tell what leaves" in text


def test_a_reason_with_markup_is_shown_as_text(cast, browser, asked):
    AccessRequest.objects.update(reason="<script>alert(1)</script>")
    text = browser(cast.olga).get(page("accessrequest", asked.pk)).content.decode()
    assert "<script>alert(1)" not in text


@pytest.mark.parametrize("who", ["eve", "paul"])
def test_eve_does_not_find_the_request_in_the_admin(cast, browser, asked, who):
    client = browser(cast[who])
    assert str(asked.pk) not in client.get(page("accessrequest", kind="changelist")).content.decode()
    answer = client.get(page("accessrequest", asked.pk))
    assert (answer.status_code, answer.url) == (302, "/admin/")


@pytest.mark.parametrize("decision", ["approve", "refuse", "revoke"])
def test_opening_the_dialog_decides_nothing(cast, browser, asked, decision):
    if decision == "revoke":
        decisions.approve(asked, cast.olga)
    before = AccessRequest.objects.get().state
    answer = browser(cast.olga).get(dialog(asked, decision) + "?reason=because&_form_submitted=on")
    assert answer.status_code == 200
    assert AccessRequest.objects.get().state == before


@pytest.mark.parametrize(("decision", "state"), [("approve", "approved"), ("refuse", "refused")])
def test_the_dialog_decides_and_leads_back_to_the_request(cast, browser, asked, decision, state):
    answer = browser(cast.olga).post(dialog(asked, decision), answers(decision, asked))
    assert answer.headers["HX-Redirect"] == page("accessrequest", asked.pk)
    found = AccessRequest.objects.get()
    assert (found.state, found.decision_reason) == (state, "because")


def test_an_approval_in_the_dialog_keeps_the_limits_that_were_entered(cast, browser, asked):
    browser(cast.olga).post(dialog(asked, "approve"), answers("approve", asked))
    grant = Grant.objects.get()
    assert (grant.releases, grant.download, grant.expires_at) == (3, False, asked.expires_at)


def test_the_dialog_revokes_a_grant(cast, browser, asked):
    decisions.approve(asked, cast.olga)
    browser(cast.olga).post(dialog(asked, "revoke"), answers("revoke", asked))
    assert Grant.objects.get().revoked_at is not None


def test_a_dialog_without_a_reason_asks_again(cast, browser, asked):
    answer = browser(cast.olga).post(dialog(asked, "refuse"), {"_form_submitted": "on", "reason": ""})
    assert answer.status_code == 200
    assert "HX-Redirect" not in answer.headers
    assert AccessRequest.objects.get().state == "waiting"


def test_more_than_was_asked_is_refused_with_a_message(cast, browser, asked):
    client = browser(cast.olga)
    client.post(dialog(asked, "approve"), answers("approve", asked) | {"releases": "99"})
    assert AccessRequest.objects.get().state == "waiting"
    assert "grant between 1 and 5" in client.get(page("accessrequest", asked.pk)).content.decode()


def test_a_decision_without_the_csrf_token_is_refused(cast, browser, asked):
    answer = browser(cast.olga, enforce_csrf_checks=True).post(
        dialog(asked, "approve"), answers("approve", asked)
    )
    assert answer.status_code == 403
    assert AccessRequest.objects.get().state == "waiting"


@pytest.mark.parametrize("decision", ["approve", "refuse", "revoke"])
@pytest.mark.parametrize("who", ["eve", "paul", "sam", "ada", "anna"])
def test_nobody_but_the_data_owner_decides_in_the_admin(cast, browser, asked, who, decision):
    if decision == "revoke":
        decisions.approve(asked, cast.olga)
    before = AccessRequest.objects.get().state
    answer = browser(cast[who]).post(dialog(asked, decision), answers(decision, asked))
    assert answer.status_code == 403
    assert AccessRequest.objects.get().state == before


@pytest.mark.parametrize("who", ["olga", "sam", "anna", "eve"])
@pytest.mark.parametrize("model", MODELS)
def test_who_is_no_administrator_adds_nothing(cast, browser, who, model):
    assert browser(cast[who]).get(page(model, kind="add")).status_code == 403


@pytest.mark.parametrize("model", ["accessrequest", "grant", "dataset", "personkey", "auditentry"])
def test_requests_grants_datasets_and_keys_are_nobodys_to_edit(cast, browser, model):
    assert browser(cast.ada).get(page(model, kind="add")).status_code == 403


def host_form(organisation, card):
    return {"organisation": organisation.pk, "name": "new", "card": str(card), "is_active": "on"}


def card():
    return HostCard(SigningKey.generate().public, SealingKey.generate().public)


def test_ada_registers_a_host_by_its_card(cast, browser):
    shown = card()
    browser(cast.ada).post(page("ownerhost", kind="add"), host_form(cast.olga.organisation, shown))
    host = OwnerHost.objects.get(name="new")
    assert (host.card, host.fingerprint) == (str(shown), shown.fingerprint)


def test_a_card_that_is_none_is_refused_with_what_a_card_looks_like(cast, browser):
    answer = browser(cast.ada).post(
        page("ownerhost", kind="add"), host_form(cast.olga.organisation, "fedcore-host:x:y")
    )
    assert "fedcore-host:SIGNING:SEALING, as printed by" in answer.content.decode()


def test_two_hosts_never_share_a_card(cast, browser):
    answer = browser(cast.ada).post(
        page("ownerhost", kind="add"), host_form(cast.olga.organisation, cast.north.card)
    )
    assert "registered already" in answer.content.decode()


def test_an_owners_administrator_edits_hosts_of_the_own_organisation_only(cast, browser):
    client = browser(cast.paul)
    client.post(page("ownerhost", kind="add"), host_form(cast.olga.organisation, card()))
    assert not OwnerHost.objects.filter(name="new").exists()
    client.post(page("ownerhost", kind="add"), host_form(cast.paul.organisation, card()))
    assert OwnerHost.objects.filter(name="new").exists()
    answer = client.post(page("ownerhost", cast.north.pk), host_form(cast.paul.organisation, card()))
    assert answer.status_code == 403


def test_an_owners_administrator_neither_sees_nor_edits_people_elsewhere(cast, browser):
    client = browser(cast.paul)
    answer = client.get(page("person", cast.olga.pk))
    assert (answer.status_code, answer.url) == (302, "/admin/")
    text = client.get(page("person", cast.paul.pk)).content.decode()
    assert 'name="is_superuser"' not in text


def test_nobody_becomes_superuser_through_the_form_of_people(cast, browser):
    form = {"username": "paul", "organisation": cast.paul.organisation_id, "is_active": "on"}
    form |= {"is_superuser": "on", "is_staff": "on", "memberships-TOTAL_FORMS": "0"}
    form |= {
        f"{inline}-{part}_FORMS": "0" for inline in ("memberships", "keys") for part in ("TOTAL", "INITIAL")
    }
    browser(cast.paul).post(page("person", cast.paul.pk), form)
    assert not Person.objects.get(pk=cast.paul.pk).is_superuser


def test_an_owners_administrator_cannot_set_a_superusers_password(cast, browser):
    root = Person.objects.create_superuser("root", password="x", organisation=cast.paul.organisation)
    answer = browser(cast.paul).post(
        reverse("admin:auth_user_password_change", args=(root.pk,)),
        {"password1": "correct horse 99!", "password2": "correct horse 99!", "usable_password": "true"},
    )
    assert answer.status_code == 403
    assert Person.objects.get(pk=root.pk).check_password("x")


def test_sam_revokes_his_own_key_and_eve_does_not(cast, browser):
    key = PersonKey.objects.get(public_key=cast.sam_key.public)
    address = reverse("admin:governance_personkey_revoke", args=(key.pk,))
    assert browser(cast.eve).post(address, {"_form_submitted": "on"}).status_code == 403
    assert browser(cast.sam).get(address).status_code == 200
    key.refresh_from_db()
    assert key.revoked_at is None
    browser(cast.sam).post(address, {"_form_submitted": "on"})
    key.refresh_from_db()
    assert key.revoked_at is not None


@pytest.mark.parametrize("who", ["olga", "anna", "ada", "paul", "sam"])
def test_nobody_sees_the_hash_of_a_password(cast, browser, who):
    for seen in Person.objects.visible_to(cast[who]):
        _algorithm, salt, digest = seen.password.split("$")
        text = browser(cast[who]).get(page("person", seen.pk)).content.decode()
        assert salt not in text
        assert digest not in text


def test_an_owners_administrator_moves_nobody_into_another_organisation(cast, browser):
    """An administrator of the operator administrates everything: nobody makes that of themselves."""
    entered = {"username": "paul", "organisation": cast.ada.organisation_id, "is_active": "on"}
    inlines = ("memberships", "keys")
    counts = {f"{name}-{part}_FORMS": "0" for name in inlines for part in ("TOTAL", "INITIAL")}
    browser(cast.paul).post(page("person", cast.paul.pk), entered | counts)
    cast.paul.refresh_from_db()
    assert cast.paul.organisation.name == "south-bank"
