from __future__ import annotations

import json

import pytest

from fedcore.coordinator.governance import submissions
from fedcore.coordinator.governance.models import AccessRequest, Dataset, PersonKey
from fedcore.wire.keys import SigningKey
from fedcore.wire.signing import Signed
from fedcore.wire.spec import DatasetVersion, Pipeline, PluginChoice


def post(client, signed):
    text = signed if isinstance(signed, str) else signed.encode()
    return client.post("/api/requests", text, content_type="application/json")


def refusal(answer):
    assert AccessRequest.objects.count() == 0
    return answer.status_code, answer.json()["code"]


def test_a_signed_request_is_kept_as_it_was_signed(cast, api, message):
    signed = message().signed_by(cast.sam_key)
    answer = post(api(cast.sam), signed)
    assert answer.status_code == 201
    assert (answer.json()["digest"], answer.json()["state"]) == (signed.digest, "waiting")
    assert AccessRequest.objects.get().signed == signed


def test_handing_in_the_same_request_again_returns_it_as_it_is(cast, api, message):
    signed = message().signed_by(cast.sam_key)
    assert [post(api(cast.sam), signed).status_code for _ in range(2)] == [201, 200]
    assert AccessRequest.objects.count() == 1


def test_a_copied_text_takes_nobodys_place_and_shows_nobodys_request(cast, api, message):
    """Eve works where Sam works, has seen the text of his request, and signs it herself."""
    cast.eve.organisation = cast.sam.organisation
    cast.eve.save()
    request = message()
    original, copied = request.signed_by(cast.sam_key), request.signed_by(cast.eve_key)
    assert copied.digest == original.digest
    post(api(cast.sam), original)
    answer = post(api(cast.eve), copied)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert AccessRequest.objects.get().requested_by == cast.sam


def test_a_request_signed_with_a_key_that_nobody_registered_is_refused(cast, api, message):
    answer = post(api(cast.sam), message().signed_by(SigningKey.generate()))
    assert refusal(answer) == (400, "unknown_signer")


def test_eve_cannot_hand_in_what_sam_signed(cast, api, message):
    answer = post(api(cast.eve), message().signed_by(cast.sam_key))
    assert refusal(answer) == (400, "unknown_signer")


def test_a_revoked_key_signs_nothing(cast, api, message):
    submissions.revoke_key(PersonKey.objects.get(public_key=cast.sam_key.public))
    assert refusal(post(api(cast.sam), message().signed_by(cast.sam_key))) == (400, "unknown_signer")


def test_a_changed_text_does_not_fit_its_signature(cast, api, message):
    signed = message().signed_by(cast.sam_key)
    forged = Signed(
        text=signed.text.replace('"releases":5', '"releases":9'),
        signer=signed.signer,
        signature=signed.signature,
    )
    assert refusal(post(api(cast.sam), forged)) == (400, "bad_signature")


def test_only_data_scientists_ask(cast, api, message):
    from .conftest import register

    key = register(cast.olga)
    answer = post(api(cast.olga), message(organisation="north-hospital").signed_by(key))
    assert refusal(answer) == (403, "not_data_scientist")


def test_nobody_claims_to_work_for_another_organisation(cast, api, message):
    answer = post(api(cast.sam), message(organisation="north-hospital").signed_by(cast.sam_key))
    assert refusal(answer) == (400, "wrong_organisation")
    assert "you belong to university" in answer.json()["detail"]


def test_a_version_that_is_no_longer_current_is_refused(cast, api, message):
    Dataset.objects.update(current_version="cd" * 32)
    assert refusal(post(api(cast.sam), message().signed_by(cast.sam_key))) == (400, "dataset_changed")


@pytest.mark.parametrize("name", ["access-1999", "access-2026"])
def test_an_unknown_dataset_and_a_withdrawn_one_are_refused_alike(cast, api, message, name):
    Dataset.objects.update(is_offered=False)
    asked = DatasetVersion(host=cast.north.signing_key, name=name, version="ab" * 32)
    answer = post(api(cast.sam), message(dataset=asked).signed_by(cast.sam_key))
    assert refusal(answer) == (400, "unknown_dataset")


@pytest.mark.parametrize(("expires_at", "code"), [(1_000_000, "expired"), (2**53 - 1, "malformed")])
def test_access_in_the_past_or_for_ever_is_refused(cast, api, message, expires_at, code):
    answer = post(api(cast.sam), message(expires_at=expires_at).signed_by(cast.sam_key))
    assert refusal(answer) == (400, code)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"models": ("unheard_of",)}, "plugin_missing"),
        ({"backends": ("unheard_of",)}, "invalid_options"),
        ({"pipelines": (Pipeline(steps=(PluginChoice(name="protect"),)),)}, "invalid_options"),
    ],
)
def test_a_request_that_could_never_run_is_refused(cast, api, message, changes, code):
    assert refusal(post(api(cast.sam), message(**changes).signed_by(cast.sam_key))) == (400, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "malformed"),
        ("{", 400, "malformed"),
        ("[]", 400, "malformed"),
        ('{"text": NaN}', 400, "malformed"),
        ("[" * 100, 400, "malformed"),
        ("x" * (4 * 1024 * 1024 + 1), 413, "too_large"),
    ],
)
def test_what_is_no_signed_message_is_refused_with_a_code(cast, api, body, status, code):
    assert refusal(post(api(cast.sam), body)) == (status, code)


def test_an_unknown_field_is_refused(cast, api, message):
    envelope = json.loads(message().signed_by(cast.sam_key).encode()) | {"surprise": 1}
    assert refusal(post(api(cast.sam), json.dumps(envelope))) == (400, "unknown_field")


def test_a_signed_run_spec_is_no_access_request(cast, api, message):
    signed = message().signed_by(cast.sam_key)
    other = cast.sam_key.sign(b"fedcore/run-spec/v1\0" + signed.text.encode())
    import base64

    forged = Signed(text=signed.text, signer=signed.signer, signature=base64.b64encode(other).decode())
    assert refusal(post(api(cast.sam), forged)) == (400, "bad_signature")


@pytest.mark.parametrize(
    ("who", "sees"),
    [("sam", 1), ("olga", 1), ("anna", 1), ("ada", 1), ("eve", 0), ("paul", 0), ("nobody", 0)],
)
def test_a_request_is_seen_by_who_asked_the_owners_side_and_the_operator(cast, api, asked, who, sees):
    client = api(cast[who])
    assert len(client.get("/api/requests").json()) == sees
    answer = client.get(f"/api/requests/{asked.digest}")
    assert answer.status_code == (200 if sees else 404)


def test_a_forbidden_request_and_an_unknown_one_look_the_same_to_eve(cast, api, asked):
    client = api(cast.eve)
    forbidden = client.get(f"/api/requests/{asked.digest}")
    unknown = client.get(f"/api/requests/{'0' * 64}")
    assert (forbidden.status_code, forbidden.content) == (unknown.status_code, unknown.content)
