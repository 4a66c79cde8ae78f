"""The second factor in the admin: set up where it is required, asked for at every login, replayed never."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from fedcore.coordinator.governance import second_factor
from fedcore.coordinator.governance.models import ApiToken, Person, SecondFactor

from .authenticator import App, set_up

PASSWORD = "correct horse battery"
CODE, ENROL = reverse("second-factor-code"), reverse("second-factor-enrol")


@pytest.fixture
def app(monkeypatch):
    return App(monkeypatch)


@pytest.fixture
def required(settings):
    settings.FEDCORE_SECOND_FACTOR = "required"


def log_in(client, username, address="/admin/"):
    return client.post(f"/admin/login/?next={address}", {"username": username, "password": PASSWORD})


def enter(client, code, address="/admin/"):
    return client.post(CODE, {"code": code, "next": address})


def is_inside(client):
    return client.get("/admin/").status_code == 200


def wait_after_a_wrong_code(person):
    factor = SecondFactor.objects.get(user=person)
    factor.throttling_failure_timestamp -= timedelta(minutes=1)
    factor.save()


def test_the_password_alone_lets_nobody_in_who_has_a_second_factor(cast, client, app):
    set_up(cast.olga, app)
    answer = log_in(client, "olga")
    assert answer.url.startswith(CODE)
    assert "_auth_user_id" not in client.session
    assert not is_inside(client)


def test_the_code_lets_in_and_leads_to_where_one_wanted(cast, client, app):
    set_up(cast.olga, app)
    wanted = reverse("admin:governance_grant_changelist")
    step = log_in(client, "olga", wanted)
    assert f'value="{wanted}"' in client.get(step.url).content.decode()
    assert enter(client, app.code(), wanted).url == wanted
    assert is_inside(client)


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/"])
def test_the_code_leads_to_no_other_site(cast, client, app, elsewhere):
    set_up(cast.olga, app)
    log_in(client, "olga")
    assert enter(client, app.code(), elsewhere).url == "/admin/"


def test_a_wrong_code_lets_nobody_in(cast, client, app):
    set_up(cast.olga, app)
    log_in(client, "olga")
    answer = enter(client, "000000" if app.code() != "000000" else "000001")
    assert "This code is wrong" in answer.content.decode()
    assert not is_inside(client)


def test_a_code_that_was_used_is_refused(cast, client, app):
    set_up(cast.olga, app)
    code = app.code()
    log_in(client, "olga")
    enter(client, code)
    other = Client()
    log_in(other, "olga")
    assert "was used before" in enter(other, code).content.decode()
    assert not is_inside(other)


def test_the_code_that_confirmed_the_app_is_used(cast, client, app):
    salt = second_factor.new_salt()
    app.secret = second_factor.secret_of(salt)
    second_factor.enrol(cast.olga, salt, app.code())
    log_in(client, "olga")
    enter(client, app.code())
    assert not is_inside(client)


def test_after_a_wrong_code_even_the_right_one_waits(cast, client, app):
    set_up(cast.olga, app)
    log_in(client, "olga")
    enter(client, "12345")
    assert enter(client, app.code()).status_code == 200
    assert not is_inside(client)
    wait_after_a_wrong_code(cast.olga)
    enter(client, app.code())
    assert is_inside(client)


def test_five_wrong_codes_lock_the_name_out_though_the_password_was_right_between(cast, client, app):
    set_up(cast.olga, app)
    for _attempt in range(4):
        log_in(client, "olga")
        assert enter(client, "12345").status_code == 200
    log_in(client, "olga")
    assert enter(client, "12345").status_code == 429
    wait_after_a_wrong_code(cast.olga)
    assert log_in(client, "olga").status_code == 429
    assert enter(client, app.code()).status_code == 429
    assert not is_inside(client)


def test_a_login_without_the_code_goes_on_for_ten_minutes_only(cast, client, app, monkeypatch):
    set_up(cast.olga, app)
    log_in(client, "olga")
    monkeypatch.setattr("fedcore.coordinator.governance.pages.login.CODE_WITHIN", -1)
    assert enter(client, app.code()).url == "/admin/login/"
    assert not is_inside(client)


def test_a_password_that_changes_meanwhile_ends_the_half_login(cast, client, app):
    set_up(cast.olga, app)
    log_in(client, "olga")
    cast.olga.set_password("another password 1")
    cast.olga.save()
    assert enter(client, app.code()).url == "/admin/login/"
    assert not is_inside(client)


def test_whoever_is_disabled_meanwhile_does_not_get_in(cast, client, app):
    set_up(cast.olga, app)
    log_in(client, "olga")
    Person.objects.filter(pk=cast.olga.pk).update(is_active=False)
    assert enter(client, app.code()).url == "/admin/login/"


def test_the_page_for_the_code_is_for_those_who_gave_a_password(cast, client):
    assert client.get(CODE).url == "/admin/login/"
    assert client.post(CODE, {"code": "123456"}).url == "/admin/login/"


def test_the_key_of_the_session_changes_with_each_step(cast, client, app):
    set_up(cast.olga, app)
    log_in(client, "olga")
    before = client.session.session_key
    enter(client, app.code())
    assert client.session.session_key != before


@pytest.mark.parametrize("who", ["olga", "paul", "ada"])
def test_owners_and_administrators_set_one_up_before_any_other_page(cast, client, required, who):
    log_in(client, who)
    for name in (
        "admin:index",
        "admin:governance_person_changelist",
        "admin:security",
        "admin:password_change",
    ):
        answer = client.get(reverse(name))
        assert answer.status_code == 302, name
        assert answer.url.startswith(ENROL)


def test_who_must_set_one_up_can_still_log_out(cast, client, required):
    log_in(client, "olga")
    assert client.post("/admin/logout/").status_code == 200
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("who", ["sam", "anna"])
def test_scientists_and_auditors_need_none(cast, client, required, who):
    log_in(client, who)
    assert is_inside(client)


def test_nobody_needs_one_where_it_is_optional(cast, client):
    log_in(client, "olga")
    assert is_inside(client)


def test_a_session_of_before_is_asked_too_once_a_role_requires_it(cast, browser, required):
    client = browser(cast.sam)
    assert is_inside(client)
    cast.sam.memberships.create(role="data_owner")
    assert client.get("/admin/").url.startswith(ENROL)


def begin(client, app):
    """Open the page, and read its secret into the app."""
    text = client.get(ENROL).content.decode()
    app.secret = re.search(r">((?:[A-Z2-7]{4} ?){8})<", text)[1].replace(" ", "")
    return text


def test_setting_one_up_shows_a_picture_and_the_secret_and_then_the_recovery_codes(
    cast, client, app, required
):
    log_in(client, "olga")
    text = begin(client, app)
    assert "<svg" in text
    assert "http://" not in text.replace("http://www.w3.org/", "").replace("http://testserver", "")
    answer = client.post(ENROL, {"code": app.code(), "password": PASSWORD})
    codes = re.findall(r">((?:[a-z2-7]{4}-){3}[a-z2-7]{4})<", answer.content.decode())
    assert len(set(codes)) == 10
    assert is_inside(client)
    assert not any(code in str(SecondFactor.objects.values().get()) for code in codes)


def test_the_secret_is_not_in_the_database(cast, client, app):
    factor, _codes = set_up(cast.olga, app)
    stored = str(SecondFactor.objects.filter(pk=factor.pk).values().get())
    assert app.secret not in stored
    assert second_factor.secret_of(factor.salt) == app.secret


def test_another_secret_key_makes_other_codes_and_a_former_one_still_counts(cast, app, settings, rf):
    factor, _codes = set_up(cast.olga, app)
    request = rf.post("/")
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another key of the site " * 3
    with pytest.raises(second_factor.WrongCode):
        second_factor.check(request, cast.olga, app.code())
    wait_after_a_wrong_code(cast.olga)
    settings.SECRET_KEY_FALLBACKS = [former]
    assert second_factor.check(request, cast.olga, app.code()) == factor


def test_a_wrong_code_sets_nothing_up(cast, client, app, required):
    log_in(client, "olga")
    begin(client, app)
    answer = client.post(ENROL, {"code": "abcdef", "password": PASSWORD})
    assert "not the code that the app shows now" in answer.content.decode()
    assert not SecondFactor.objects.exists()


def test_whoever_finds_an_open_browser_sets_nothing_up_without_the_password(cast, client, app):
    log_in(client, "olga")
    begin(client, app)
    answer = client.post(ENROL, {"code": app.code(), "password": "a guess"})
    assert "This is not your password" in answer.content.decode()
    assert not SecondFactor.objects.exists()


def test_nobody_sets_one_up_who_is_not_logged_in(cast, client):
    assert client.get(ENROL).url == "/admin/login/"


def test_who_has_one_sets_up_no_second_one(cast, client, app):
    set_up(cast.olga, app)
    log_in(client, "olga")
    enter(client, app.code())
    assert client.get(ENROL).url == reverse("admin:security")
    with pytest.raises(second_factor.WrongCode, match="Remove it first"):
        second_factor.enrol(cast.olga, second_factor.new_salt(), "123456")


def test_a_session_of_before_owes_the_code_once_there_is_one(cast, browser, app):
    client = browser(cast.olga)
    set_up(cast.olga, app)
    assert client.get("/admin/").url.startswith(CODE)
    assert client.get(ENROL).url == CODE
    enter(client, app.code())
    assert is_inside(client)


def test_a_token_of_before_ends_once_there_is_one(cast, api, app):
    client = api(cast.olga)
    set_up(cast.olga, app)
    assert client.get("/api/me").status_code == 401


def test_a_recovery_code_lets_in_once(cast, client, app):
    _factor, codes = set_up(cast.olga, app)
    log_in(client, "olga")
    enter(client, codes[0].upper())
    assert is_inside(client)
    other = Client()
    log_in(other, "olga")
    enter(other, codes[0])
    assert not is_inside(other)
    assert SecondFactor.objects.get().codes_left == 9


def test_new_recovery_codes_need_a_code_and_end_the_former(cast, client, app):
    _factor, codes = set_up(cast.olga, app)
    log_in(client, "olga")
    enter(client, app.code())
    address = reverse("admin:security-factor") + "?do=codes"
    assert client.get(address).status_code == 200
    client.post(address, {"code": "12345"})
    assert second_factor.of(cast.olga).recovery == _factor.recovery
    wait_after_a_wrong_code(cast.olga)
    app.wait()
    text = client.post(address, {"code": app.code()}).content.decode()
    assert len(re.findall(r">(?:[a-z2-7]{4}-){3}[a-z2-7]{4}<", text)) == 10
    assert not any(code in text for code in codes)
    assert not set(second_factor.of(cast.olga).recovery) & set(_factor.recovery)


def test_removing_ones_factor_needs_a_code_and_logs_out_everywhere(cast, client, app):
    set_up(cast.olga, app)
    log_in(client, "olga")
    enter(client, app.code())
    address = reverse("admin:security-factor") + "?do=remove"
    client.post(address, {"code": "12345"})
    assert second_factor.of(cast.olga) is not None
    wait_after_a_wrong_code(cast.olga)
    app.wait()
    client.post(address, {"code": app.code()})
    assert second_factor.of(cast.olga) is None
    assert not is_inside(client)


def reset(client, person):
    address = reverse("admin:governance_person_reset_second_factor", args=(person.pk,))
    return client.post(address, {"_form_submitted": "on"})


def test_an_administrator_resets_a_lost_factor_and_everything_of_the_person_ends(cast, browser, api, app):
    bill = Person.objects.create_user("bill", password=PASSWORD, organisation=cast.paul.organisation)
    bill.memberships.create(role="data_owner")
    set_up(bill, app)
    ApiToken.objects.create(user=bill, has_factor=True)
    assert reset(browser(cast.paul), bill).status_code == 200
    assert second_factor.of(bill) is None
    assert not ApiToken.objects.filter(user=bill).exists()


@pytest.mark.parametrize("who", ["olga", "sam", "ada", "anna"])
def test_nobody_else_resets_it(cast, browser, app, who):
    set_up(cast.paul, app)
    assert reset(browser(cast[who]), cast.paul).status_code == 403
    assert second_factor.of(cast.paul) is not None


def test_the_operators_command_takes_a_lost_factor_away(cast, api, app, capsys):
    set_up(cast.ada, app)
    call_command("reset_second_factor", "ada")
    assert second_factor.of(cast.ada) is None
    assert "The second factor of ada is gone" in capsys.readouterr().out
    with pytest.raises(CommandError, match="ada has no second factor"):
        call_command("reset_second_factor", "ada")
    with pytest.raises(CommandError, match="nobody with the username zoe"):
        call_command("reset_second_factor", "zoe")


@pytest.mark.parametrize(("production", "expected"), [("true", "required"), ("false", "optional")])
def test_production_requires_it_unless_told_otherwise(tmp_path, production, expected):
    assert _setting(tmp_path, FEDCORE_PRODUCTION=production) == expected
    assert _setting(tmp_path, FEDCORE_PRODUCTION=production, FEDCORE_SECOND_FACTOR="optional") == "optional"


def test_a_misspelt_setting_does_not_start(tmp_path):
    assert "Set it to `required` or `optional`" in _setting(tmp_path, FEDCORE_SECOND_FACTOR="require")


def _setting(tmp_path, **environment):
    script = "from project import settings; print(settings.FEDCORE_SECOND_FACTOR)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=settings.BASE_DIR,
        env={"FEDCORE_DATA_DIR": str(tmp_path), "PATH": "", **environment},
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() or done.stderr
