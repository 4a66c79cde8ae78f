"""The policy as a table: what it allows, one attack for each rule, and what each rule is worth."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from fedcore.owner.facts import Allowed, Done, Facts, Refused, Ruling
from fedcore.owner.policy import RULES, Rules, decide
from fedcore.wire.codes import EXPLANATIONS, RefusalCode
from fedcore.wire.orders import Phase
from fedcore.wire.spec import DatasetVersion, PluginChoice, Protocol

from .attack import Attack
from .policy_attacks import ATTACKS, granted_elsewhere, owners
from .policy_attacks_on_grants import BEYOND_CEILINGS
from .policy_attacks_on_privacy import REQUIRED
from .policy_cases import (
    CLOSING,
    COMPUTING,
    DEALING,
    EVE,
    KEYED_TOKENS,
    LOCAL,
    NGRAMS,
    NORTH,
    NOW,
    POOLED,
    PRIVATE,
    REFERENCE,
    SERVING,
    SHARED,
    SOUTH,
    STRANGER,
    TEACHING,
    VERSION,
    Case,
    card,
)

PARTS = [part.name for part in fields(Rules)]
ALL_ATTACKS = [attack for attacks in ATTACKS.values() for attack in attacks]


def refusal(case: Case, rules: Rules = RULES) -> Refused:
    decision = decide(case.facts(), rules)
    assert isinstance(decision, Refused), "allowed, and should have been refused"
    return decision


@pytest.mark.parametrize(
    "case",
    [POOLED, LOCAL, TEACHING, PRIVATE, REQUIRED, REFERENCE, SERVING, SHARED, COMPUTING, DEALING, CLOSING],
    ids=[
        "pooled",
        "local",
        "with a backend for teaching that the policy names",
        "local with an epsilon",
        "with a receipt, where one is required",
        "reference",
        "as the reference host",
        "shared",
        "as a compute owner",
        "as the dealer",
        "closing",
    ],
)
def test_a_valid_order_is_allowed(case: Case) -> None:
    assert decide(case.facts()) == Allowed()


@pytest.mark.parametrize("attack", ALL_ATTACKS, ids=lambda attack: attack.what)
def test_an_attack_is_refused_with_its_code_and_reason(attack: Attack) -> None:
    refused = refusal(attack.case)
    assert (refused.code, attack.why in refused.why) == (attack.code, True), refused.why
    assert refused.why.endswith(".")
    assert refused.code in EXPLANATIONS


@pytest.mark.parametrize("part", PARTS)
def test_every_rule_of_the_table_has_an_attack_and_every_attack_its_rule(part: str) -> None:
    assert {attack.rule for attack in ATTACKS[part]} == {rule.__name__ for rule in getattr(RULES, part)}


@pytest.mark.parametrize(
    ("part", "place"),
    [(part, place) for part in PARTS for place in range(len(getattr(RULES, part)))],
    ids=lambda value: str(value),
)
def test_without_any_one_rule_every_attack_on_it_succeeds(part: str, place: int) -> None:
    rules: tuple[Any, ...] = getattr(RULES, part)
    removed = rules[place].__name__
    weakened = replace(RULES, **{part: rules[:place] + rules[place + 1 :]})
    attacks = [attack for attack in ATTACKS[part] if attack.rule == removed]
    assert attacks
    for attack in attacks:
        assert decide(attack.case.facts(), weakened) == Allowed(), (removed, attack.what)


def test_a_missing_or_broken_policy_refuses_everything() -> None:
    for case in (POOLED, LOCAL, REFERENCE, SERVING, CLOSING):
        assert refusal(case.but(policy=None)).code is RefusalCode.NO_POLICY


def test_a_dataset_that_the_policy_does_not_offer_is_refused() -> None:
    for case in (POOLED.with_policy(datasets={}), POOLED.but(dataset=None)):
        refused = refusal(case)
        assert refused.code is RefusalCode.UNKNOWN_DATASET
        assert "[datasets.access-2026]" in refused.why


def test_a_dataset_that_cannot_be_read_is_refused_with_its_own_reason() -> None:
    unreadable = Refused(RefusalCode.DATASET_UNREADABLE, "File good.txt is missing.")
    assert refusal(POOLED.but(dataset=unreadable)) == unreadable


def test_an_order_without_a_grant_is_refused() -> None:
    assert refusal(POOLED.but(with_grant=False)).code is RefusalCode.NOT_GRANTED


def test_a_run_that_names_no_dataset_of_this_host_is_refused() -> None:
    other = (DatasetVersion(host=SOUTH.public, name="logs", version=VERSION),)
    refused = refusal(POOLED.but(spec={"datasets": other, "grants": ("d" * 64,)}))
    assert refused.code is RefusalCode.NOT_GRANTED
    assert "no dataset of this host" in refused.why


def test_a_plugin_that_is_missing_is_refused_with_its_own_reason() -> None:
    missing = Refused(RefusalCode.PLUGIN_MISSING, "There is no models plugin 'linear' here.")
    assert refusal(POOLED.but(plugins=missing)) == missing


def test_a_rule_that_fails_or_gives_no_answer_refuses() -> None:
    def fails(case: object) -> Allowed:
        raise RuntimeError("broken")

    def forgets(case: object) -> Any:
        return None

    for rule in (fails, forgets):
        refused = refusal(POOLED, replace(RULES, owner=(*RULES.owner, rule)))
        assert refused.code is RefusalCode.INTERNAL
        assert rule.__name__ in refused.why


def test_closing_needs_no_grant_no_data_and_is_never_too_late() -> None:
    late = CLOSING.but(with_grant=False, dataset=None, scientist=EVE, requester=EVE, done=frozenset())
    late = late.but(order={"expires_at": NOW - 1}, spec={"deadline": NOW - 1})
    assert decide(late.facts()) == Allowed()


def test_a_run_that_is_counted_already_needs_no_further_release() -> None:
    assert decide(POOLED.but(grant={"releases": 3}, releases_spent=3, counted=True).facts()) == Allowed()


def test_within_the_ceilings_a_grant_takes_effect_without_anybody_on_this_host() -> None:
    assert decide(POOLED.but(ruling=None).facts()) == Allowed()


@pytest.mark.parametrize("attack", BEYOND_CEILINGS, ids=lambda attack: attack.what)
def test_beyond_the_ceilings_a_grant_runs_when_a_person_here_has_confirmed_it(attack: Attack) -> None:
    assert decide(attack.case.but(ruling=Ruling.CONFIRMED).facts()) == Allowed()


def test_what_the_dataset_itself_does_not_allow_is_refused_whatever_anybody_confirms() -> None:
    everything = {"purposes": ["marketing"], "protocols": list(Protocol), "releases": 1000}
    for case, code in (
        (POOLED.with_dataset_policy(protocols=["local"]), RefusalCode.PROTOCOL_NOT_ALLOWED),
        (POOLED.with_dataset_policy(releases=3).but(releases_spent=3), RefusalCode.RELEASES_SPENT),
        (
            POOLED.but(spec={"purpose": "marketing"}, request={"purpose": "marketing"}),
            RefusalCode.PURPOSE_NOT_ALLOWED,
        ),
    ):
        assert refusal(case.with_ceilings(**everything).but(ruling=Ruling.CONFIRMED)).code is code


def test_a_grant_that_this_host_does_not_hold_is_refused() -> None:
    facts = replace(POOLED.facts(), held=None)
    decision = decide(facts)
    assert isinstance(decision, Refused)
    assert decision.code is RefusalCode.NOT_GRANTED
    not_ours = Refused(RefusalCode.NOT_GRANTED, "The request is for data of another host.")
    assert decide(replace(facts, held=not_ours)) == not_ours


def test_a_few_minutes_between_the_clocks_do_not_make_a_grant_wait() -> None:
    longest = {"expires_at": NOW + 2 * 86_400}
    case = POOLED.but(ruling=None, request=longest, grant=longest)
    assert decide(case.but(received_at=NOW - 300).facts()) == Allowed()
    assert refusal(case.but(received_at=NOW - 301)).code is RefusalCode.GRANT_NOT_CONFIRMED


@pytest.mark.parametrize(
    ("hours", "allowed"),
    [
        ([], True),
        (["08:00-18:00"], True),
        (["07:00-08:00"], False),
        (["22:00-08:01"], True),
        (["22:00-08:00"], False),
        (["00:00-24:00"], True),
        (["18:00-07:00", "08:00-08:01"], True),
    ],
)
def test_orders_start_work_within_the_hours_of_the_policy(hours: list[str], allowed: bool) -> None:
    """It is eight o'clock in the morning, UTC."""
    case = POOLED.with_dataset_policy(hours=hours)
    assert (decide(case.facts()) == Allowed()) is allowed


def test_character_steps_that_the_policy_names_are_allowed() -> None:
    named = POOLED.with_dataset_policy(character_steps=["char_ngrams"]).but(
        spec={"pipeline": NGRAMS}, request={"pipelines": (NGRAMS,)}, character_steps=("char_ngrams",)
    )
    assert decide(named.facts()) == Allowed()


def test_a_backend_for_teaching_must_be_among_the_backends_too() -> None:
    refused = refusal(TEACHING.with_dataset_policy(backends=["keyed_tokens"]))
    assert refused.code is RefusalCode.BACKEND_NOT_ALLOWED
    assert "Add it to backends" in refused.why


def test_a_reference_host_that_also_brings_data_is_not_trusted() -> None:
    policy = [{"name": "south", "card": card(SOUTH), "organisation": "south-bank", "reference": True}]
    case = REFERENCE.with_policy(peers=policy).but(spec={"reference_host": SOUTH.public})
    assert refusal(case).code is RefusalCode.REFERENCE_NOT_TRUSTED


def test_an_owner_never_trains_in_the_place_of_the_reference_host() -> None:
    assert refusal(REFERENCE.but(phase=Phase.TRAIN)).code is RefusalCode.OUT_OF_ORDER


def test_a_local_run_of_an_owners_own_scientist_is_allowed() -> None:
    """No key is agreed and no row leaves, so there is nothing that the scientist could open."""
    own = [{"name": "sam", "key": POOLED.scientist.public, "organisation": "north-hospital"}]
    assert decide(LOCAL.with_policy(scientists=own).facts()) == Allowed()


def test_three_pinned_owners_meet_a_minimum_of_three() -> None:
    peers = [
        {"name": "south", "card": card(SOUTH), "organisation": "south-bank"},
        {"name": "west", "card": card(STRANGER), "organisation": "west-shop"},
    ]
    case = POOLED.with_policy(peers=peers).with_dataset_policy(minimum_owners=3)
    case = case.but(
        spec={"datasets": owners(SOUTH.public, STRANGER.public), "grants": granted_elsewhere(3, case)}
    )
    assert decide(case.facts()) == Allowed()


def test_the_decision_depends_on_its_facts_alone() -> None:
    facts = POOLED.facts()
    assert decide(facts) == decide(facts) == Allowed()
    assert isinstance(facts, Facts)


FITTED = POOLED.but(fitted=((3, 2), (5, 1)))
AGREED = POOLED.done
SUMMARISED = AGREED | {Done(Phase.SUMMARISE, 3, 0), Done(Phase.SUMMARISE, 3, 1)}
SETTLED = SUMMARISED | {Done(Phase.SETTLE, 3)}
ALL_SETTLED = SETTLED | {Done(Phase.SUMMARISE, 5, 0), Done(Phase.SETTLE, 5)}


@pytest.mark.parametrize(
    ("phase", "step", "round", "done", "allowed"),
    [
        (Phase.SUMMARISE, 3, 0, AGREED, True),
        (Phase.SUMMARISE, 3, 0, frozenset({Done(Phase.CHECK)}), False),
        (Phase.SUMMARISE, 3, 1, AGREED, False),
        (Phase.SUMMARISE, 3, 1, AGREED | {Done(Phase.SUMMARISE, 3, 0)}, True),
        (Phase.SUMMARISE, 3, 2, SUMMARISED, False),
        (Phase.SUMMARISE, 4, 0, SUMMARISED, False),
        (Phase.SUMMARISE, 5, 0, SUMMARISED, False),
        (Phase.SUMMARISE, 5, 0, SETTLED, True),
        (Phase.SETTLE, 3, 0, AGREED | {Done(Phase.SUMMARISE, 3, 0)}, False),
        (Phase.SETTLE, 3, 0, SUMMARISED, True),
        (Phase.SETTLE, 3, 1, SUMMARISED, False),
        (Phase.PREPARE, 0, 0, SETTLED, False),
        (Phase.PREPARE, 0, 0, ALL_SETTLED, True),
        (Phase.PREPARE, 1, 0, ALL_SETTLED, False),
        (Phase.EVALUATE, 0, 0, ALL_SETTLED, False),
        (Phase.EVALUATE, 0, 0, ALL_SETTLED | {Done(Phase.PREPARE)}, True),
        (Phase.TRAIN, 0, 0, ALL_SETTLED, False),
        (Phase.OFFER, 0, 0, frozenset(), False),
        (Phase.OFFER, 0, 0, frozenset({Done(Phase.CHECK)}), True),
        (Phase.SHARE, 0, 0, frozenset({Done(Phase.CHECK)}), False),
    ],
)
def test_phases_of_a_fitted_pipeline_follow_one_another(
    phase: Phase, step: int, round: int, done: frozenset[Done], allowed: bool
) -> None:
    decision = decide(FITTED.but(phase=phase, order={"step": step, "round": round}, done=done).facts())
    assert decision == Allowed() if allowed else isinstance(decision, Refused)


@pytest.mark.parametrize("phase", [Phase.OFFER, Phase.SHARE, Phase.CONFIRM, Phase.SUMMARISE, Phase.SETTLE])
def test_a_local_run_agrees_on_no_key_and_sums_nothing(phase: Phase) -> None:
    case = LOCAL.but(phase=phase, fitted=((0, 1),), done=AGREED)
    assert refusal(case).code is RefusalCode.OUT_OF_ORDER


def test_a_run_without_key_and_fitted_steps_agrees_on_nothing() -> None:
    assert refusal(REFERENCE.but(phase=Phase.OFFER)).code is RefusalCode.OUT_OF_ORDER


def test_a_reference_run_under_keyed_tokens_needs_an_agreed_key() -> None:
    pseudonymised = REFERENCE.but(backend=KEYED_TOKENS, spec={"backend": PluginChoice(name="keyed_tokens")})
    assert refusal(pseudonymised).code is RefusalCode.OUT_OF_ORDER
    assert decide(pseudonymised.but(done=AGREED).facts()) == Allowed()
    assert pseudonymised.facts().spec.protocol is Protocol.REFERENCE
    assert pseudonymised.host is NORTH


def test_an_organisation_is_the_same_however_it_is_spelt() -> None:
    scientist = {"name": "sam", "key": POOLED.scientist.public, "organisation": "South-Bank "}
    assert refusal(POOLED.with_policy(scientists=[scientist])).code is RefusalCode.SAME_ORGANISATION
