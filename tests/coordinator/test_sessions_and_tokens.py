"""Sessions and tokens: listed with their last use, ended by their person or an administrator, never kept in clear."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import UpdateError
from django.core import signing
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from fedcore.coordinator.governance import invitations
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.logins import digest_of
from fedcore.coordinator.governance.models import ApiToken, AuditEntry, Person, StoredSession
from fedcore.coordinator.governance.session_store import SessionStore

PASSWORD = "correct horse battery"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
SECURITY = reverse("admin:security")


def log_in(username, **headers):
    client = Client(headers=headers)
    client.post("/admin/login/", {"username": username, "password": PASSWORD})
    return client


def is_inside(client):
    return client.get("/admin/").status_code == 200


def session_of(client):
    return StoredSession.objects.get(digest=digest_of(client.session.session_key))


def end(client, person, **what):
    query = "&".join(f"{name}={value}" for name, value in what.items())
    return client.post(f"{reverse('admin:security-end', args=(person.pk,))}?{query}")


def test_a_login_is_listed_with_device_address_and_times(cast):
    client = log_in("olga", user_agent=FIREFOX)
    row = session_of(client)
    assert (row.person, row.device, row.address) == (cast.olga, "Firefox, Linux", "127.0.0.1")
    text = client.get(SECURITY).content.decode()
    for words in ("Firefox, Linux", "127.0.0.1", "this one"):
        assert words in text


def test_the_key_of_a_session_is_nowhere_in_the_database(cast):
    client = log_in("olga")
    key = client.session.session_key
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            assert key not in str(cursor.fetchall()), table


def test_the_digest_of_a_session_lets_nobody_in(cast):
    client = log_in("olga")
    thief = Client()
    thief.cookies["sessionid"] = digest_of(client.session.session_key)
    assert not is_inside(thief)


def test_the_table_of_sessions_does_not_say_what_is_in_them(cast):
    """Not even to who has the site's `SECRET_KEY`: a link to set a password waits there until it is set."""
    path = invitations.path_for(cast.olga)
    client = Client()
    assert client.get(path).status_code == 302
    assert path.split("/")[-2] in str(dict(client.session)), "Django keeps the link's secret in the session"
    stored = session_of(client).content
    with pytest.raises(signing.BadSignature):
        signing.loads(stored, salt="django.contrib.sessions.SessionStore")
    assert SessionStore("another-key-of-32-letters-1234567").decode(stored) == {}
    assert SessionStore(client.session.session_key).decode(stored) == dict(client.session)


def test_a_new_key_of_the_site_ends_sessions_unless_the_former_one_stays_beside_it(cast, settings):
    used, unused, former = log_in("olga"), log_in("olga"), settings.SECRET_KEY
    settings.SECRET_KEY = "a-new-key-of-the-site-of-many-letters-0123456789"
    settings.SECRET_KEY_FALLBACKS = [former]
    assert is_inside(used)
    settings.SECRET_KEY_FALLBACKS = []
    assert is_inside(used), "it goes on under the new key"
    assert not is_inside(unused)


def test_a_session_that_goes_on_under_another_key_has_not_ended(cast, settings):
    client, former = log_in("olga"), settings.SECRET_KEY
    before = session_of(client)
    settings.SECRET_KEY = "a-new-key-of-the-site-of-many-letters-0123456789"
    settings.SECRET_KEY_FALLBACKS = [former]
    assert is_inside(client)
    assert list(StoredSession.objects.all()) == [session_of(client)]
    assert before != session_of(client)
    assert not AuditEntry.objects.filter(action=Action.END_SESSION).exists()


def test_a_session_that_is_ended_is_over_at_once(cast):
    lost, kept = log_in("olga"), log_in("olga")
    assert end(kept, cast.olga, session=session_of(lost).digest).url == SECURITY
    assert not is_inside(lost)
    assert is_inside(kept)


def test_a_session_that_is_ended_while_it_is_used_is_not_written_again(cast):
    session = log_in("olga").session
    assert session[SESSION_KEY] == str(cast.olga.pk)
    StoredSession.objects.all().delete()
    session["more"] = "content"
    with pytest.raises(UpdateError):
        session.save()
    assert not StoredSession.objects.exists()


def test_a_session_that_has_expired_is_over(cast):
    client = log_in("olga")
    StoredSession.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert not is_inside(client)


def test_old_sessions_are_cleared_at_the_next_login(cast):
    log_in("olga")
    StoredSession.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    client = log_in("sam")
    assert list(StoredSession.objects.all()) == [session_of(client)]


def test_ending_all_others_keeps_this_session_and_ends_tokens(cast, api):
    here, there, program = log_in("olga"), log_in("olga"), api(cast.olga)
    stranger = log_in("sam")
    end(here, cast.olga, others=1)
    assert is_inside(here)
    assert not is_inside(there)
    assert program.get("/api/me").status_code == 401
    assert is_inside(stranger)


def test_opening_the_question_ends_nothing(cast):
    here, there = log_in("olga"), log_in("olga")
    address = reverse("admin:security-end", args=(cast.olga.pk,))
    assert here.get(f"{address}?session={session_of(there).digest}").status_code == 200
    assert here.get(f"{address}?others=1").status_code == 200
    assert is_inside(there)


def test_ending_needs_the_csrf_token(cast):
    victim = Client(enforce_csrf_checks=True)
    victim.force_login(cast.olga)
    other = log_in("olga")
    assert end(victim, cast.olga, others=1).status_code == 403
    assert is_inside(other)


@pytest.mark.parametrize("who", ["eve", "sam", "anna", "paul"])
def test_eve_ends_no_session_of_olgas_and_does_not_see_it(cast, browser, who):
    olgas = log_in("olga")
    client = browser(cast[who])
    digest = session_of(olgas).digest
    assert client.get(reverse("admin:security-of", args=(cast.olga.pk,))).status_code == 404
    assert end(client, cast.olga, session=digest).status_code == 404
    assert end(client, cast.olga, others=1).status_code == 404
    assert end(client, cast[who], session=digest).status_code == 404
    assert is_inside(olgas)


def test_eve_ends_no_token_of_sams_under_her_own_name(cast, browser, api):
    sams = api(cast.sam)
    assert end(browser(cast.eve), cast.eve, token=ApiToken.objects.get(user=cast.sam).name).status_code == 404
    assert sams.get("/api/me").status_code == 200


@pytest.mark.parametrize("what", [{}, {"token": ""}, {"session": ""}, {"nonsense": 1}])
def test_a_question_about_nothing_does_not_exist(cast, browser, what):
    token = ApiToken.objects.create(user=cast.olga)[0]
    assert end(browser(cast.olga), cast.olga, **what).status_code == 404
    assert ApiToken.objects.filter(pk=token.pk).exists()


@pytest.mark.parametrize("length", [1, 15, 17, 64])
def test_only_a_tokens_whole_name_ends_it_and_no_other(cast, browser, api, length):
    tokens = [ApiToken.objects.create(user=cast.sam)[0] for _ in range(20)]
    text = tokens[0].digest[:length]
    assert end(browser(cast.sam), cast.sam, token=text).status_code == 404
    assert api(cast.sam).delete(f"/api/tokens/{text}").status_code == 404
    assert ApiToken.objects.filter(pk__in=[token.pk for token in tokens]).count() == 20
    assert end(browser(cast.sam), cast.sam, token=tokens[0].name).status_code == 302
    assert ApiToken.objects.filter(pk__in=[token.pk for token in tokens]).count() == 19


@pytest.mark.parametrize("who", ["sam", "olga"])
def test_the_security_page_leads_to_the_own_keys(cast, browser, who):
    client = browser(cast[who])
    text = client.get(reverse("admin:security")).content.decode()
    found = re.search(r'href="([^"]*personkey/\?[^"]*)"', text)
    assert found is not None
    answer = client.get(found[1])
    assert answer.status_code == 200
    keys = answer.context["cl"].result_list
    assert {key.person_id for key in keys} <= {cast[who].pk}
    assert len(keys) == cast[who].keys.count()


def test_an_administrator_sees_and_ends_those_of_the_own_people(cast, browser):
    bill = Person.objects.create_user("bill", password=PASSWORD, organisation=cast.paul.organisation)
    bill.memberships.create(role="auditor")
    bills = log_in("bill", user_agent=FIREFOX)
    client = browser(cast.paul)
    text = client.get(reverse("admin:security-of", args=(bill.pk,))).content.decode()
    assert "Firefox, Linux" in text
    assert end(client, bill, session=session_of(bills).digest).status_code == 302
    assert not is_inside(bills)


def test_no_administrator_ends_a_superusers_session(cast, browser):
    root = Person.objects.create_superuser("root", password=PASSWORD, organisation=cast.ada.organisation)
    roots = browser(root)
    assert end(browser(cast.ada), root, others=1).status_code == 404
    assert is_inside(roots)


def test_logging_somebody_out_everywhere_from_the_persons_page(cast, browser, api):
    bill = Person.objects.create_user("bill", password=PASSWORD, organisation=cast.paul.organisation)
    bill.memberships.create(role="auditor")
    bills, program = log_in("bill"), api(bill)
    address = reverse("admin:governance_person_end_logins", args=(bill.pk,))
    assert browser(cast.eve).post(address, {"_form_submitted": "on"}).status_code == 403
    assert is_inside(bills)
    browser(cast.paul).post(address, {"_form_submitted": "on"})
    assert not is_inside(bills)
    assert program.get("/api/me").status_code == 401


def test_a_last_use_is_noted_once_a_minute(cast, api):
    client, program = log_in("olga"), api(cast.olga)
    long_ago = timezone.now() - timedelta(hours=1)
    StoredSession.objects.update(last_used_at=long_ago)
    ApiToken.objects.update(last_used_at=long_ago)
    client.get("/admin/")
    program.get("/api/me")
    assert session_of(client).last_used_at > long_ago
    assert ApiToken.objects.get().last_used_at > long_ago
    just_now = timezone.now() - timedelta(seconds=30)
    StoredSession.objects.update(last_used_at=just_now)
    client.get("/admin/")
    assert session_of(client).last_used_at == just_now


def test_a_new_password_ends_every_other_session_and_token(cast, api):
    here, there, program = log_in("olga"), log_in("olga"), api(cast.olga)
    new = {
        "old_password": PASSWORD,
        "new_password1": "staple of batteries",
        "new_password2": "staple of batteries",
    }
    assert here.post(reverse("admin:password_change"), new).status_code == 302
    assert is_inside(here)
    assert not is_inside(there)
    assert program.get("/api/me").status_code == 401
    assert cast.olga.sessions.count() == 1


def test_a_password_that_was_not_changed_ends_nothing(cast):
    here, there = log_in("olga"), log_in("olga")
    new = {"old_password": PASSWORD, "new_password1": "short", "new_password2": "short"}
    assert here.post(reverse("admin:password_change"), new).status_code == 200
    assert is_inside(there)


def test_the_api_lists_ones_own_tokens_without_their_text(cast, api):
    client = api(cast.sam)
    api(cast.eve)
    [shown] = client.get("/api/tokens").json()
    assert shown["current"] is True
    assert len(shown["name"]) == 16
    assert "digest" not in shown


def test_the_api_notes_where_a_token_was_asked_for(cast, api, client):
    given = {"username": "sam", "password": PASSWORD}
    client.post(
        "/api/login", given, content_type="application/json", headers={"user-agent": "fedcore client (Linux)"}
    )
    token = ApiToken.objects.get()
    assert (token.device, token.address) == ("fedcore client, Linux", "127.0.0.1")


def test_the_api_ends_ones_own_token_and_no_others(cast, api):
    sams, eves = api(cast.sam), api(cast.eve)
    name = ApiToken.objects.get(user=cast.sam).name
    assert eves.delete(f"/api/tokens/{name}").status_code == 404
    assert sams.delete(f"/api/tokens/{'0' * 16}").status_code == 404
    assert sams.delete(f"/api/tokens/{name}").status_code == 204
    assert sams.get("/api/tokens").status_code == 401


def test_a_login_at_the_api_makes_no_session(cast, client):
    client.post("/api/login", {"username": "sam", "password": PASSWORD}, content_type="application/json")
    assert not StoredSession.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_store_works_for_asynchronous_code_too():
    async def conversation():
        session = SessionStore()
        await session.aset("word", "said")
        await session.asave()
        found = SessionStore(session.session_key)
        word = await found.aget("word")
        await found.aflush()
        return word, await SessionStore(session.session_key).aget("word")

    assert asyncio.run(conversation()) == ("said", None)


def test_expired_sessions_can_be_cleared_by_the_usual_command(cast):
    from django.core.management import call_command

    log_in("olga")
    StoredSession.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    call_command("clearsessions")
    assert not StoredSession.objects.exists()


def test_a_session_says_whose_it_is(cast):
    client = log_in("olga")
    assert client.session[SESSION_KEY] == str(cast.olga.pk)
    assert list(cast.olga.sessions.all()) == [session_of(client)]
