"""The second factor at the API's login."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache

from fedcore.coordinator.governance.models import ApiToken, SecondFactor

from .authenticator import App, set_up

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _fresh_throttles():
    cache.clear()


@pytest.fixture
def app(monkeypatch):
    return App(monkeypatch)


def log_in(client, username="olga", **more):
    return client.post("/api/login", {"username": username, "password": PASSWORD, **more}, format="json")


def refusal(answer):
    return answer.status_code, answer.json()["code"]


def test_without_the_code_the_answer_says_that_it_is_needed(cast, api, app):
    set_up(cast.olga, app)
    assert refusal(log_in(api(None))) == (401, "second_factor_required")
    assert not ApiToken.objects.exists()


def test_with_the_code_there_is_a_token_that_says_so(cast, api, app):
    set_up(cast.olga, app)
    answer = log_in(api(None), otp=app.code())
    assert answer.status_code == 200
    assert ApiToken.objects.get().has_factor


def test_a_wrong_password_is_not_told_apart_by_asking_for_the_code(cast, api, app):
    set_up(cast.olga, app)
    answer = api(None).post("/api/login", {"username": "olga", "password": "a guess"}, format="json")
    assert refusal(answer) == (401, "authentication_failed")


def test_a_wrong_or_used_code_is_refused(cast, api, app):
    set_up(cast.olga, app)
    code = app.code()
    assert log_in(api(None), otp=code).status_code == 200
    assert refusal(log_in(api(None), otp=code)) == (401, "second_factor_wrong")


def test_a_recovery_code_serves_too(cast, api, app):
    _factor, codes = set_up(cast.olga, app)
    assert log_in(api(None), otp=codes[3]).status_code == 200


def test_wrong_codes_lock_out_as_wrong_passwords_do(cast, api, app):
    set_up(cast.olga, app)
    for _attempt in range(5):
        log_in(api(None), otp="12345")
    SecondFactor.objects.update(throttling_failure_count=0)
    assert refusal(log_in(api(None), otp=app.code())) == (429, "locked_out")


def test_after_a_wrong_code_the_next_is_not_looked_at_for_a_while(cast, api, app):
    set_up(cast.olga, app)
    log_in(api(None), otp="12345")
    assert refusal(log_in(api(None), otp=app.code())) == (401, "second_factor_wrong")
    factor = SecondFactor.objects.get()
    factor.throttling_failure_timestamp -= timedelta(minutes=1)
    factor.save()
    assert log_in(api(None), otp=app.code()).status_code == 200


def test_whoever_knows_the_password_makes_nobody_wait_longer_than_an_hour(cast, app):
    factor, _codes = set_up(cast.olga, app)
    for _attempt in range(40):
        factor.throttle_increment()
    factor.throttling_failure_timestamp -= timedelta(hours=1)
    assert factor.verify_token(app.code())


def test_who_must_have_one_and_has_none_gets_no_token(cast, api, settings):
    settings.FEDCORE_SECOND_FACTOR = "required"
    assert refusal(log_in(api(None))) == (403, "second_factor_missing")
    assert log_in(api(None), "sam").status_code == 200


def test_a_token_given_without_a_code_is_worth_nothing_to_whoever_needs_one(cast, api, settings):
    client = api(cast.olga)
    assert client.get("/api/me").status_code == 200
    settings.FEDCORE_SECOND_FACTOR = "required"
    assert refusal(client.get("/api/me")) == (401, "second_factor_required")
    assert client.get(f"/api/runs/{'0' * 64}/wait").status_code == 401
