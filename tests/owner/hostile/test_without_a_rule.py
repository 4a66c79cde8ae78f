"""What each rule of the policy is worth: with any one of them deleted, its attacks succeed through the real agent.

`tests/owner/test_policy.py` proves the same on facts. Here the orders come from a coordinator, signed with its key, and
what is looked at is whether the host does as ordered. Some rules have a second defence behind them: with the rule
deleted and that defence in place the attack still fails, and with both gone it succeeds.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from fedcore.owner.policy import RULES, Rules, decide
from fedcore.wire.codes import RefusalCode
from tests.owner.hostile.attack import Attack, check_nothing_left, play, succeeded
from tests.owner.hostile.scene import Scene
from tests.owner.hostile.tables import ON_RULES

ELSEWHERE: Final = {
    "grant_is_held_for_the_scientist": "tests/owner/policy_attacks_on_grants.py",
    "grant_is_not_refused_here": "tests/owner/policy_attacks_on_grants.py",
    "grant_is_not_revoked_here": "tests/owner/policy_attacks_on_grants.py",
    "grant_takes_effect": "tests/owner/policy_attacks_on_grants.py",
    "hours_allow_work": "tests/owner/policy_attacks_on_grants.py",
    "ledger_is_not_held": "tests/owner/policy_attacks_on_privacy.py",
    "ledger_is_confirmed": "tests/owner/policy_attacks_on_privacy.py",
    "epsilon_is_within_its_limits": "tests/owner/policy_attacks_on_privacy.py",
    "delta_is_within_its_limits": "tests/owner/policy_attacks_on_privacy.py",
    "epsilon_is_kept_by_bounded_mechanisms": "tests/owner/policy_attacks_on_privacy.py",
    "budget_of_the_grant_is_left": "tests/owner/policy_attacks_on_privacy.py",
    "budget_of_the_dataset_is_left": "tests/owner/policy_attacks_on_privacy.py",
}
"""Rules on what the host itself keeps (its grants, its ledger, its clock): where their attacks stand."""

BACKED: Final = {
    "scientist_is_trusted": "a host takes no grant of a scientist whom its policy does not name",
    "request_is_signed_by_the_scientist": "a host holds a grant for the scientist who signed its request",
    "purpose_is_allowed": "a grant for another purpose is beyond the ceilings, so it does not take effect",
    "a reference host is drawn into the owners' agreement on a key": "the gate lets no such answer leave it",
}
"""Rules, or single attacks on one, behind which another defence stands: with either alone, the attack fails."""

SECOND_CODES: Final = frozenset(
    {RefusalCode.NOT_GRANTED, RefusalCode.GRANT_NOT_CONFIRMED, RefusalCode.RELEASE_REFUSED}
)
"""With what the second defence refuses."""

ALL_RULES = [(part.name, rule.__name__) for part in fields(Rules) for rule in getattr(RULES, part.name)]


def without(part: str, name: str) -> Rules:
    kept = tuple(rule for rule in getattr(RULES, part) if rule.__name__ != name)
    assert len(kept) == len(getattr(RULES, part)) - 1
    return replace(RULES, **{part: kept})


def delete(monkeypatch: pytest.MonkeyPatch, attack: Attack) -> None:
    """The attack's rule is gone from the policy of this process."""
    rules = without(attack.part, attack.rule)
    monkeypatch.setattr("fedcore.owner.deciding.decide", partial(decide, rules=rules))


def test_every_rule_has_an_attack_through_the_agent_or_a_reason_why_not() -> None:
    attacked = {(attack.part, attack.rule) for attack in ON_RULES}
    elsewhere = {("owner", rule) for rule in ELSEWHERE}
    assert attacked | elsewhere == set(ALL_RULES)
    assert attacked & elsewhere == set()
    root = Path(__file__).parents[3]
    assert [rule for rule, file in ELSEWHERE.items() if rule not in (root / file).read_text()] == []


@pytest.mark.parametrize(
    "attack",
    [attack for attack in ON_RULES if not {attack.rule, attack.what} & set(BACKED)],
    ids=lambda attack: f"{attack.rule}: {attack.what}",
)
def test_without_its_rule_an_attack_succeeds(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, attack: Attack
) -> None:
    if attack.behind is None:
        delete(monkeypatch, attack)
    else:
        attack.behind(monkeypatch)
        check_nothing_left(play(scene, attack), replace(attack, dropped=False))
        delete(monkeypatch, attack)
    watched = play(scene, attack)
    assert succeeded(scene, watched), watched.journalled()


@pytest.mark.parametrize(
    "attack",
    [attack for attack in ON_RULES if attack.behind or {attack.rule, attack.what} & set(BACKED)],
    ids=lambda attack: f"{attack.rule}: {attack.what}",
)
def test_where_there_is_a_second_defence_a_deleted_rule_alone_lets_nothing_through(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, attack: Attack
) -> None:
    delete(monkeypatch, attack)
    backed = {attack.rule, attack.what} & set(BACKED)
    codes = attack.codes | SECOND_CODES if backed else attack.codes
    check_nothing_left(play(scene, attack), replace(attack, codes=codes))
