"""What each rule of the policy is worth: with any one of them deleted, its attacks succeed through the real agent.

`tests/owner/test_policy.py` proves the same on facts. Here the orders come from a coordinator, signed with its key, and
what is looked at is whether the host does as ordered. Some rules have a second defence behind them: with the rule
deleted and that defence in place the attack still fails, and with both gone it succeeds.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial

import pytest

from fedcore.owner.policy import RULES, Rules, decide
from tests.owner.hostile.attack import Attack, check_nothing_left, play, succeeded
from tests.owner.hostile.scene import Scene
from tests.owner.hostile.tables import ON_RULES

REACHABLE_ON_FACTS_ONLY: dict[tuple[str, str], str] = {}
"""Rules that no order can put to the test, and why. Their attacks stand in `tests/owner/policy_attacks.py`."""

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
    assert attacked | set(REACHABLE_ON_FACTS_ONLY) == set(ALL_RULES)
    assert attacked & set(REACHABLE_ON_FACTS_ONLY) == set()


@pytest.mark.parametrize("attack", ON_RULES, ids=lambda attack: f"{attack.rule}: {attack.what}")
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
    "attack", [attack for attack in ON_RULES if attack.behind], ids=lambda attack: attack.rule
)
def test_where_there_is_a_second_defence_a_deleted_rule_alone_lets_nothing_through(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, attack: Attack
) -> None:
    delete(monkeypatch, attack)
    check_nothing_left(play(scene, attack), attack)
