"""Every decision and access has its entry, with who did it, and without a name, a secret or a text of anybody."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_otp import DEVICE_ID_SESSION_KEY

from fedcore.coordinator.governance import booking, decisions, second_factor, submissions
from fedcore.coordinator.governance.audit import Action, Thing
from fedcore.coordinator.governance.logins import end_all
from fedcore.coordinator.governance.models import (
    ApiToken,
    AuditEntry,
    Dataset,
    Lockout,
    Membership,
    Organisation,
    OwnerHost,
    Person,
    PersonKey,
    StoredSession,
)
from fedcore.coordinator.governance.setup import apply, read
from fedcore.coordinator.runs import ending
from fedcore.coordinator.runs.models import Run
from fedcore.coordinator.runs.problems import Refused
from fedcore.coordinator.runs.sweeping import tidy_artefacts
from fedcore.coordinator.runs.validation import submit
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import HostCard, SealingKey, SigningKey
from fedcore.wire.orders import Phase
from fedcore.wire.reports import DatasetOffer
from tests.coordinator.authenticator import App, set_up
from tests.coordinator.conftest import PASSWORD, register
from tests.coordinator.runs.scripted_host import ScriptedHost


def did(entries):
    return [(entry.action, entry.outcome) for entry in entries]


def test_log_ins_log_outs_and_failed_ones(cast, client, since):
    client.post("/admin/login/", {"username": "sam", "password": "wrong"})
    client.post("/admin/login/", {"username": "sam", "password": PASSWORD})
    client.post("/admin/logout/")
    assert did(since()) == [
        *(("log_in", "refused"), ("log_in", "done"), ("log_out", "done"), ("end_session", "done"))
    ]
    failed, done, left, _ended = since()
    assert (failed.who, failed.code, failed.thing_id) == ("unknown", "wrong_password", str(cast.sam.pk))
    assert (done.person, left.person) == (cast.sam, cast.sam)


def test_a_right_password_leaves_a_trace_before_the_code_does(cast, api, client, since, monkeypatch):
    app = App(monkeypatch)
    set_up(cast.olga, app)
    before = len(since())
    given = {"username": "olga", "password": PASSWORD}
    assert api(None).post("/api/login", given, format="json").json()["code"] == "second_factor_required"
    assert client.post("/admin/login/", given).status_code == 302
    client.post("/admin/login/code/", {"code": "123456"})
    api(None).post("/api/login", given | {"otp": "123456"}, format="json")
    found = [(entry.action, entry.code, entry.channel) for entry in since()[before:]]
    assert found == [
        ("pass_password", "", "api"),
        ("pass_password", "", "admin"),
        ("log_in", "wrong_code", "admin"),
        ("log_in", "wrong_code", "api"),
    ]
    assert {(entry.who, entry.thing_id) for entry in since()[before:]} == {("unknown", str(cast.olga.pk))}


def test_a_log_in_without_the_second_factor_that_it_needs(cast, api, since, settings):
    settings.FEDCORE_SECOND_FACTOR = "required"
    given = {"username": "olga", "password": PASSWORD}
    assert api(None).post("/api/login", given, format="json").status_code == 403
    [entry] = since()
    assert (entry.action, entry.code, entry.thing_id) == (
        *("log_in", "second_factor_missing"),
        str(cast.olga.pk),
    )


@pytest.mark.parametrize(("what", "action"), [("codes", "renew_codes"), ("remove", "remove_factor")])
def test_a_wrong_code_of_somebody_who_is_logged_in(cast, browser, since, monkeypatch, what, action):
    factor, _codes = set_up(cast.olga, App(monkeypatch))
    client = browser(cast.olga)
    session = client.session
    session[DEVICE_ID_SESSION_KEY] = factor.persistent_id
    session.save()
    client.post(f"{reverse('admin:security-factor')}?do={what}", {"code": "123456"})
    [entry] = since(outcome="refused")
    assert (entry.action, entry.code, entry.person) == (action, "wrong_code", cast.olga)


def test_guesses_of_the_old_password_are_recorded_and_locked_out(cast, browser, since):
    client = browser(cast.sam)
    new = {"new_password1": "staple of batteries", "new_password2": "staple of batteries"}
    answers = [
        client.post("/admin/password_change/", {"old_password": f"guess {number}", **new}).status_code
        for number in range(6)
    ]
    assert answers == [200, 200, 200, 200, 429, 429]
    refused = since(outcome="refused")
    assert {(entry.action, entry.code, entry.person) for entry in refused} == {
        ("change_person", "wrong_password", cast.sam)
    }
    assert len(refused) == 5
    right = client.post("/admin/password_change/", {"old_password": PASSWORD, **new})
    assert right.status_code == 429
    assert Person.objects.get(pk=cast.sam.pk).check_password(PASSWORD)


def test_a_name_that_is_nobodys_is_not_kept(cast, client, since):
    client.post("/admin/login/", {"username": "my-secret-password", "password": "wrong"})
    [entry] = since()
    assert (entry.outcome, entry.thing, entry.thing_id) == ("refused", "person", "")
    assert "my-secret-password" not in str(list(AuditEntry.objects.values()))


def test_a_lock_out(cast, client, since):
    for _ in range(5):
        client.post("/admin/login/", {"username": "sam", "password": "wrong"})
    assert did(since()).count(("log_in", "refused")) == 5
    assert did(since()).count(("lock_out", "done")) == 1
    assert {entry.thing_id for entry in since()} == {str(cast.sam.pk)}


def test_tokens_that_are_made_and_revoked(cast, api, since):
    client = api(None)
    client.post("/api/login", {"username": "sam", "password": PASSWORD}, format="json")
    token = ApiToken.objects.get(user=cast.sam)
    api(cast.sam).post("/api/logout")
    assert did(since(channel="api")) == [
        ("log_in", "done"),
        ("make_token", "done"),
        ("end_token", "done"),
        ("log_out", "done"),
    ]
    assert token.token_key not in str(list(AuditEntry.objects.values()))


def change_person(client, person, **given):
    """Post the admin's form of a person; what is not given stays out."""
    form = {"username": person.username, "organisation": person.organisation_id, "is_active": "on"}
    form |= {"keys-TOTAL_FORMS": "0", "keys-INITIAL_FORMS": "0"}
    return client.post(reverse("admin:governance_person_change", args=(person.pk,)), form | given)


def test_people_and_their_roles(cast, browser, since):
    change_person(browser(cast.ada), cast.sam, first_name="Samuel", roles=["administrator"])
    changed, given = since(channel="admin")
    assert (changed.action, changed.facts) == ("change_person", {"fields": ["first_name"]})
    assert (given.action, given.facts) == ("give_role", {"role": "administrator"})
    assert {changed.person, given.person} == {cast.ada}
    assert changed.thing_id == given.thing_id == str(cast.sam.pk)


def test_whoever_is_disabled_loses_everything_and_all_of_it_is_recorded(cast, browser, since):
    browser(cast.sam)
    ApiToken.objects.create(user=cast.sam)
    change_person(browser(cast.ada), cast.sam, is_active="")
    assert sorted(entry.action for entry in since(channel="admin", person=cast.ada)) == [
        *("change_person", "end_session", "end_token", "revoke_key", "take_role")
    ]


def test_sessions_that_are_ended_and_not_those_that_expired(cast, browser, since):
    browser(cast.sam)
    session = StoredSession.objects.get(person=cast.sam)
    end_all(cast.sam)
    [entry] = since(action="end_session")
    assert (entry.thing, entry.thing_id) == ("session", session.digest[:16])
    assert f" person:{cast.sam.pk} " in entry.concerns
    browser(cast.sam)
    StoredSession.objects.update(expires_at=timezone.now() - timedelta(hours=1))
    end_all(cast.sam)
    assert since(action="end_session") == [entry]


def test_a_lock_out_that_is_lifted(cast, browser, client, since):
    for _ in range(5):
        client.post("/admin/login/", {"username": "sam", "password": "wrong"})
    address = reverse("admin:governance_lockout_lift", args=(Lockout.objects.first().pk,))
    browser(cast.ada).post(address, {"_form_submitted": "on"})
    [entry] = since(action="lift_lockout")
    assert (entry.person, entry.thing_id) == (cast.ada, str(cast.sam.pk))


def test_a_second_factor_that_is_set_up_and_removed(cast, since, monkeypatch):
    set_up(cast.olga, App(monkeypatch))
    second_factor.remove(cast.olga)
    assert [entry.action for entry in since()] == ["enrol_factor", "remove_factor"]
    assert {entry.thing_id for entry in since()} == {str(cast.olga.pk)}


def test_new_recovery_codes(cast, browser, since, monkeypatch):
    app = App(monkeypatch)
    factor, _codes = set_up(cast.olga, app)
    client = browser(cast.olga)
    session = client.session
    session[DEVICE_ID_SESSION_KEY] = factor.persistent_id
    session.save()
    client.post(f"{reverse('admin:security-factor')}?do=codes", {"code": app.code()})
    assert [(entry.person, entry.outcome) for entry in since(action="renew_codes")] == [(cast.olga, "done")]


def test_questions_answers_tighter_limits_and_what_is_given_back(cast, asked, since):
    decisions.ask(asked, cast.olga, "Why?")
    decisions.answer(asked, cast.sam, "Because.")
    decisions.approve(asked, cast.olga)
    decisions.tighten(asked, cast.olga, decisions.Limits(releases=1), "less")
    decisions.withdraw(asked, cast.sam, "done")
    assert [(entry.action, entry.person) for entry in since()] == [
        ("ask_back", cast.olga),
        ("answer_back", cast.sam),
        ("approve_request", cast.olga),
        ("tighten_grant", cast.olga),
        ("withdraw_request", cast.sam),
    ]
    assert since(action="tighten_grant")[0].facts["releases"] == 1
    assert "Because" not in str(list(AuditEntry.objects.values()))


def test_a_role_that_is_taken_away_and_a_person_who_is_deleted(cast, since):
    cast.nobody.memberships.all().delete()
    Membership.objects.filter(person=cast.sam).delete()
    cast.nobody.delete()
    assert did(since()) == [("take_role", "done"), ("delete_person", "done")]
    assert since()[1].thing_id
    assert since()[1].person is None


def test_a_person_who_moves_is_seen_by_both_organisations(cast, since):
    old, new = cast.sam.organisation_id, cast.olga.organisation_id
    cast.sam.organisation_id = new
    cast.sam.save()
    [entry] = since()
    assert entry.facts == {"fields": ["organisation"]}
    assert all(entry in AuditEntry.objects.concerning(Thing.ORGANISATION, id) for id in (old, new))


def test_saving_without_a_change_and_noting_a_log_in_are_no_changes(cast, since):
    cast.sam.save()
    cast.sam.last_login = cast.sam.date_joined
    cast.sam.save()
    cast.north.save()
    assert since() == []


def test_organisations_and_hosts(cast, since):
    card = HostCard(SigningKey.generate().public, SealingKey.generate().public)
    organisation = Organisation.objects.create(name="mill", title="Mill")
    host = OwnerHost.objects.create(
        name="mill", organisation=organisation, signing_key=card.signing, sealing_key=card.sealing
    )
    host.is_active = False
    host.save()
    host.delete()
    organisation.delete()
    assert [entry.action for entry in since()] == [
        *("add_organisation", "add_host", "change_host", "delete_host", "delete_organisation")
    ]


def test_a_site_that_is_set_up_from_a_file(db, tmp_path, since, settings):
    (tmp_path / "site.toml").write_text(
        '[[organisations]]\nname = "mill"\ntitle = "Mill"\n'
        '[[people]]\nusername = "mia"\norganisation = "mill"\nroles = ["auditor", "data_owner"]\n'
    )
    apply(read(tmp_path / "site.toml"))
    assert [entry.action for entry in since()] == [
        *("add_organisation", "add_person", "give_role", "give_role")
    ]
    assert {(entry.who, entry.channel) for entry in since()} == {("system", "command")}


def test_keys_are_registered_once_and_revoked_once(cast, since):
    register(cast.olga)
    key = PersonKey.objects.get(person=cast.olga)
    submissions.revoke_key(key)
    submissions.revoke_key(key)
    assert [entry.action for entry in since()] == ["register_key", "revoke_key"]


def test_requests_and_what_is_decided_about_them(cast, message, since):
    first, second = (
        submissions.submit_request(message().signed_by(cast.sam_key), cast.sam)[0] for _ in range(2)
    )
    submissions.submit_request(first.signed, cast.sam)
    decisions.approve(first, cast.olga, decisions.Limits(releases=2))
    decisions.refuse(second, cast.olga, "no")
    booking.book_release(first.grant, "ab" * 32)
    booking.book_release(first.grant, "ab" * 32)
    decisions.revoke(first, cast.olga, "enough")
    assert [(entry.action, entry.person or entry.who) for entry in since()] == [
        ("submit_request", cast.sam),
        ("submit_request", cast.sam),
        ("approve_request", cast.olga),
        ("refuse_request", cast.olga),
        ("use_release", "system"),
        ("revoke_grant", cast.olga),
    ]
    assert since(action="approve_request")[0].facts["releases"] == 2
    assert since(action="use_release")[0].facts == {"run": "ab" * 32}


def test_a_request_that_is_not_taken(cast, message, since):
    signed = message(backends=("unheard_of",)).signed_by(cast.sam_key)
    with pytest.raises(WireError):
        submissions.submit_request(signed, cast.sam)
    [entry] = since()
    assert (entry.action, entry.code, entry.thing_id) == ("submit_request", "invalid_options", signed.digest)


def test_announcements_that_change_something(cast, since):
    host = ScriptedHost(cast.north, cast.north_key, SealingKey.generate(), 1)
    offer = DatasetOffer(
        name="access-2026",
        version=hashlib.sha256(b"new").hexdigest(),
        title="Requests of 2026",
        reader="labelled_lines",
        columns=("request",),
        classes=("benign", "attack"),
        rows=62_000,
    )
    new = offer.model_copy(update={"name": "access-2027"})
    for offers in ((offer,), (offer,), (offer, new), (new,), (new,)):
        Dataset.objects.update(announced_at="2026-01-01T00:00:00Z")
        assert host.announce(*offers).status_code == 200
    found = since()
    assert [entry.action for entry in found] == ["change_dataset", "offer_dataset", "withdraw_dataset"]
    assert found[0].facts == {"fields": ["current_version"]}
    assert {(entry.who, entry.host, entry.channel) for entry in found} == {("host", cast.north, "host")}


def test_a_whole_run(world, api, since):
    run = world.drive(world.submit())
    client = api(world.sam)
    for ending_of in ("report", "model", "dataset"):
        assert client.get(f"/api/runs/{run.pk}/{ending_of}").status_code == 200
    found = [entry for entry in since() if f" run:{run.pk} " in entry.concerns]
    assert [(entry.action, str(entry.person or entry.host or entry.who)) for entry in found] == [
        ("submit_run", "sam"),
        ("start_run", "system"),
        ("receive_artefact", "north"),
        ("receive_artefact", "south"),
        ("give_artefact", "north"),
        ("give_artefact", "south"),
        ("finish_run", "system"),
        ("delete_artefacts", "system"),
        ("read_report", "sam"),
        ("download_model", "sam"),
        ("download_dataset", "sam"),
    ]
    assert [entry.action for entry in since() if entry.action == "use_release"] == ["use_release"] * 2
    kept = set(run.artefacts.filter(deleted_at=None).values_list("digest", flat=True))
    deleted = set(found[7].facts["artefacts"])
    assert deleted
    assert not deleted & kept
    received = {entry.facts["digest"] for entry in found if entry.action == "receive_artefact"}
    assert received == deleted


def test_what_a_host_receives_or_refuses_concerns_its_own_organisation_and_not_the_other_owners(world, since):
    run = world.submit()
    world.at(run, Phase.CHECK)
    for order in world.south.orders(after=0):
        world.south.refuse(order, RefusalCode.TOO_FEW_ROWS)
    world.drive(run)
    [refused] = since(action="answer_order")
    assert (refused.host, refused.outcome, refused.code) == (world.south.row, "refused", "too_few_rows")
    assert refused.facts == {"phase": "check", "step": 0, "round": 0, "status": "refused"}
    assert f" organisation:{world.south.row.organisation_id} " in refused.concerns
    assert f" organisation:{world.north.row.organisation_id} " not in refused.concerns
    [stopped] = since(action="stop_run")
    assert (stopped.code, stopped.who) == ("too_few_rows", "system")


def test_runs_that_are_cancelled_deleted_or_not_taken(world, browser, since):
    run = world.submit()
    browser(world.sam).post(reverse("admin:runs_run_cancel", args=(run.pk,)), {"_form_submitted": "on"})
    [cancelled] = since(action="cancel_run")
    assert (cancelled.person, cancelled.outcome, cancelled.channel) == (world.sam, "done", "admin")
    browser(world.sam).post(f"/admin/runs/run/{run.pk}/delete/", {"post": "yes"})
    [deleted] = since(action="delete_run")
    assert (deleted.person, deleted.thing_id, Run.objects.count()) == (world.sam, run.pk, 0)
    assert f" organisation:{world.north.row.organisation_id} " in deleted.concerns
    stale = world.spec(submitted_at=int(time.time()) - 90_000).signed_by(world.sam_key)
    with pytest.raises(Refused):
        submit(world.sam, stale)
    [refused] = since(action="submit_run", outcome="refused")
    assert (refused.code, refused.thing_id, refused.person) == ("expired", stale.digest, world.sam)


def test_a_download_that_is_not_allowed_and_a_dataset_that_goes_with_its_grant(world, api, since):
    run = world.drive(world.submit())
    decisions.revoke(world.requests["north"], world.owners["north"], "enough")
    assert api(world.sam).get(f"/api/runs/{run.pk}/dataset").status_code == 403
    assert since(action="download_dataset")[0].code == "not_granted"
    before = len(since(action="delete_artefacts"))
    tidy_artefacts()
    assert len(since(action="delete_artefacts")) == before + 1


def test_reading_a_report_in_the_admin(world, browser, since):
    run = world.submit()
    browser(world.sam).get(reverse("admin:runs_run_change", args=(run.pk,)))
    assert since(action="read_report") == []
    run = world.drive(run)
    browser(world.owners["north"]).get(reverse("admin:runs_run_change", args=(run.pk,)))
    assert [entry.person for entry in since(action="read_report")] == [world.owners["north"]]


def test_how_good_a_model_is_only_the_report_says_which_is_recorded(world, api, browser, since):
    run = world.drive(world.submit())
    client = api(world.sam)
    for address in ("/api/runs", f"/api/runs/{run.pk}"):
        assert "metrics" not in client.get(address).content.decode()
    listed = browser(world.sam).get(reverse("admin:runs_run_changelist")).content.decode()
    assert f"{run.report['metrics']['f1']:.4f}" not in listed
    assert since(action="read_report") == []


def test_a_cancellation_that_is_refused(world, api, since):
    run = world.drive(world.submit())
    assert api(world.sam).post(f"/api/runs/{run.pk}/cancel").status_code == 409
    [entry] = since(action="cancel_run")
    assert (entry.person, entry.code, entry.thing_id) == (world.sam, "conflict", run.pk)


def test_waiting_for_orders_is_not_recorded(world, since):
    before = since()
    for _ in range(3):
        world.north.orders(after=0)
    assert since() == before


def test_no_entry_has_a_name_a_secret_or_a_text_of_anybody(world, api):
    """Everything that is personal or secret here has its own unmistakable word."""
    sam = world.sam
    for person in Person.objects.all():
        person.username = f"{person.username}-quillfeather"
        person.first_name, person.email = "Zebediah", "zebediah@quillfeather.example"
        person.save()
    sam.refresh_from_db()
    secrets = {"zebediah", "quillfeather", PASSWORD, "north-hospital", "requests", "another secret of mine"}
    request = world.ask(world.north, reason="Quillfeather asks", purpose="security-research")
    decisions.refuse(request, world.owners["north"], "Zebediah may not")
    given = {"username": sam.username, "password": PASSWORD}
    assert Client().post("/admin/login/", given).status_code == 302
    secrets.add(api(None).post("/api/login", given, format="json").json()["token"].lower())
    secrets.add(ApiToken.objects.get().token_key.lower())
    run = world.drive(world.submit())
    ending.cancel(world.submit().pk)
    api(sam).get(f"/api/runs/{run.pk}/model")
    sam.set_password("another secret of mine")
    sam.save()
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM governance_auditentry")
        written = json.dumps(cursor.fetchall(), default=str).lower()
    assert AuditEntry.objects.count() > 20
    assert {secret for secret in secrets if secret in written} == set()


def test_every_action_is_made_somewhere():
    """An action that nothing records would be a promise that nobody keeps."""
    from pathlib import Path

    import fedcore.coordinator

    root = Path(fedcore.coordinator.__file__).parent
    source = "".join(path.read_text() for path in root.rglob("*.py") if path.name != "actions.py")
    assert [action.name for action in Action if f"Action.{action.name}" not in source] == []
