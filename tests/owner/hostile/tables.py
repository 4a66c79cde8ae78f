"""All attacks of a hostile coordinator. Whoever adds a rule to the policy, or a promise to the host, adds a line.

`ON_RULES` are attacks that one rule stops; `tests/owner/hostile/test_without_a_rule.py` deletes the rule and sees them
succeed, and fails for a rule that has none. `OTHERS` are stopped by something else.
"""

from __future__ import annotations

from typing import Final

from tests.owner.hostile.attack import Attack
from tests.owner.hostile.attacks_by_messages import BY_MESSAGES
from tests.owner.hostile.attacks_on_grants_held import ON_GRANTS_HELD
from tests.owner.hostile.attacks_on_privacy import ON_PRIVACY
from tests.owner.hostile.attacks_on_rules_of_orders import ON_ORDERS
from tests.owner.hostile.attacks_on_rules_of_use import ON_USE
from tests.owner.hostile.attacks_on_shares import ON_SHARES
from tests.owner.hostile.attacks_on_the_way import ON_THE_WAY
from tests.owner.hostile.attacks_with_wider_grants import WITH_WIDER_GRANTS

ON_RULES: Final[list[Attack]] = [
    *(*ON_ORDERS, *ON_USE, *ON_SHARES, *ON_GRANTS_HELD),
    *(*WITH_WIDER_GRANTS, *ON_PRIVACY),
]
OTHERS: Final[list[Attack]] = [*BY_MESSAGES, *ON_THE_WAY]
