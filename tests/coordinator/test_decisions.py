from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from fedcore.coordinator.governance import booking, decisions
from fedcore.coordinator.governance.decisions import DecisionError, Limits
from fedcore.coordinator.governance.models import AccessRequest, Dataset, Grant, Membership

DECISIONS = ("approve", "refuse", "revoke")
TABLE = {
    ("waiting", "approve"): "approved",
    ("waiting", "refuse"): "refused",
    ("approved", "revoke"): "revoked",
}


def decide(client, asked, decision, **terms):
    terms = {"reason": "because"} | terms
    return client.post(f"/api/requests/{asked.digest}/{decision}", terms, format="json")


def bring_to(asked, state, olga):
    if state in ("approved", "revoked"):
        decisions.approve(asked, olga)
    if state == "refused":
        decisions.refuse(asked, olga, "no")
    if state == "revoked":
        decisions.revoke(asked, olga, "no longer")


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("state", ["waiting", "approved", "refused", "revoked"])
def test_the_state_table_holds(cast, api, asked, state, decision):
    bring_to(asked, state, cast.olga)
    answer = decide(api(cast.olga), asked, decision)
    asked.refresh_from_db()
    if (state, decision) in TABLE:
        assert (answer.status_code, asked.state) == (200, TABLE[state, decision])
        assert (asked.decided_by, asked.decision_reason) == (cast.olga, "because")
    else:
        assert (answer.status_code, answer.json()["code"], asked.state) == (409, "conflict", state)
        assert f"The request is {state}" in answer.json()["detail"]


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize(
    ("who", "status"),
    [("eve", 404), ("paul", 404), ("nobody", 404), ("sam", 403), ("ada", 403), ("anna", 403)],
)
def test_only_data_owners_of_the_datasets_organisation_decide(cast, api, asked, who, status, decision):
    answer = decide(api(cast[who]), asked, decision)
    asked.refresh_from_db()
    assert (answer.status_code, asked.state) == (status, "waiting")


def test_the_superuser_does_not_decide_either(cast, asked):
    cast.ada.is_superuser = True
    with pytest.raises(DecisionError, match="Only a data owner of North-Hospital decides"):
        decisions.approve(asked, cast.ada)


def test_nobody_decides_about_their_own_request(cast, asked):
    Membership.objects.create(person=cast.sam, role="data_owner")
    cast.sam.organisation = cast.olga.organisation
    cast.sam.save()
    cast.sam.refresh_from_db()
    with pytest.raises(DecisionError, match="their own request"):
        decisions.approve(asked, cast.sam)


def test_an_approval_without_limits_grants_what_was_asked(cast, api, asked):
    grant = decide(api(cast.olga), asked, "approve").json()["grant"]
    assert (grant["releases"], grant["releases_used"], grant["download"], grant["usable"]) == (
        5,
        0,
        True,
        True,
    )
    assert Grant.objects.get().expires_at == asked.expires_at


def test_an_approval_may_grant_less_than_was_asked(cast, api, asked):
    until = (timezone.now() + timedelta(hours=2)).replace(microsecond=0)
    terms = {"releases": 2, "download": False, "expires_at": until.isoformat()}
    decide(api(cast.olga), asked, "approve", **terms)
    grant = Grant.objects.get()
    assert (grant.releases, grant.download, grant.expires_at) == (2, False, until)
    assert grant.as_message.releases == 2
    assert grant.as_message.request == asked.signed


@pytest.mark.parametrize(
    "limits",
    [
        Limits(releases=6),
        Limits(releases=0),
        Limits(expires_at=timezone.now() + timedelta(days=2)),
        Limits(expires_at=timezone.now() - timedelta(days=2)),
    ],
)
def test_a_grant_never_exceeds_the_request(cast, asked, limits):
    with pytest.raises(DecisionError) as refused:
        decisions.approve(asked, cast.olga, limits)
    assert refused.value.code == "exceeds_request"
    asked.refresh_from_db()
    assert (asked.state, Grant.objects.count()) == ("waiting", 0)


def test_a_download_that_was_not_asked_is_not_granted(cast, asked):
    asked.download = False
    asked.save()
    with pytest.raises(DecisionError, match="does not cover downloading"):
        decisions.approve(asked, cast.olga, Limits(download=True))


def test_a_request_whose_time_is_past_is_not_approved(cast, asked):
    AccessRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    asked.refresh_from_db()
    with pytest.raises(DecisionError, match="which is past"):
        decisions.approve(asked, cast.olga)


def test_a_request_for_a_former_version_is_not_approved(cast, asked):
    Dataset.objects.update(current_version="cd" * 32)
    asked = AccessRequest.objects.get()
    with pytest.raises(DecisionError, match="has a new version"):
        decisions.approve(asked, cast.olga)


@pytest.mark.parametrize("decision", ["refuse", "revoke"])
def test_a_refusal_needs_a_reason(cast, api, asked, decision):
    answer = decide(api(cast.olga), asked, decision, reason="  ")
    assert answer.status_code == 400


def test_of_two_decisions_at_the_same_time_one_holds(cast, asked):
    as_seen_by_another = AccessRequest.objects.get()
    decisions.refuse(asked, cast.olga, "no")
    with pytest.raises(DecisionError, match="The request is refused; only a request that is waiting"):
        decisions.approve(as_seen_by_another, cast.olga)
    assert Grant.objects.count() == 0


def test_a_revoked_grant_is_dead_at_once(cast, asked):
    grant = decisions.approve(asked, cast.olga)
    decisions.revoke(asked, cast.olga, "enough")
    grant.refresh_from_db()
    assert not grant.is_usable()
    with pytest.raises(DecisionError) as refused:
        booking.book_release(grant, "a" * 64)
    assert refused.value.code == "grant_revoked"


def test_a_release_is_booked_once_for_a_run_and_never_beyond_the_grant(cast, asked):
    grant = decisions.approve(asked, cast.olga, Limits(releases=2))
    for run in ("a" * 64, "a" * 64, "b" * 64):
        booking.book_release(grant, run)
    assert grant.releases_used == 2
    assert not grant.is_usable()
    with pytest.raises(DecisionError) as refused:
        booking.book_release(grant, "c" * 64)
    assert refused.value.code == "releases_spent"
    booking.book_release(grant, "b" * 64)


def test_no_release_is_booked_after_the_expiry(cast, asked):
    grant = decisions.approve(asked, cast.olga)
    with pytest.raises(DecisionError) as refused:
        booking.book_release(grant, "a" * 64, now=grant.expires_at)
    assert refused.value.code == "grant_expired"


def test_runs_look_again_once_a_decision_is_committed(cast, asked, django_capture_on_commit_callbacks):
    heard = []

    def listen(sender, request, **more):
        heard.append(request.state)

    decisions.decided.connect(listen)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            decisions.approve(asked, cast.olga)
            assert heard == []
        assert heard == ["approved"]
    finally:
        decisions.decided.disconnect(listen)
