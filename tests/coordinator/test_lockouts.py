"""Passwords that are too weak, names that are locked out, links that work once."""

from __future__ import annotations

import re

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from fedcore.coordinator.governance import invitations
from fedcore.coordinator.governance.models import ApiToken, Lockout, Person

PASSWORD = "correct horse battery"
LIST = reverse("admin:governance_lockout_changelist")


@pytest.fixture(autouse=True)
def _fresh_throttles():
    cache.clear()


def fail(username, times=5, address="127.0.0.1"):
    for _attempt in range(times):
        Client(REMOTE_ADDR=address).post("/admin/login/", {"username": username, "password": "a guess"})


def log_in(username):
    client = Client()
    return client, client.post("/admin/login/", {"username": username, "password": PASSWORD})


def lift(client, lockout):
    address = reverse("admin:governance_lockout_lift", args=(lockout.pk,))
    return client.post(address, {"_form_submitted": "on"})


def test_five_wrong_passwords_in_the_admin_lock_the_name_out_there_and_at_the_api(cast, api):
    fail("paul")
    assert log_in("paul")[1].status_code == 429
    answer = api(None).post("/api/login", {"username": "paul", "password": PASSWORD}, format="json")
    assert answer.json()["code"] == "locked_out"


def test_other_names_and_other_addresses_are_not_locked_out(cast):
    fail("paul", address="203.0.113.9")
    assert log_in("paul")[1].status_code == 302
    assert log_in("olga")[1].status_code == 302


def test_the_page_for_whoever_is_locked_out_says_what_to_do(cast):
    fail("paul")
    assert "ask an administrator" in log_in("paul")[1].content.decode()


def test_an_administrator_sees_the_lock_out_and_lifts_it(cast, browser):
    bill = Person.objects.create_user("bill", password=PASSWORD, organisation=cast.paul.organisation)
    bill.memberships.create(role="auditor")
    fail("bill")
    client = browser(cast.paul)
    text = client.get(LIST).content.decode()
    assert "bill" in text
    assert "locked out" in text
    assert lift(client, Lockout.objects.get()).status_code == 200
    assert log_in("bill")[1].status_code == 302


@pytest.mark.parametrize("who", ["olga", "sam", "anna", "eve"])
def test_who_is_no_administrator_neither_sees_nor_lifts_any(cast, browser, who):
    fail(who)
    client = browser(cast[who])
    assert client.get(LIST).status_code == 403
    assert lift(client, Lockout.objects.get()).status_code == 403
    assert Lockout.objects.exists()


def test_an_administrator_sees_and_lifts_none_of_other_organisations_or_superusers(cast, browser):
    Person.objects.create_superuser("root", password="x", organisation=cast.paul.organisation)
    fail("olga")
    fail("root")
    client = browser(cast.paul)
    text = client.get(LIST).content.decode()
    for lockout in Lockout.objects.all():
        assert f">{lockout.username}<" not in text
        assert lift(client, lockout).status_code == 403


def test_a_name_that_is_nobodys_is_not_shown_it_may_be_a_password(cast, browser):
    fail("my secret password", times=1)
    text = browser(cast.ada).get(LIST).content.decode()
    assert "my secret password" not in text
    assert "nobody" in text
    page = reverse("admin:governance_lockout_change", args=(Lockout.objects.get().pk,))
    assert "my secret password" not in browser(cast.ada).get(page).content.decode()


def test_failed_logins_keep_neither_password_nor_code(cast, client):
    client.post(
        "/admin/login/", {"username": "paul", "password": "a guess", "code": "135791", "otp": "246802"}
    )
    stored = str(Lockout.objects.values().get())
    for secret in ("a guess", "135791", "246802"):
        assert secret not in stored


def link_in(text):
    return re.search(r"http://testserver(/admin/welcome/[^<\s]+)", text)[1]


@pytest.fixture
def link(cast, browser):
    """Paul makes Bill, and gets his link."""
    client = browser(cast.paul)
    address = reverse("admin:governance_person_add")
    made = {"username": "bill", "organisation": cast.paul.organisation_id}
    return link_in(client.post(address, made, follow=True).content.decode())


def set_password(link, password, client=None):
    client = client or Client()
    page = client.get(link, follow=True)
    return client.post(
        page.redirect_chain[-1][0], {"new_password1": password, "new_password2": password}, follow=True
    )


def test_a_new_person_sets_the_password_by_a_link_that_is_shown_once(cast, browser, link):
    bill = Person.objects.get(username="bill")
    assert not bill.has_usable_password()
    again = browser(cast.paul).get(reverse("admin:governance_person_change", args=(bill.pk,)))
    assert "/admin/welcome/" not in again.content.decode()
    assert "Your password is set" in set_password(link, PASSWORD).content.decode()
    assert Person.objects.get(username="bill").check_password(PASSWORD)


def test_a_link_works_once(link):
    set_password(link, PASSWORD)
    answer = Client().get(link)
    assert "used before, or is too old" in answer.content.decode()


def test_a_link_is_too_old_after_three_days(link, settings):
    settings.PASSWORD_RESET_TIMEOUT = -1
    assert "used before, or is too old" in Client().get(link).content.decode()


def test_the_address_shows_no_secret_while_the_password_is_typed(link):
    client = Client()
    shown = client.get(link, follow=True).redirect_chain[-1][0]
    assert link.rstrip("/").rsplit("/", 1)[-1] not in shown


@pytest.mark.parametrize(
    ("password", "said"),
    [("short", "too short"), ("password1234", "too common"), ("135791113151", "entirely numeric")],
)
def test_a_weak_password_is_refused_at_the_link(link, password, said):
    assert said in set_password(link, password).content.decode()
    assert not Person.objects.get(username="bill").has_usable_password()


def test_a_weak_password_is_refused_where_one_changes_it(cast, browser):
    new = {"old_password": PASSWORD, "new_password1": "password1234", "new_password2": "password1234"}
    answer = browser(cast.olga).post(reverse("admin:password_change"), new)
    assert "too common" in answer.content.decode()


def test_resetting_a_password_ends_it_its_sessions_its_tokens_and_the_former_link(cast, browser, api, link):
    bill = Person.objects.get(username="bill")
    program = api(bill)
    address = reverse("admin:governance_person_reset_password", args=(bill.pk,))
    client = browser(cast.paul)
    client.post(address, {"_form_submitted": "on"})
    page = client.get(reverse("admin:governance_person_change", args=(bill.pk,))).content.decode()
    assert "used before, or is too old" in Client().get(link).content.decode()
    assert program.get("/api/me").status_code == 401
    set_password(link_in(page), PASSWORD)
    assert Person.objects.get(pk=bill.pk).check_password(PASSWORD)


def test_setting_a_password_ends_what_was_open(cast, api):
    program = api(cast.olga)
    set_password(invitations.path_for(cast.olga), "staple of batteries")
    assert program.get("/api/me").status_code == 401
    assert not ApiToken.objects.filter(user=cast.olga).exists()
