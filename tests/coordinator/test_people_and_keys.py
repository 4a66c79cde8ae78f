from __future__ import annotations

import pytest

from fedcore.coordinator.governance import submissions
from fedcore.coordinator.governance.models import Person, PersonKey
from fedcore.wire.keys import SigningKey, fingerprint

from .conftest import proof

ENDPOINTS = [
    ("get", "/api/me"),
    ("post", "/api/logout"),
    ("get", "/api/keys"),
    ("post", "/api/keys"),
    ("get", "/api/datasets"),
    ("get", "/api/hosts"),
    ("get", "/api/plugins"),
    ("get", "/api/audit"),
    ("get", "/api/audit/head"),
    ("get", "/api/requests"),
    ("post", "/api/requests"),
    ("get", f"/api/requests/{'0' * 64}"),
    ("post", f"/api/requests/{'0' * 64}/approve"),
    ("post", f"/api/requests/{'0' * 64}/refuse"),
    ("post", f"/api/requests/{'0' * 64}/revoke"),
]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_nobody_gets_anything_without_a_token(db, api, method, path):
    answer = getattr(api(None), method)(path, {}, format="json")
    assert answer.status_code == 401
    assert answer.json()["code"] == "not_authenticated"


def test_me_tells_who_is_logged_in(cast, api):
    assert api(cast.sam).get("/api/me").json() == {
        "username": "sam",
        "name": "sam",
        "organisation": "university",
        "organisation_title": "University",
        "roles": ["data_scientist"],
    }


def post_key(client, key, signature):
    return client.post("/api/keys", {"public_key": key.public, "signature": signature}, format="json")


def test_a_key_is_registered_with_a_proof_and_shown_by_fingerprint(cast, api):
    key = SigningKey.generate()
    answer = post_key(api(cast.olga), key, proof(key, "olga"))
    assert answer.status_code == 201
    assert answer.json()["fingerprint"] == fingerprint(key.public)
    assert [item["public_key"] for item in api(cast.olga).get("/api/keys").json()] == [key.public]


def test_registering_a_key_again_changes_nothing(cast, api):
    assert post_key(api(cast.sam), cast.sam_key, proof(cast.sam_key, "sam")).status_code == 201
    assert PersonKey.objects.filter(person=cast.sam).count() == 1


def test_eve_cannot_register_a_key_that_she_does_not_hold(cast, api):
    answer = post_key(api(cast.eve), SigningKey.generate(), proof(cast.eve_key, "eve"))
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_signature")


def test_eve_cannot_use_the_proof_that_sam_gave(cast, api):
    key = SigningKey.generate()
    answer = post_key(api(cast.eve), key, proof(key, "sam"))
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_signature")


def test_eve_cannot_register_sams_key_even_if_she_holds_it(cast, api):
    answer = post_key(api(cast.eve), cast.sam_key, proof(cast.sam_key, "eve"))
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_a_revoked_key_cannot_be_registered_again(cast, api):
    submissions.revoke_key(PersonKey.objects.get(public_key=cast.sam_key.public))
    answer = post_key(api(cast.sam), cast.sam_key, proof(cast.sam_key, "sam"))
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_eve_sees_her_own_keys_only(cast, api):
    assert [item["public_key"] for item in api(cast.eve).get("/api/keys").json()] == [cast.eve_key.public]


def test_a_key_that_is_no_key_is_refused_with_the_name_of_the_field(cast, api):
    answer = api(cast.sam).post("/api/keys", {"public_key": "short", "signature": "x"}, format="json")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("public_key: ")


def test_roles_without_an_organisation_count_for_nothing(cast):
    cast.olga.organisation = None
    cast.olga.save()
    olga = Person.objects.get(pk=cast.olga.pk)
    assert not olga.roles
    assert not olga.is_staff


def test_a_superuser_enters_the_admin_without_a_role(db):
    root = Person.objects.create_superuser("root", password="x")
    assert root.is_staff
    assert root.administers_everything
