"""What each rule of the policy is worth: with any one of them deleted, its attacks succeed through the real agent.

`tests/owner/test_policy.py` proves the same on facts. Here the orders come from a coordinator, signed with its key, and
what is looked at is whether the host does as ordered. Some rules have a second defence behind them: with the rule
deleted and that defence in place the attack still fails, and with both gone it succeeds.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from typing import Final

import pytest

from fedcore.owner.policy import RULES, Rules, decide
from fedcore.wire.codes import RefusalCode
from tests.owner.hostile.attack import Attack, check_nothing_left, play, succeeded
from tests.owner.hostile.scene import Scene
from tests.owner.hostile.tables import ON_RULES

SECOND_CODES: Final = frozenset(
    {
        RefusalCode.NOT_GRANTED,
        RefusalCode.GRANT_NOT_CONFIRMED,
        RefusalCode.RELEASE_REFUSED,
        RefusalCode.BUDGET_SPENT,
    }
)
"""With what another rule or the gate refuses, where it stands behind the deleted one."""

ALL_RULES = [(part.name, rule.__name__) for part in fields(Rules) for rule in getattr(RULES, part.name)]


def without(part: str, name: str) -> Rules:
    kept = tuple(rule for rule in getattr(RULES, part) if rule.__name__ != name)
    assert len(kept) == len(getattr(RULES, part)) - 1
    return replace(RULES, **{part: kept})


def delete(monkeypatch: pytest.MonkeyPatch, attack: Attack) -> None:
    """The attack's rule is gone from the policy of this process."""
    rules = without(attack.part, attack.rule)
    monkeypatch.setattr("fedcore.owner.deciding.decide", partial(decide, rules=rules))


def test_every_rule_has_an_attack_through_the_agent() -> None:
    assert {(attack.part, attack.rule) for attack in ON_RULES} == set(ALL_RULES)


@pytest.mark.parametrize(
    "attack",
    [attack for attack in ON_RULES if not attack.backed],
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
    [attack for attack in ON_RULES if attack.behind or attack.backed],
    ids=lambda attack: f"{attack.rule}: {attack.what}",
)
def test_where_there_is_a_second_defence_a_deleted_rule_alone_lets_nothing_through(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, attack: Attack
) -> None:
    delete(monkeypatch, attack)
    codes = attack.codes | attack.second | (SECOND_CODES if attack.backed else frozenset())
    worked = attack.runs_tasks or attack.second != frozenset()
    check_nothing_left(play(scene, attack), replace(attack, codes=codes, runs_tasks=worked))
