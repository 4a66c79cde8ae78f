"""Who sees which entries, in the admin and the API alike; auditors read everything and change nothing."""

from __future__ import annotations

import json

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from fedcore.coordinator.governance import decisions
from fedcore.coordinator.governance.audit import Action, record
from fedcore.coordinator.governance.models import (
    AuditEntry,
    Dataset,
    Membership,
    Organisation,
    OwnerHost,
    Person,
    Role,
)

LIST = reverse("admin:governance_auditentry_changelist")
EXPORT = reverse("admin:governance_auditentry_export")
PROCESSING = reverse("admin:governance_auditentry_processing")


def page_of(entry):
    return reverse("admin:governance_auditentry_change", args=(entry.pk,))


@pytest.fixture
def clara(cast):
    """An auditor of the operator."""
    person = Person.objects.create_user("clara", password="x", organisation=cast.ada.organisation)
    Membership.objects.create(person=person, role=Role.AUDITOR)
    return person


@pytest.fixture
def approval(cast, asked):
    decisions.approve(asked, cast.olga)
    return AuditEntry.objects.get(action="approve_request")


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        *(("olga", True), ("anna", True), ("ada", True)),
        *(("eve", False), ("paul", False), ("sam", False), ("nobody", False)),
    ],
)
def test_an_approval_is_seen_by_the_owners_organisation_and_the_operator(cast, approval, who, sees):
    assert AuditEntry.objects.visible_to(cast[who]).filter(pk=approval.pk).exists() == sees


def test_a_scientist_sees_the_own_acts_only(cast, asked, approval, since):
    eve_too = Person.objects.create_user("emil", organisation=cast.eve.organisation)
    record(Action.LOG_IN, eve_too, by=eve_too)
    seen = AuditEntry.objects.visible_to(cast.sam)
    assert {entry.person for entry in seen} == {cast.sam}
    assert {entry.action for entry in seen} == {"register_key", "submit_request"}


def test_an_administrator_sees_what_the_own_people_do_elsewhere(cast, asked):
    dean = Person.objects.create_user("dean", organisation=cast.sam.organisation)
    Membership.objects.create(person=dean, role=Role.ADMINISTRATOR)
    assert AuditEntry.objects.visible_to(dean).filter(action="submit_request", person=cast.sam).exists()
    assert not AuditEntry.objects.visible_to(dean).filter(action="approve_request").exists()


def test_the_operators_auditor_sees_everything(cast, clara, approval):
    assert AuditEntry.objects.visible_to(clara).count() == AuditEntry.objects.count()


def test_the_list_shows_who_did_what_on_what(cast, browser, approval):
    text = browser(cast.anna).get(LIST).content.decode()
    for words in ("approve an access request", ">done</span>", "sam → north/access-2026", "olga"):
        assert words in text
    assert "sam → north/access-2026" not in browser(cast.eve).get(LIST).content.decode()


def test_the_list_asks_the_database_as_often_for_many_entries_as_for_few(
    cast, browser, approval, django_assert_max_num_queries
):
    client = browser(cast.anna)
    client.get(LIST)
    for _ in range(30):
        record(Action.READ_REPORT, approval_of(approval), by=cast.olga)
    with django_assert_max_num_queries(30):
        client.get(LIST)


def approval_of(entry):
    from fedcore.coordinator.governance.models import AccessRequest

    return AccessRequest.objects.get(pk=entry.thing_id)


def test_an_entry_is_shown_in_plain_words(cast, browser, approval):
    text = browser(cast.olga).get(page_of(approval)).content.decode()
    for words in ("Approve an access request", "olga", "Releases", "5", "access request:", approval.digest):
        assert words in text
    link = reverse("admin:governance_accessrequest_change", args=(approval.thing_id,))
    assert link in text


def test_a_refusal_is_explained(cast, browser, asked):
    with pytest.raises(decisions.DecisionError):
        decisions.approve(asked, cast.olga, decisions.Limits(releases=99))
    record(Action.ANSWER_ORDER, cast.north, by=cast.north, refused="too_few_rows")
    entry = AuditEntry.objects.latest("serial")
    text = browser(cast.olga).get(page_of(entry)).content.decode()
    assert "Fewer rows stand behind the output" in text
    assert ">exceeds_request</span>" in browser(cast.olga).get(LIST).content.decode()


@pytest.mark.parametrize("who", ["eve", "paul", "sam"])
def test_eve_finds_no_entry_of_others(cast, browser, approval, who):
    answer = browser(cast[who]).get(page_of(approval))
    assert (answer.status_code, answer.url) == (302, "/admin/")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("action__exact=approve_request", True),
        ("action__exact=refuse_request", False),
        ("outcome__exact=done", True),
        ("outcome__exact=refused", False),
        ("who__exact=person", True),
        ("who__exact=host", False),
        ("organisation={organisation}", True),
        ("organisation=999", False),
        ("dataset={dataset}", True),
        ("dataset=999", False),
        ("run=" + "ab" * 32, False),
        ("q=olga", True),
        ("q=eve", False),
        ("q={request}", True),
        ("at_from={today}&at_to={today}", True),
        ("at_from=2999-01-01", False),
        ("at_to=2020-01-01", False),
        ("at_from=2020-13-01&at_to=x", True),
    ],
)
def test_the_list_is_filtered_and_searched(cast, browser, approval, query, found):
    query = query.format(
        today=f"{approval.at:%Y-%m-%d}",
        organisation=cast.olga.organisation_id,
        dataset=cast.dataset.pk,
        request=approval.thing_id,
    )
    text = browser(cast.olga).get(f"{LIST}?{query}").content.decode()
    assert (f'href="{page_of(approval)}' in text) == found


@pytest.mark.parametrize("who", ["olga", "anna", "ada", "clara", "sam"])
def test_nobody_adds_changes_or_deletes_an_entry(cast, browser, clara, approval, who):
    client = browser(clara if who == "clara" else cast[who])
    before = AuditEntry.objects.count()
    assert client.get(reverse("admin:governance_auditentry_add")).status_code == 403
    assert client.post(page_of(approval), {"code": "x"}).status_code in (302, 403)
    delete = reverse("admin:governance_auditentry_delete", args=(approval.pk,))
    assert client.post(delete, {"post": "yes"}).status_code in (302, 403)
    client.post(LIST, {"action": "delete_selected", "_selected_action": [approval.pk], "post": "yes"})
    assert AuditEntry.objects.filter(pk=approval.pk, code="").exists()
    assert AuditEntry.objects.count() >= before


def test_auditors_open_every_page_and_change_nothing(cast, browser, clara, approval):
    """All pages of the admin, tried with every method that could change something."""
    client = browser(clara)
    models = [model for model in admin.site._registry if hasattr(model.objects, "visible_to")]
    stays = {model for model in models if model is not AuditEntry}
    before = {model: list(model._base_manager.order_by("pk").values()) for model in stays}
    opened = 0
    for model in models:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        assert client.get(reverse(f"{name}_changelist")).status_code == 200, model
        assert client.get(reverse(f"{name}_add")).status_code == 403, model
        assert client.post(reverse(f"{name}_add"), {"name": "x", "title": "x"}).status_code == 403, model
        for row in model.objects.visible_to(clara)[:1]:
            opened += 1
            change, delete = (reverse(f"{name}_{kind}", args=(row.pk,)) for kind in ("change", "delete"))
            assert client.get(change).status_code == 200, model
            given = {"name": "x", "title": "x", "username": "x"}
            assert client.post(change, given).status_code == 403, model
            assert client.post(delete, {"post": "yes"}).status_code == 403, model
            actions = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
            client.post(reverse(f"{name}_changelist"), actions)
            for action in getattr(admin.site._registry[model], "actions_detail", []):
                address = reverse(f"{name}_{action}", args=(row.pk,))
                answer = client.post(address, {"_form_submitted": "on", "reason": "x"})
                assert answer.status_code == 403, action
    assert opened >= 7
    assert {model: list(model._base_manager.order_by("pk").values()) for model in stays} == before
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_an_export_has_what_the_filters_let_through_and_is_recorded(cast, browser, approval, since, format):
    answer = browser(cast.anna).post(f"{EXPORT}?action__exact=approve_request", {"format": format})
    assert answer.headers["Content-Disposition"].endswith(f'.{format}"')
    lines = answer.content.decode().splitlines()
    assert len(lines) == (2 if format == "csv" else 1)
    assert approval.digest in lines[-1]
    assert "olga" not in lines[-1]
    [entry] = since(action="export_audit")
    assert (entry.person, entry.facts) == (cast.anna, {"format": format, "entries": 1})


def test_names_are_exported_where_they_are_asked_for(cast, browser, approval):
    given = {"format": "jsonl", "names": "on"}
    answer = browser(cast.anna).post(f"{EXPORT}?action__exact=approve_request", given)
    assert json.loads(answer.content)["person_name"] == "olga"


def test_eves_export_has_nothing_of_others(cast, browser, approval):
    lines = browser(cast.eve).post(EXPORT, {"format": "jsonl"}).content.decode().splitlines()
    assert {json.loads(line)["person"] for line in lines} == {cast.eve.pk}


@pytest.mark.parametrize("address", [EXPORT, PROCESSING])
def test_an_export_is_no_get_and_needs_the_csrf_token(cast, browser, address):
    assert browser(cast.anna).get(address).status_code == 405
    assert browser(cast.anna, enforce_csrf_checks=True).post(address, {"format": "csv"}).status_code == 403
    assert browser(cast.nobody).post(address, {"format": "csv"}).status_code == 302


def test_an_export_in_another_format_is_refused(cast, browser):
    assert browser(cast.anna).post(EXPORT, {"format": "pdf"}).status_code == 400


def test_too_many_entries_are_exported_by_the_command(cast, browser, approval, monkeypatch):
    monkeypatch.setattr("fedcore.coordinator.governance.admin.audit.EXPORTED_AT_MOST", 0)
    answer = browser(cast.anna).post(EXPORT, {"format": "csv"}, follow=True)
    assert "use `manage.py audit export`" in answer.content.decode()


def test_the_page_of_a_grant_says_how_it_is_revoked_on_the_host(cast, browser, asked):
    address = reverse("admin:governance_accessrequest_change", args=(asked.pk,))
    held_back = "through this coordinator, which could hold it back"
    assert held_back not in browser(cast.olga).get(address).content.decode()
    decisions.approve(asked, cast.olga)
    text = browser(cast.olga).get(address).content.decode()
    assert held_back in text
    assert f"<code>fedcore-owner grants revoke {asked.pk[:12]}</code>" in text
    assert held_back not in browser(cast.sam).get(address).content.decode(), "It is the owner's to run."
    decisions.revoke(asked, cast.olga, "no longer")
    assert held_back not in browser(cast.olga).get(address).content.decode()


def get(client, **query):
    return client.get("/api/audit", query)


def test_the_api_gives_pages_by_serial(cast, api, approval):
    client = api(cast.ada)
    first = get(client, limit=3).json()
    assert [entry["serial"] for entry in first["entries"]] == [1, 2, 3]
    assert first["next"] == 3
    second = get(client, after=first["next"], limit=500).json()
    assert second["entries"][0]["serial"] == 4
    assert second["next"] is None


def test_the_api_gives_what_the_digest_covers(cast, api, approval):
    [entry] = get(api(cast.olga), action="approve_request").json()["entries"]
    assert entry["digest"] == approval.digest
    assert json.loads(entry["detail"]) == approval.facts


def test_eve_gets_nothing_of_others_from_the_api(cast, api, approval):
    found = get(api(cast.eve)).json()["entries"]
    assert {entry["person"] for entry in found} <= {cast.eve.pk}
    assert get(api(cast.nobody)).json() == {"entries": [], "next": None}
    assert api(None).get("/api/audit").status_code == 401
    assert api(None).get("/api/audit/head").status_code == 401


@pytest.mark.parametrize(
    "query", [{"after": "x"}, {"limit": 501}, {"action": "fly"}, {"run": "x"}, {"after": -1}]
)
def test_a_wrong_question_is_refused(cast, api, query):
    answer = get(api(cast.ada), **query)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_the_api_finds_what_concerns_a_run(world, api, pooled):
    found = get(api(world.sam), run=pooled.pk).json()["entries"]
    assert [entry["action"] for entry in found] == ["submit_run"]


def test_everybody_who_is_logged_in_can_keep_the_head(cast, api):
    client = api(cast.eve)
    from fedcore.coordinator.governance import audit

    head = audit.head()
    assert client.get("/api/audit/head").json() == {"serial": head.serial, "digest": head.digest}


def record_of(client, **given):
    return client.post(PROCESSING, {"format": "json"} | given)


def test_the_record_of_processing_says_what_article_30_asks_for(world, browser, since):
    run = world.drive(world.submit())
    answer = record_of(browser(world.owners["north"]))
    [found] = json.loads(answer.content)["organisations"]
    assert found["controller"] == "North-Hospital"
    assert found["purposes"] == ["security-research"]
    assert [data["columns"] for data in found["categories_of_data"]] == [["request"]]
    assert {"organisation": "University", "as": "employs the scientist"} in found["recipients"]
    assert {
        "organisation": "Cloud-House",
        "as": "runs the coordinator, which trains on protected rows",
    } in found["recipients"]
    assert any(part["backend"] == "keyed_tokens" and part["pseudonymised"] for part in found["safeguards"])
    [grant] = found["grants"]
    assert (grant["releases"], grant["releases_used"], grant["recipient"]) == (5, 1, "University")
    [shown] = grant["runs"]
    assert (shown["run"], shown["state"]) == (run.pk, "finished")
    assert shown["bytes_sent"] > 0
    assert since(action="export_audit")[0].facts == {"format": "processing.json", "entries": 1}
    text = answer.content.decode()
    assert not any(name in text for name in ("olga", "paul", "sam "))


def test_the_record_of_processing_is_a_page_too(world, browser):
    world.drive(world.submit())
    page = record_of(browser(world.owners["north"]), format="html")
    text = page.content.decode()
    for words in ("GDPR, Article 30", "North-Hospital", "security-research", "keyed_tokens", "Detector"):
        assert words in text
    assert "South-Bank" not in text


def test_whoever_oversees_nothing_gets_no_record_of_processing(cast, browser, approval):
    assert record_of(browser(cast.sam)).status_code == 403
    assert "Record of processing" not in browser(cast.sam).get(LIST).content.decode()


def test_the_operators_auditor_gets_the_record_of_every_owner(cast, browser, clara):
    host = OwnerHost.objects.get(name="south")
    Dataset.objects.create(
        host=host, name="d", title="D", reader="labelled_lines", rows=1, current_version="c" * 64,
        announced_at=cast.dataset.announced_at,
    )  # fmt: skip
    found = json.loads(record_of(browser(clara)).content)["organisations"]
    assert [part["controller"] for part in found] == ["North-Hospital", "South-Bank"]
    assert Organisation.objects.count() > len(found)
