from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from fedcore.coordinator.governance import booking, decisions, submissions
from fedcore.coordinator.governance.decisions import Decision, Limits
from fedcore.coordinator.governance.limits import limits_of
from fedcore.coordinator.governance.models import (
    AccessRequest,
    Dataset,
    Grant,
    Membership,
    Proposal,
    Role,
)
from fedcore.coordinator.governance.problems import DecisionError

from .conftest import add_owner

OWNERS = ("approve", "refuse", "ask", "tighten", "revoke")
SCIENTISTS = ("answer", "withdraw")
STATES = ("waiting", "asked_back", "proposed", "approved", "refused", "revoked", "withdrawn")
UNDECIDED = ("waiting", "asked_back", "proposed")
TABLE = {
    **{(state, "approve"): "approved" for state in UNDECIDED},
    **{(state, "refuse"): "refused" for state in UNDECIDED},
    **{(state, "ask"): "asked_back" for state in UNDECIDED},
    ("asked_back", "answer"): "waiting",
    ("approved", "tighten"): "approved",
    ("approved", "revoke"): "revoked",
    **{(state, "withdraw"): "withdrawn" for state in (*UNDECIDED, "approved")},
}


def decide(client, asked, decision, **terms):
    usual = {"ask": {"text": "because"}, "answer": {"text": "because"}}
    usual["tighten"] = {"reason": "because", "releases": 2}
    terms = usual.get(decision, {"reason": "because"}) | terms
    return client.post(f"/api/requests/{asked.digest}/{decision}", terms, format="json")


def bring_to(asked, state, cast):
    if state == "asked_back":
        decisions.ask(asked, cast.olga, "why?")
    if state == "proposed":
        want_two(cast)
        decisions.approve(asked, add_owner(cast, "otto"))
    if state in ("approved", "revoked"):
        decisions.approve(asked, cast.olga)
    if state == "refused":
        decisions.refuse(asked, cast.olga, "no")
    if state == "revoked":
        decisions.revoke(asked, cast.olga, "no longer")
    if state == "withdrawn":
        decisions.withdraw(asked, cast.sam)


def want_two(cast):
    organisation = cast.north.organisation
    organisation.two_approvers = True
    organisation.save()


@pytest.mark.parametrize("decision", [*OWNERS, *SCIENTISTS])
@pytest.mark.parametrize("state", STATES)
def test_the_state_table_holds(cast, api, asked, state, decision):
    bring_to(asked, state, cast)
    person = cast.sam if decision in SCIENTISTS else cast.olga
    may = decisions.open_to(AccessRequest.objects.get(), person)
    answer = decide(api(person), asked, decision)
    asked.refresh_from_db()
    assert ((state, decision) in TABLE) == (Decision(decision) in may)
    if (state, decision) in TABLE:
        assert (answer.status_code, asked.state) == (200, TABLE[state, decision])
    else:
        assert (answer.status_code, answer.json()["code"], asked.state) == (409, "conflict", state)
        assert f"The request is {asked.get_state_display()}" in answer.json()["detail"]


def test_the_table_in_the_documentation_of_decisions_is_the_one_that_holds():
    rows = [line.strip("| ").split(" | ") for line in decisions.__doc__.splitlines() if line.startswith("|")]
    head, _rule, *body = rows
    said = {}
    for states, *cells in body:
        for state in states.split(", "):
            for names, new in zip(head[1:], cells, strict=True):
                said |= {(state, name): new for name in names.split(", ") if new != "-" and name != "renew"}
    assert said == TABLE


@pytest.mark.parametrize("decision", OWNERS)
@pytest.mark.parametrize(
    ("who", "status"),
    [("eve", 404), ("paul", 404), ("nobody", 404), ("sam", 403), ("ada", 403), ("anna", 403)],
)
def test_only_data_owners_of_the_datasets_organisation_decide(cast, api, asked, who, status, decision):
    bring_to(asked, "approved" if decision in ("tighten", "revoke") else "waiting", cast)
    before = asked.state
    answer = decide(api(cast[who]), asked, decision)
    asked.refresh_from_db()
    assert (answer.status_code, asked.state) == (status, before)
    assert decisions.open_to(asked, cast[who]) <= {Decision.WITHDRAW}


@pytest.mark.parametrize("decision", SCIENTISTS)
@pytest.mark.parametrize(
    ("who", "status"),
    [("eve", 404), ("paul", 404), ("nobody", 404), ("olga", 403), ("ada", 403), ("anna", 403)],
)
def test_only_the_scientist_who_asked_answers_and_withdraws(cast, api, asked, who, status, decision):
    decisions.ask(asked, cast.olga, "why?")
    answer = decide(api(cast[who]), asked, decision)
    asked.refresh_from_db()
    assert (answer.status_code, asked.state) == (status, "asked_back")


def test_the_superuser_does_not_decide_either(cast, asked):
    cast.ada.is_superuser = True
    with pytest.raises(DecisionError, match="Only a data owner of North-Hospital decides"):
        decisions.approve(asked, cast.ada)


def test_nobody_decides_about_their_own_request(cast, asked):
    Membership.objects.create(person=cast.sam, role="data_owner")
    cast.sam.organisation = cast.olga.organisation
    cast.sam.save()
    cast.sam.refresh_from_db()
    for decide in (
        decisions.approve,
        lambda asked, person: decisions.ask(asked, person, "?"),
        lambda asked, person: decisions.tighten(asked, person, Limits(releases=1), "less"),
    ):
        with pytest.raises(DecisionError, match="their own request"):
            decide(asked, cast.sam)
    assert decisions.open_to(asked, cast.sam) == {Decision.WITHDRAW}


def test_an_approval_without_limits_grants_what_was_asked(cast, api, asked):
    grant = decide(api(cast.olga), asked, "approve").json()["grant"]
    assert (grant["releases"], grant["releases_used"], grant["download"], grant["usable"]) == (
        *(5, 0, True, True),
    )
    assert limits_of(Grant.objects.get()) == limits_of(AccessRequest.objects.get())


def test_an_approval_may_grant_less_than_was_asked_in_every_limit(cast, api, wide):
    until = (timezone.now() + timedelta(hours=2)).replace(microsecond=0)
    terms = {"protocols": ["local"], "backends": ["plaintext"], "models": ["mlp"], "epsilon_micro": 500_000}
    terms |= {"releases": 2, "minimum_owners": 3, "download": False, "expires_at": until.isoformat()}
    found = decide(api(cast.olga), wide, "approve", **terms).json()["grant"]
    assert {name: found[name] for name in terms if name != "expires_at"} == {
        name: value for name, value in terms.items() if name != "expires_at"
    }
    sent = Grant.objects.get().as_message
    assert [str(protocol) for protocol in sent.protocols] == ["local"]
    assert (sent.backends, sent.models, sent.epsilon_micro) == (("plaintext",), ("mlp",), 500_000)
    assert (sent.releases, sent.minimum_owners, sent.download) == (2, 3, False)
    assert sent.expires_at == int(until.timestamp())
    assert sent.request == wide.signed


WIDER = [
    (Limits(protocols=("local", "pooled", "reference")), "protocols"),
    (Limits(protocols=()), "protocols"),
    (Limits(protocols=("unheard_of",)), "protocols"),
    (Limits(backends=("keyed_tokens", "unheard_of")), "backends"),
    (Limits(backends=()), "backends"),
    (Limits(model_types=("linear", "forest")), "model_types"),
    (Limits(model_types=()), "model_types"),
    (Limits(epsilon_micro=0), "epsilon_micro"),
    (Limits(epsilon_micro=-5), "epsilon_micro"),
    (Limits(epsilon_micro="much"), "epsilon_micro"),
    (Limits(epsilon_micro=True), "epsilon_micro"),
    (Limits(releases=6), "releases"),
    (Limits(releases=0), "releases"),
    (Limits(minimum_owners=1), "minimum_owners"),
    (Limits(minimum_owners=65), "minimum_owners"),
    (Limits(expires_at=timezone.now() + timedelta(days=2)), "expires_at"),
    (Limits(expires_at=timezone.now() - timedelta(days=2)), "expires_at"),
]


@pytest.mark.parametrize(("limits", "name"), WIDER, ids=[name for _, name in WIDER])
def test_a_grant_never_exceeds_the_request(cast, wide, limits, name):
    with pytest.raises(DecisionError) as refused:
        decisions.approve(wide, cast.olga, limits)
    assert (refused.value.code, set(refused.value.mistakes)) == ("exceeds_request", {name})
    assert refused.value.detail == refused.value.mistakes[name]
    wide.refresh_from_db()
    assert (wide.state, Grant.objects.count()) == ("waiting", 0)


@pytest.mark.parametrize(("limits", "name"), WIDER, ids=[name for _, name in WIDER])
def test_a_grant_is_tightened_and_never_widened(cast, wide, limits, name):
    decisions.approve(wide, cast.olga)
    before = limits_of(Grant.objects.get())
    with pytest.raises(DecisionError) as refused:
        decisions.tighten(wide, cast.olga, limits, "because")
    assert set(refused.value.mistakes) == {name}
    assert "The grant" in refused.value.detail or name == "epsilon_micro"
    assert limits_of(Grant.objects.get()) == before


def test_what_was_tightened_is_not_widened_back_to_what_was_asked(cast, wide):
    decisions.approve(wide, cast.olga)
    tighter = Limits(
        protocols=("local",), epsilon_micro=500_000, releases=2, minimum_owners=4, download=False
    )
    decisions.tighten(wide, cast.olga, tighter, "because")
    grant = Grant.objects.get()
    assert (grant.protocols, grant.epsilon_micro, grant.releases) == (["local"], 500_000, 2)
    assert (grant.minimum_owners, grant.download) == (4, False)
    assert (grant.backends, grant.model_types) == (wide.backends, wide.model_types)
    assert grant.tightened_at is not None
    for limits in (
        Limits(protocols=("local", "pooled")),
        Limits(epsilon_micro="none"),
        Limits(epsilon_micro=500_001),
        Limits(releases=3),
        Limits(minimum_owners=3),
        Limits(download=True),
    ):
        with pytest.raises(DecisionError) as refused:
            decisions.tighten(wide, cast.olga, limits, "because")
        assert refused.value.code == "exceeds_request"


def test_every_mistake_in_the_limits_is_told_at_once(cast, wide):
    with pytest.raises(DecisionError) as refused:
        decisions.approve(wide, cast.olga, Limits(releases=9, minimum_owners=1, backends=("other",)))
    assert set(refused.value.mistakes) == {"releases", "minimum_owners", "backends"}


def test_a_tightening_that_changes_nothing_or_goes_below_what_was_used_is_refused(cast, asked):
    grant = decisions.approve(asked, cast.olga)
    with pytest.raises(DecisionError, match="All limits are as before"):
        decisions.tighten(asked, cast.olga, Limits(releases=5), "because")
    for run in ("a" * 64, "b" * 64):
        booking.book_release(grant, run)
    with pytest.raises(DecisionError, match="2 runs have used it already"):
        decisions.tighten(asked, cast.olga, Limits(releases=1), "because")
    decisions.tighten(asked, cast.olga, Limits(releases=2), "because")
    assert not Grant.objects.get().is_usable()


def test_a_misspelt_limit_is_refused_and_not_granted_as_asked(cast, api, asked):
    answer = decide(api(cast.olga), asked, "approve", relaeses=1)
    assert answer.status_code == 400
    assert "relaeses: There is no such limit" in answer.json()["detail"]
    assert Grant.objects.count() == 0


def test_a_download_that_was_not_asked_is_not_granted(cast, asked):
    asked.download = False
    asked.save()
    with pytest.raises(DecisionError, match="does not cover downloading"):
        decisions.approve(asked, cast.olga, Limits(download=True))


def test_a_request_whose_time_is_past_is_not_approved(cast, asked):
    AccessRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    asked.refresh_from_db()
    assert asked.is_over()
    with pytest.raises(DecisionError, match="which is past"):
        decisions.approve(asked, cast.olga)


def test_a_request_for_a_former_version_is_not_approved(cast, asked):
    Dataset.objects.update(current_version="cd" * 32)
    asked = AccessRequest.objects.get()
    with pytest.raises(DecisionError, match="has a new version"):
        decisions.approve(asked, cast.olga)


@pytest.mark.parametrize("decision", ["refuse", "revoke", "tighten"])
def test_a_decision_against_the_scientist_needs_a_reason(cast, api, asked, decision):
    if decision != "refuse":
        decisions.approve(asked, cast.olga)
    assert decide(api(cast.olga), asked, decision, reason="  ").status_code == 400
    given = (Limits(releases=1),) if decision == "tighten" else ()
    with pytest.raises(DecisionError) as refused:
        getattr(decisions, decision)(asked, cast.olga, *given, " ")
    assert refused.value.code == "reason_missing"


def test_a_question_and_an_answer_say_something(cast, asked):
    with pytest.raises(DecisionError, match="Write the question"):
        decisions.ask(asked, cast.olga, " ")
    decisions.ask(asked, cast.olga, "Why?")
    with pytest.raises(DecisionError, match="Write the answer"):
        decisions.answer(asked, cast.sam, " ")


def test_of_two_decisions_at_the_same_time_one_holds(cast, asked):
    as_seen_by_another = AccessRequest.objects.get()
    decisions.refuse(asked, cast.olga, "no")
    with pytest.raises(DecisionError, match="The request is refused; only a request that is waiting"):
        decisions.approve(as_seen_by_another, cast.olga)
    assert Grant.objects.count() == 0


def test_the_thread_tells_both_sides_who_said_what_in_order(cast, api, asked):
    decide(api(cast.olga), asked, "ask", text="Why five runs?")
    decide(api(cast.sam), asked, "answer", text="One for each split.")
    decide(api(cast.olga), asked, "approve", reason="Then yes.", releases=4)
    decide(api(cast.olga), asked, "tighten", reason="Three will do.", releases=3)
    told = api(cast.sam).get(f"/api/requests/{asked.digest}").json()["thread"]
    assert [(entry["person"], entry["said"], entry["text"]) for entry in told] == [
        ("olga", "question", "Why five runs?"),
        ("sam", "answer", "One for each split."),
        ("olga", "approved", "Then yes."),
        ("olga", "tightened", "Three will do."),
    ]


def test_a_revoked_grant_and_one_that_was_given_back_are_dead_at_once(cast, asked, message):
    other = submissions.submit_request(message().signed_by(cast.sam_key), cast.sam)[0]
    for request, end in ((asked, lambda: decisions.revoke(asked, cast.olga, "enough")),
                         (other, lambda: decisions.withdraw(other, cast.sam))):  # fmt: skip
        grant = decisions.approve(request, cast.olga)
        end()
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


def test_the_epsilon_of_all_runs_together_stays_within_the_grant(cast, asked):
    grant = decisions.approve(asked, cast.olga, Limits(epsilon_micro=1_000_000))
    with pytest.raises(DecisionError) as refused:
        booking.book_release(grant, "a" * 64)
    assert refused.value.code == "epsilon_not_allowed"
    booking.book_release(grant, "a" * 64, epsilon_micro=600_000)
    booking.book_release(grant, "a" * 64, epsilon_micro=600_000)
    with pytest.raises(DecisionError, match=r"allows an epsilon of 1 in all, 0\.6 is spent") as refused:
        booking.book_release(grant, "b" * 64, epsilon_micro=400_001)
    assert refused.value.code == "budget_spent"
    booking.book_release(grant, "b" * 64, epsilon_micro=400_000)
    assert booking.spent_micro(grant) == 1_000_000


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


def test_where_two_approve_the_first_approval_allows_nothing_yet(cast, api, asked):
    want_two(cast)
    answer = decide(api(cast.olga), asked, "approve", releases=3).json()
    assert (answer["state"], answer["grant"]) == ("proposed", None)
    assert (answer["first_approval"]["proposed_by"], answer["first_approval"]["releases"]) == ("olga", 3)
    assert not Grant.objects.exists()


def test_the_second_approval_is_by_another_person_and_at_most_the_first(cast, api, asked):
    want_two(cast)
    decisions.approve(asked, cast.olga, Limits(releases=3, download=False))
    again = decide(api(cast.olga), asked, "approve")
    assert (again.status_code, again.json()["code"]) == (403, "second_person")
    assert "approve" not in api(cast.olga).get(f"/api/requests/{asked.digest}").json()["may"]
    otto = add_owner(cast, "otto")
    wider = decide(api(otto), asked, "approve", releases=4)
    assert "The first approval covers 3 releases" in wider.json()["detail"]
    granted = decide(api(otto), asked, "approve", releases=2).json()
    assert (granted["state"], granted["grant"]["releases"], granted["grant"]["download"]) == (
        *("approved", 2, False),
    )
    grant = Grant.objects.get()
    assert (grant.proposed_by, grant.approved_by) == (cast.olga, otto)
    assert not Proposal.objects.exists()


def test_a_first_approval_is_void_when_its_giver_no_longer_owns_the_data(cast, asked):
    want_two(cast)
    otto, third = add_owner(cast, "otto"), add_owner(cast, "tess")
    decisions.approve(asked, otto, Limits(releases=2))
    otto.memberships.filter(role=Role.DATA_OWNER).delete()
    assert decisions.approve(asked, cast.olga) is None
    assert (Proposal.objects.get().proposed_by, Proposal.objects.get().releases) == (cast.olga, 5)
    assert decisions.approve(asked, third).proposed_by == cast.olga


def test_a_first_approval_still_needs_a_second_when_the_organisation_changes_its_mind(cast, asked):
    want_two(cast)
    decisions.approve(asked, cast.olga)
    cast.north.organisation.two_approvers = False
    cast.north.organisation.save()
    asked = AccessRequest.objects.get()
    with pytest.raises(DecisionError, match="A second data owner of North-Hospital must approve it"):
        decisions.approve(asked, cast.olga)


def test_a_question_makes_a_first_approval_void(cast, asked):
    want_two(cast)
    decisions.approve(asked, cast.olga)
    decisions.ask(asked, add_owner(cast, "otto"), "Why?")
    assert not Proposal.objects.exists()
    decisions.answer(asked, cast.sam, "Because.")
    assert decisions.approve(asked, cast.olga) is None


def test_an_expired_request_is_not_offered_for_granting(cast, asked):
    assert Decision.APPROVE in decisions.open_to(asked, cast.olga)
    AccessRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    asked.refresh_from_db()
    assert decisions.open_to(asked, cast.olga) == {Decision.REFUSE, Decision.ASK}


def test_a_request_for_a_version_that_is_gone_is_not_offered_for_granting(cast, asked):
    Dataset.objects.update(current_version="f" * 64)
    found = AccessRequest.objects.get()
    assert decisions.open_to(found, cast.olga) == {Decision.REFUSE, Decision.ASK}
