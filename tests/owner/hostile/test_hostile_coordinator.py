"""A hostile coordinator gets nothing out of a host beyond its policy: not one byte, whatever it orders.

Each attack is a sentence in one of the tables. That they are more than idle is shown by `test_without_a_rule`, where
the same orders get through, and by the honest run here.
"""

from __future__ import annotations

from collections import Counter

import pytest

from fedcore.wire.orders import Phase
from tests.faults.wrong_orders import Wrong
from tests.owner.hostile.attack import Attack, check_nothing_left, play, succeeded
from tests.owner.hostile.scene import Scene
from tests.owner.hostile.tables import ON_RULES, OTHERS

ATTACKS = [*ON_RULES, *OTHERS]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.what)
def test_not_one_byte_leaves(scene: Scene, attack: Attack) -> None:
    check_nothing_left(play(scene, attack), attack)


def test_the_journal_holds_after_all_of_it(scene: Scene) -> None:
    assert scene.agent.journal.verify() > len(ATTACKS)


def test_no_two_attacks_are_the_same_sentence() -> None:
    assert [what for what, times in Counter(attack.what for attack in ATTACKS).items() if times > 1] == []


def test_with_nothing_wrong_the_same_orders_are_carried_out(scene: Scene) -> None:
    nothing = Attack("nothing", lambda scene: [*scene.forged(Wrong(""), phases=(Phase.CHECK,))], frozenset())
    watched = play(scene, nothing)
    assert succeeded(scene, watched)
    with pytest.raises(AssertionError):
        check_nothing_left(watched, nothing)
