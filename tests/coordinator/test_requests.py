from __future__ import annotations

import json
import re
from importlib import import_module
from pkgutil import iter_modules

import pytest
from django.apps import apps

from fedcore.coordinator.governance import decisions, migrations, renewals, submissions
from fedcore.coordinator.governance.decisions import Limits
from fedcore.coordinator.governance.models import AccessRequest, AuditEntry, Dataset, Grant, PersonKey
from fedcore.coordinator.governance.problems import DecisionError
from fedcore.wire import access as wire
from fedcore.wire.keys import SigningKey
from fedcore.wire.signing import Signed
from fedcore.wire.spec import DatasetVersion, Pipeline, PluginChoice, Privacy, Protocol

from .conftest import register


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


def replacing(message, cast, earlier, **changes):
    changes = {"replaces": earlier.pk} | changes
    return submissions.submit_request(message(**changes).signed_by(cast.sam_key), cast.sam)[0]


def again(message, cast, earlier, **changes):
    """The same request again, for another period and number of runs."""
    asked = wire.AccessRequest.parse(earlier.text)
    later = {
        "expires_at": asked.expires_at + 86_400,
        "releases": 9,
        "reason": "Once more.",
        "nonce": "0" * 32,
    }
    signed = asked.model_copy(update=later | {"replaces": earlier.pk} | changes).signed_by(cast.sam_key)
    return submissions.submit_request(signed, cast.sam)[0]


def test_a_new_request_withdraws_the_waiting_one_that_it_replaces(cast, message, asked):
    newer = replacing(message, cast, asked)
    asked.refresh_from_db()
    assert (asked.state, newer.state, newer.replaces) == ("withdrawn", "waiting", asked)
    assert [(entry.said, entry.text) for entry in asked.thread.all()] == [
        ("withdrawn", "Another request replaces it.")
    ]


def test_a_grant_stays_when_another_request_replaces_it(cast, message, asked):
    decisions.approve(asked, cast.olga)
    replacing(message, cast, asked)
    asked.refresh_from_db()
    assert (asked.state, asked.grant.is_usable()) == ("approved", True)


@pytest.mark.parametrize("whose", ["nobody", "eve"])
def test_nobody_replaces_the_request_of_another_or_one_that_does_not_exist(cast, api, message, asked, whose):
    eves_organisation = {"organisation": "institute"}
    other = submissions.submit_request(message(**eves_organisation).signed_by(cast.eve_key), cast.eve)[0]
    named = "ab" * 32 if whose == "nobody" else other.pk
    answer = post(api(cast.sam), message(replaces=named).signed_by(cast.sam_key))
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_request")
    other.refresh_from_db()
    assert other.state == "waiting"


def test_a_renewal_is_recognised_and_renewed_with_the_limits_of_the_grant(cast, api, message, asked):
    decisions.approve(asked, cast.olga, Limits(releases=2, epsilon_micro=500_000, download=False))
    newer = again(message, cast, asked)
    shown = api(cast.olga).get(f"/api/requests/{newer.pk}").json()
    assert (shown["is_renewal"], "renew" in shown["may"], shown["replaces"]) == (True, True, asked.pk)
    granted = api(cast.olga).post(f"/api/requests/{newer.pk}/renew", {}, format="json").json()["grant"]
    assert (granted["releases"], granted["epsilon_micro"], granted["download"]) == (9, 500_000, False)
    assert granted["expires_at"] == f"{newer.expires_at:%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "advertising"},
        {"minimum_owners": 3},
        {"download": False},
        {"protocols": (Protocol.LOCAL, Protocol.POOLED)},
        {"models": ("linear", "mlp")},
        {"privacy": Privacy(epsilon_micro=1_000_000)},
        {"replaces": None},
    ],
    ids=str,
)
def test_what_differs_in_more_than_period_and_releases_is_no_renewal(cast, api, message, asked, changes):
    decisions.approve(asked, cast.olga)
    newer = again(message, cast, asked, **changes)
    client = api(cast.olga)
    assert "renew" not in client.get(f"/api/requests/{newer.pk}").json()["may"]
    answer = client.post(f"/api/requests/{newer.pk}/renew", {}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (400, "no_renewal")
    newer.refresh_from_db()
    assert newer.state == "waiting"


def test_neither_a_revoked_grant_nor_a_waiting_request_is_renewed(cast, message, asked):
    decisions.approve(asked, cast.olga)
    newer = again(message, cast, asked)
    decisions.revoke(asked, cast.olga, "enough")
    with pytest.raises(DecisionError, match="Approve it with limits"):
        decisions.renew(AccessRequest.objects.get(pk=newer.pk), cast.olga)


def test_a_renewal_that_another_key_signed_is_read_anew(cast, message, asked):
    decisions.approve(asked, cast.olga)
    other = register(cast.sam)
    text = wire.AccessRequest.parse(asked.text).model_copy(update={"replaces": asked.pk, "nonce": "1" * 32})
    newer = submissions.submit_request(text.signed_by(other), cast.sam)[0]
    assert not renewals.is_renewal(newer)


@pytest.mark.parametrize("who", ["eve", "paul", "sam", "ada", "anna"])
def test_eve_renews_nothing(cast, api, message, asked, who):
    decisions.approve(asked, cast.olga)
    newer = again(message, cast, asked)
    answer = api(cast[who]).post(f"/api/requests/{newer.pk}/renew", {}, format="json")
    newer.refresh_from_db()
    assert (answer.status_code in (403, 404), newer.state) == (True, "waiting")


@pytest.mark.parametrize(("who", "status", "recorded"), [("eve", 404, 0), ("sam", 403, 1), ("anna", 403, 1)])
@pytest.mark.parametrize("decision", ["renew", "approve"])
def test_who_decides_nothing_is_not_told_whether_it_is_a_renewal(
    cast, api, asked, who, status, recorded, decision
):
    answer = api(cast[who]).post(f"/api/requests/{asked.pk}/{decision}", {}, format="json")
    assert answer.status_code == status
    refused = AuditEntry.objects.filter(action="approve_request", outcome="refused")
    assert [(entry.person, entry.code) for entry in refused] == [(cast[who], "not_data_owner")] * recorded


def test_a_renewal_that_is_none_is_recorded_once(cast, api, asked):
    answer = api(cast.olga).post(f"/api/requests/{asked.pk}/renew", {}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (400, "no_renewal")
    [refused] = AuditEntry.objects.filter(action="approve_request")
    assert (refused.person, refused.code) == (cast.olga, "no_renewal")


def test_nobody_hands_in_more_than_some_requests_that_wait(cast, api, message, monkeypatch):
    monkeypatch.setattr(submissions, "UNDECIDED_EACH", 3)
    kept = [submissions.submit_request(message().signed_by(cast.sam_key), cast.sam)[0] for _ in range(3)]

    def post(**changes):
        text = message(**changes).signed_by(cast.sam_key).encode()
        return api(cast.sam).post("/api/requests", text.encode(), content_type="application/json")

    answer = post()
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert "withdraw some" in answer.json()["detail"]
    assert AuditEntry.objects.filter(action="submit_request", code="too_many_requests").count() == 1
    assert post(replaces=kept[0].pk).status_code == 201
    decisions.refuse(kept[1], cast.olga, "no")
    assert post().status_code == 201


def test_requests_come_in_pages(cast, api, message):
    kept = [submissions.submit_request(message().signed_by(cast.sam_key), cast.sam)[0] for _ in range(5)]
    client, address, seen = api(cast.sam), "/api/requests?page_size=2", []
    while address:
        answer = client.get(address)
        seen.append([item["digest"] for item in answer.json()])
        found = re.search(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        address = found[1] if found else None
    assert [len(page) for page in seen] == [2, 2, 1]
    assert [digest for page in seen for digest in page] == [request.pk for request in reversed(kept)]


def test_what_was_asked_about_privacy_is_kept(cast, message):
    signed = message(privacy=Privacy(epsilon_micro=1_500_000, delta=1e-6)).signed_by(cast.sam_key)
    kept = submissions.submit_request(signed, cast.sam)[0]
    assert (kept.epsilon_micro, kept.delta) == (1_500_000, 1e-6)


def test_a_list_of_requests_costs_few_queries(cast, api, message, asked, django_assert_max_num_queries):
    for _ in range(4):
        other = submissions.submit_request(message().signed_by(cast.sam_key), cast.sam)[0]
        decisions.approve(other, cast.olga)
    client = api(cast.olga)
    with django_assert_max_num_queries(8):
        assert len(client.get("/api/requests").json()) == 5


def test_what_was_granted_before_grants_had_every_limit_was_all_that_was_asked(cast, asked):
    [name] = [
        name for _, name, _ in iter_modules(migrations.__path__) if name.endswith("_requests_and_notices")
    ]
    decisions.approve(asked, cast.olga, Limits(releases=2))
    Grant.objects.update(protocols=[], backends=[], model_types=[], minimum_owners=64)
    AccessRequest.objects.update(epsilon_micro=5)
    import_module(f"{migrations.__name__}.{name}").copy_limits(apps, None)
    grant = Grant.objects.get()
    assert (grant.protocols, grant.backends, grant.model_types) == (["pooled"], ["keyed_tokens"], ["linear"])
    assert (grant.minimum_owners, grant.epsilon_micro, grant.releases) == (1, "none", 2)
