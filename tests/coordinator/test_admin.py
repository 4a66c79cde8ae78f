from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.urls import reverse
from django.utils import timezone

from fedcore.coordinator.governance import decisions, rights, submissions
from fedcore.coordinator.governance.models import (
    AccessRequest,
    AuditEntry,
    Grant,
    OwnerHost,
    Person,
    PersonKey,
    Role,
)
from fedcore.wire.keys import HostCard, SealingKey, SigningKey

MODELS = (
    *("accessrequest", "grant", "notice", "dataset", "ownerhost", "organisation", "person", "personkey"),
    "auditentry",
)


def page(model, key=None, kind="change"):
    return reverse(f"admin:governance_{model}_{kind}", args=None if key is None else (key,))


def dialog(asked, decision):
    return reverse(f"admin:governance_accessrequest_{decision}", args=(asked.pk,))


def answers(decision, asked):
    given = {"_form_submitted": "on", "reason": "because", "text": "because"}
    if decision in ("approve", "tighten"):
        given |= limits_as_asked(asked) | {"releases": "3", "download": ""}
    return given


def limits_as_asked(asked):
    return {
        **{name: getattr(asked, name) for name in ("protocols", "backends", "model_types")},
        **{"releases": asked.releases, "minimum_owners": asked.minimum_owners, "epsilon_micro": "none"},
        **{"expires_at": f"{asked.expires_at:%Y-%m-%d}", "download": "on"},
    }


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


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("releases", "99", "grant between 1 and 5"),
        ("releases", "", "This field is required."),
        ("minimum_owners", "0", "grant between 1 and 64"),
        ("epsilon_micro", "much", "An epsilon is a number such as 0.5"),
        ("epsilon_micro", "0", "above 0"),
        ("epsilon_micro", "0.0000001", "six decimals"),
        ("epsilon_micro", "", "This field is required."),
        ("expires_at", "2099-01-01", "covers the time until"),
        ("expires_at", "", "This field is required."),
        ("protocols", [], "This field is required."),
        ("protocols", ["reference"], "is not one of the available choices"),
        ("backends", ["plaintext"], "is not one of the available choices"),
        ("model_types", [], "This field is required."),
    ],
)
def test_a_limit_that_is_wider_missing_or_unknown_is_an_error_beside_its_field_and_nothing_is_lost(
    cast, browser, asked, field, value, said
):
    given = answers("approve", asked) | {"reason": "Two runs, to begin with.", field: value}
    answer = browser(cast.olga).post(dialog(asked, "approve"), given)
    text = answer.content.decode()
    assert "HX-Redirect" not in answer.headers
    assert said in text
    assert "Two runs, to begin with." in text
    assert list(answer.context["form"].errors) == [field]
    assert (AccessRequest.objects.get().state, Grant.objects.count()) == ("waiting", 0)


def test_the_dialog_presets_every_limit_to_what_was_asked(cast, browser, asked):
    form = browser(cast.olga).get(dialog(asked, "approve")).context["form"]
    preset = {name: form[name].value() for name in form.fields if name not in ("reason", "_form_submitted")}
    assert preset == {
        **{"protocols": ["pooled"], "backends": ["keyed_tokens"], "model_types": ["linear"]},
        **{"releases": 5, "minimum_owners": 1, "epsilon_micro": "none", "download": True},
        **{"expires_at": asked.expires_at.date()},
    }


def test_limits_are_lowered_in_the_dialog(cast, browser, wide):
    given = limits_as_asked(wide) | {"_form_submitted": "on", "reason": ""}
    given |= {"protocols": ["local"], "backends": ["plaintext"], "model_types": ["mlp"]}
    given |= {"releases": "2", "minimum_owners": "3", "epsilon_micro": "0.5", "download": ""}
    browser(cast.olga).post(dialog(wide, "approve"), given)
    grant = Grant.objects.get()
    assert (grant.protocols, grant.backends, grant.model_types) == (["local"], ["plaintext"], ["mlp"])
    assert (grant.releases, grant.minimum_owners, grant.epsilon_micro, grant.download) == (
        2,
        3,
        500_000,
        False,
    )


def test_a_grant_is_tightened_in_a_dialog_preset_to_what_was_granted(cast, browser, asked):
    decisions.approve(asked, cast.olga, decisions.Limits(releases=4, download=False))
    client = browser(cast.olga)
    form = client.get(dialog(asked, "tighten")).context["form"]
    assert form["releases"].value() == 4
    assert "download" not in form.fields
    given = limits_as_asked(asked) | {"_form_submitted": "on", "reason": "Three will do."}
    wider = client.post(dialog(asked, "tighten"), given | {"releases": "5"})
    assert "The grant covers 4 releases" in wider.content.decode()
    client.post(dialog(asked, "tighten"), given | {"releases": "3"})
    assert Grant.objects.get().releases == 3
    text = client.get(page("accessrequest", asked.pk)).content.decode()
    assert "Three will do." in text
    assert "tighter" in text


def test_owner_and_scientist_talk_on_the_page_of_the_request(cast, browser, asked):
    olga, sam = browser(cast.olga), browser(cast.sam)
    olga.post(dialog(asked, "ask"), {"_form_submitted": "on", "text": "Why <b>five</b>?"})
    seen = sam.get(page("accessrequest", asked.pk)).content.decode()
    assert "Why &lt;b&gt;five&lt;/b&gt;?" in seen
    assert dialog(asked, "answer") in seen
    sam.post(dialog(asked, "answer"), {"_form_submitted": "on", "text": "One for each split."})
    assert AccessRequest.objects.get().state == "waiting"
    assert "One for each split." in olga.get(page("accessrequest", asked.pk)).content.decode()
    sam.post(dialog(asked, "withdraw"), {"_form_submitted": "on", "reason": ""})
    assert AccessRequest.objects.get().state == "withdrawn"


def test_a_renewal_is_shown_as_one_and_takes_one_click(cast, browser, message, asked):
    from .test_requests import again

    decisions.approve(asked, cast.olga, decisions.Limits(download=False))
    newer = again(message, cast, asked)
    client = browser(cast.olga)
    text = client.get(page("accessrequest", newer.pk)).content.decode()
    assert "again: only the period and the number of runs differ." in text
    assert page("accessrequest", asked.pk) in text
    client.post(dialog(newer, "renew"), {"_form_submitted": "on", "reason": ""})
    assert Grant.objects.get(request=newer).download is False


def test_asked_and_granted_stand_side_by_side(cast, browser, asked):
    decisions.approve(asked, cast.olga, decisions.Limits(releases=2, epsilon_micro=500_000))
    shown = browser(cast.sam).get(page("accessrequest", asked.pk)).context["explained"].limits
    assert shown.headings == ["asked", "granted"]
    rows = {str(row.label): ([cell.text for cell in row.cells], row.changed) for row in shown.rows}
    assert rows["Runs"] == (["at most 5", "at most 2"], True)
    assert rows["Privacy limit (epsilon of all runs)"] == (["none: nothing is promised", "0.5"], True)
    assert rows["Protocols"] == (["pooled", "pooled"], False)


def test_the_page_says_what_a_request_costs_and_what_a_revocation_does(cast, browser, asked):
    text = browser(cast.olga).get(page("accessrequest", asked.pk)).content.decode()
    for words in (
        "What it costs",
        "each of its runs releases results without a bound",
        "What revoking does",
        "The coordinator deletes the rows, models and merged datasets",
        "Your host has the last word",
    ):
        assert words in text


@pytest.mark.parametrize(("who", "reads"), [("olga", True), ("anna", True), ("ada", True), ("eve", False)])
def test_what_a_dataset_has_given_to_others_is_read_only_by_who_oversees_it(
    cast, browser, asked, message, who, reads
):
    """Eve asks for the same dataset as Sam, who has a grant: her own request's page says nothing of his."""
    decisions.approve(asked, cast.olga)
    eves = submissions.submit_request(message(organisation="institute").signed_by(cast.eve_key), cast.eve)[0]
    answer = browser(cast[who]).get(page("accessrequest", eves.pk))
    assert ("grant in force" in answer.content.decode()) is reads
    assert ("Given so far" in answer.content.decode()) is reads
    assert "What it costs" in answer.content.decode()


def test_a_request_for_runs_with_one_owners_data_alone_is_warned_of(cast, browser, asked, wide):
    def warned():
        return "with your data alone" in client.get(page("accessrequest", wide.pk)).content.decode()

    client = browser(cast.olga)
    assert not warned()
    AccessRequest.objects.filter(pk=wide.pk).update(minimum_owners=1)
    assert warned()
    AccessRequest.objects.filter(pk=wide.pk).update(backends=["keyed_tokens"])
    assert not warned()


def test_an_expired_request_says_so(cast, browser, asked):
    AccessRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    text = browser(cast.olga).get(page("accessrequest", asked.pk)).content.decode()
    assert "it can no longer be approved" in text
    assert ">expired</span>" in text
    assert (
        ">expired</span>" in browser(cast.olga).get(page("accessrequest", kind="changelist")).content.decode()
    )


def test_a_grants_own_page_shows_every_limit(cast, browser, asked):
    decisions.approve(asked, cast.olga)
    text = browser(cast.olga).get(page("grant", asked.pk)).content.decode()
    for words in (
        "pooled · keyed_tokens · linear",
        "0 of 5",
        "Minimum owners",
        "epsilon of all runs".capitalize(),
    ):
        assert words.lower() in text.lower()


def test_an_organisations_own_administrator_asks_for_two_approvers_and_nobody_else_does(cast, browser):
    """Paul administrates South Bank, Ada the coordinator."""
    bank = cast.paul.organisation
    address = reverse("admin:governance_organisation_ask_two_approvers", args=(bank.pk,))
    for who in ("ada", "olga", "eve", "sam", "anna"):
        assert browser(cast[who]).post(address, {"_form_submitted": "on"}).status_code == 403
    bank.refresh_from_db()
    assert not bank.two_approvers
    assert browser(cast.paul).get(address + "?_form_submitted=on").status_code == 200
    browser(cast.paul).post(address, {"_form_submitted": "on"})
    bank.refresh_from_db()
    assert bank.two_approvers


def test_who_approves_does_not_say_that_nobody_else_has_to(cast, browser):
    """Paul is a data owner of the bank and administrates it; Bea only administrates it."""
    bank = cast.paul.organisation
    rights.set_approvers(cast.paul, bank, two=True)
    back = reverse("admin:governance_organisation_ask_one_approver", args=(bank.pk,))
    for who in ("ada", "paul"):
        assert browser(cast[who]).post(back, {"_form_submitted": "on"}).status_code == 403
        with pytest.raises(PermissionDenied):
            rights.set_approvers(cast[who], bank, two=False)
    bea = Person.objects.create_user("bea", organisation=bank)
    rights.set_roles(bea, frozenset({Role.ADMINISTRATOR}))
    assert browser(bea).post(back, {"_form_submitted": "on"}).status_code == 200
    bank.refresh_from_db()
    assert not bank.two_approvers


def test_all_data_owners_are_told_how_many_approve_and_the_audit_has_it(cast, browser):
    bank = cast.paul.organisation
    bert, bea = (Person.objects.create_user(name, organisation=bank) for name in ("bert", "bea"))
    rights.set_roles(bert, frozenset({Role.DATA_OWNER}))
    rights.set_roles(bea, frozenset({Role.ADMINISTRATOR}))
    rights.set_approvers(cast.paul, bank, two=True)
    rights.set_approvers(bea, bank, two=False)
    told = {
        person: list(person.notices.order_by("pk").values_list("text", flat=True))
        for person in (cast.paul, bert)
    }
    two = "From now on two data owners approve each request for data of South-Bank, says paul."
    one = "From now on one data owner approves a request for data of South-Bank alone, says bea."
    assert told == {cast.paul: [one], bert: [two, one]}
    assert not cast.olga.notices.exists()
    notice = bert.notices.first()
    assert browser(bert).get(notice.address).status_code == 200
    numbers = AuditEntry.objects.filter(action="set_approvers").order_by("serial")
    assert [entry.facts for entry in numbers] == [{"number": 2}, {"number": 1}]


def test_nobody_sets_two_approvers_through_the_form_of_organisations(cast, browser):
    bank = cast.paul.organisation
    form = {"name": bank.name, "title": bank.title, "two_approvers": "on"}
    for who in ("ada", "paul"):
        browser(cast[who]).post(page("organisation", bank.pk), form)
    bank.refresh_from_db()
    assert not bank.two_approvers
    with pytest.raises(PermissionDenied):
        rights.set_approvers(cast.ada, bank, two=True)


def test_a_decision_without_the_csrf_token_is_refused(cast, browser, asked):
    answer = browser(cast.olga, enforce_csrf_checks=True).post(
        dialog(asked, "approve"), answers("approve", asked)
    )
    assert answer.status_code == 403
    assert AccessRequest.objects.get().state == "waiting"


@pytest.mark.parametrize("decision", ["approve", "renew", "ask", "refuse", "tighten", "revoke"])
@pytest.mark.parametrize("who", ["eve", "paul", "sam", "ada", "anna"])
def test_nobody_but_the_data_owner_decides_in_the_admin(cast, browser, asked, who, decision):
    if decision in ("tighten", "revoke"):
        decisions.approve(asked, cast.olga)
    before = AccessRequest.objects.get().state
    answer = browser(cast[who]).post(dialog(asked, decision), answers(decision, asked))
    assert answer.status_code == 403
    assert AccessRequest.objects.get().state == before


@pytest.mark.parametrize("decision", ["answer", "withdraw"])
@pytest.mark.parametrize("who", ["eve", "paul", "olga", "ada", "anna"])
def test_nobody_but_the_scientist_answers_and_withdraws_in_the_admin(cast, browser, asked, who, decision):
    decisions.ask(asked, cast.olga, "Why?")
    given = {"_form_submitted": "on", "reason": "because", "text": "because"}
    assert browser(cast[who]).post(dialog(asked, decision), given).status_code == 403
    assert AccessRequest.objects.get().state == "asked_back"


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


@pytest.mark.parametrize("who", ["paul", "ada"])
def test_no_administrator_resets_a_superusers_password(cast, browser, who):
    root = Person.objects.create_superuser("root", password="x", organisation=cast[who].organisation)
    address = reverse("admin:governance_person_reset_password", args=(root.pk,))
    assert browser(cast[who]).post(address, {"_form_submitted": "on"}).status_code == 403
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
