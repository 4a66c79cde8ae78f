from __future__ import annotations

import pytest
from django.core.cache import cache

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _fresh_throttles():
    cache.clear()


def log_in(client, username, password):
    return client.post("/api/login", {"username": username, "password": password}, format="json")


def test_username_and_password_are_exchanged_for_a_token_that_expires(cast, api):
    client = api(None)
    answer = log_in(client, "sam", PASSWORD)
    assert answer.status_code == 200
    assert answer.json()["token"].startswith("fedcore_")
    assert answer.json()["expiry"]
    client.credentials(HTTP_AUTHORIZATION=f"Token {answer.json()['token']}")
    assert client.get("/api/me").json()["username"] == "sam"


@pytest.mark.parametrize(("username", "password"), [("sam", "wrong"), ("sandra", PASSWORD), ("sam", "")])
def test_a_wrong_name_or_password_is_refused_without_telling_which(cast, api, username, password):
    answer = log_in(api(None), username, password or " ")
    assert answer.status_code == 401
    assert answer.json() == {"code": "authentication_failed", "detail": "Wrong username or password."}


def test_after_five_wrong_passwords_the_right_one_does_not_help(cast, api):
    for _ in range(5):
        log_in(api(None), "sam", "wrong")
    answer = log_in(api(None), "sam", PASSWORD)
    assert answer.status_code == 429
    assert answer.json()["code"] == "locked_out"


def test_the_admins_login_is_locked_by_wrong_passwords_given_to_the_api(cast, api, client):
    for _ in range(5):
        log_in(api(None), "olga", "wrong")
    answer = client.post("/admin/login/", {"username": "olga", "password": PASSWORD})
    assert answer.status_code == 429
    assert b"Wait 15 minutes" in answer.content


def test_logins_are_throttled_whoever_is_tried(cast, api, monkeypatch):
    from fedcore.coordinator.api.people import LoginView

    monkeypatch.setattr(LoginView.throttle_classes[0], "THROTTLE_RATES", {"login": "2/minute"})
    statuses = [log_in(api(None), f"person-{number}", "wrong").status_code for number in range(3)]
    assert statuses == [401, 401, 429]


@pytest.mark.parametrize("address", ["/admin/login/", "/admin/login/code/", "/admin/login/second-factor/"])
def test_the_pages_of_the_login_are_throttled_with_the_api(cast, api, client, monkeypatch, address):
    from fedcore.coordinator.governance.pages.throttled import LoginThrottle

    monkeypatch.setattr(LoginThrottle, "THROTTLE_RATES", {"login": "3/minute"})
    assert log_in(api(None), "person-0", "wrong").status_code == 401
    statuses = [
        client.post(address, {"username": f"person-{number}", "password": "x", "code": "1"}).status_code
        for number in range(3)
    ]
    assert 429 not in statuses[:2]
    assert statuses[2] == 429
    assert client.get(address).status_code != 429
    assert log_in(api(None), "sam", PASSWORD).status_code == 429


def test_behind_a_proxy_the_pages_are_throttled_by_the_visitors_address(cast, client, monkeypatch, settings):
    from fedcore.coordinator.governance.pages.throttled import LoginThrottle

    monkeypatch.setattr(LoginThrottle, "THROTTLE_RATES", {"login": "1/minute"})
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}

    def status_from(forwarded: str) -> int:
        given = {"username": "person", "password": "x"}
        return client.post("/admin/login/", given, headers={"X-Forwarded-For": forwarded}).status_code

    assert status_from("203.0.113.1") == 200
    assert status_from("203.0.113.2") == 200
    assert status_from("203.0.113.9, 203.0.113.1") == 429


def test_nobody_escapes_the_throttle_by_claiming_other_addresses(cast, api, monkeypatch):
    from fedcore.coordinator.api.people import LoginView

    monkeypatch.setattr(LoginView.throttle_classes[0], "THROTTLE_RATES", {"login": "2/minute"})
    statuses = []
    for number in range(3):
        client = api(None)
        client.credentials(HTTP_X_FORWARDED_FOR=f"203.0.113.{number}")
        statuses.append(log_in(client, f"person-{number}", "wrong").status_code)
    assert statuses == [401, 401, 429]


def test_a_person_who_is_not_active_cannot_log_in(cast, api):
    cast.sam.is_active = False
    cast.sam.save()
    assert log_in(api(None), "sam", PASSWORD).status_code == 401


def test_logging_out_ends_the_token(cast, api):
    client = api(cast.sam)
    assert client.post("/api/logout").status_code == 204
    assert client.get("/api/me").status_code == 401


def test_a_body_that_is_no_object_is_refused_with_a_sentence(cast, api):
    answer = api(None).post("/api/login", "[1]", content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid"


def test_a_body_that_repeats_a_name_is_malformed(cast, api):
    body = '{"username": "sam", "username": "olga", "password": "x"}'
    answer = api(None).post("/api/login", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


def test_a_body_beyond_64_kib_is_too_large(cast, api):
    answer = log_in(api(None), "sam", "x" * 70_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
