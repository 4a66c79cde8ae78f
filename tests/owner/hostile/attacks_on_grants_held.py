"""Attacks with grants that this host does not hold, does not let take effect, has ended, or holds for less.

What north knows of a grant comes from the coordinator's words and from commands that a person types at north; both
come before the orders here. Whatever the coordinator says of the grant afterwards is said among its orders.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from fedcore.owner.grants import GrantStore
from fedcore.wire.access import Grant, Standing
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Protocol
from tests.faults.wrong_orders import Wrong
from tests.owner.hostile.attack import Attack
from tests.owner.hostile.attacks_on_rules_of_use import NGRAMS
from tests.owner.hostile.backups import files_of_grants, put_back
from tests.owner.hostile.forging import (
    NOW,
    after,
    attack_on_rule,
    forged,
    rewritten,
)
from tests.owner.hostile.scene import Delivered, Scene, Told

DAY: Final = 86_400
Prepare = Callable[[Scene, Grant], Sequence[Told]]


def without_asking_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks, while work is under way or an answer is sent, whether the grant is over."""
    monkeypatch.setattr(GrantStore, "is_over", lambda self, digest: False)


# -- whose grant it is


def as_eves_own(scene: Scene) -> list[Signed]:
    """Sam's request has come; Eve, who works with the coordinator, signs its text, and a run that names it."""
    eve = f'[[scientists]]\nname = "eve"\nkey = "{scene.eve.public}"\norganisation = "institute"\n'
    scene.undo.enter_context(scene.policy(lambda text: text.replace("[[peers]]", eve + "[[peers]]", 1)))
    asked = {"nonce": secrets.token_hex(16), "expires_at": int(time.time()) + 3600}
    scene.carry_out(*scene.forged(Wrong("", request=asked), phases=(Phase.CHECK,)))
    return scene.forged(Wrong("", request=asked, requester=scene.eve, scientist=scene.eve))


HELD_FOR: Final = [
    attack_on_rule(
        "Eve, a scientist here too, signs the text of Sam's request as her own",
        "grant_is_held_for_the_scientist",
        RefusalCode.NOT_GRANTED,
        as_eves_own,
    ),
]

# -- what is over


def anew(scene: Scene, grant: Grant) -> list[Told]:
    """The coordinator says twice that the grant is in force, and that it lasts longer than before."""
    longer = grant.model_copy(update={"expires_at": grant.expires_at + 30 * DAY})
    return [scene.told(grant), scene.told(longer)]


def refused_here(scene: Scene, grant: Grant) -> list[Told]:
    scene.tell(scene.told(grant))
    scene.person("grants", "refuse", grant.request.digest, "--reason", "not for this")
    return []


def revoked_here(scene: Scene, grant: Grant) -> list[Told]:
    scene.tell(scene.told(grant))
    scene.person("grants", "revoke", grant.request.digest)
    return []


def revoked_by_the_coordinator(scene: Scene, grant: Grant) -> list[Told]:
    scene.tell(scene.told(grant))
    scene.tell(scene.told(grant, revoked=True))
    return []


def with_the_grants_put_back(prepare: Prepare) -> Prepare:
    """The file of the grants is put back as it was before, and north's agent begins anew."""

    def prepared(scene: Scene, grant: Grant) -> list[Told]:
        scene.tell(scene.told(grant))
        backup = files_of_grants(scene)
        prepare(scene, grant)
        put_back(scene, backup)
        return []

    return prepared


def and_anew(prepare: Prepare) -> Prepare:
    return lambda scene, grant: [*prepare(scene, grant), *anew(scene, grant)]


def with_its_rows_on_the_way(scene: Scene) -> list[Delivered]:
    """A run has come as far as its rows when the grant is revoked here."""
    plan = scene.honest()
    scene.agree(plan)
    revoked_here(scene, plan.grants[scene.north.key])
    return [
        *anew(scene, plan.grants[scene.north.key]),
        plan.order(Phase.PREPARE, scene.north, evidence=plan.said(Phase.CONFIRM)),
    ]


def refused(what: str, prepare: Prepare, **more: Any) -> Attack:
    return attack_on_rule(
        what,
        "grant_is_not_refused_here",
        RefusalCode.NOT_GRANTED,
        after(prepare, forged()),
        behind=without_asking_again,
        second=frozenset({RefusalCode.GRANT_REVOKED, RefusalCode.OUT_OF_ORDER}),
        **more,
    )


def revoked(what: str, orders: Any, **more: Any) -> Attack:
    return attack_on_rule(
        what,
        "grant_is_not_revoked_here",
        RefusalCode.GRANT_REVOKED,
        orders,
        behind=without_asking_again,
        second=frozenset({RefusalCode.OUT_OF_ORDER}),
        **more,
    )


OVER: Final = [
    refused("a grant is used that a person here has refused", refused_here),
    refused(
        "a grant that a person here has refused is granted anew, for longer",
        and_anew(refused_here),
        stands=Standing.REFUSED,
    ),
    refused(
        "a refused grant is granted anew after an older copy of the grants was put back",
        and_anew(with_the_grants_put_back(refused_here)),
        stands=Standing.REFUSED,
    ),
    revoked("a grant is used that a person here has revoked", after(revoked_here, forged())),
    revoked(
        "a grant that a person here has revoked is granted anew, for longer",
        after(and_anew(revoked_here), forged()),
        stands=Standing.REVOKED,
    ),
    revoked(
        "a grant that was revoked at the coordinator is granted anew, for longer",
        after(and_anew(revoked_by_the_coordinator), forged()),
        stands=Standing.REVOKED,
    ),
    revoked(
        "a revoked grant is granted anew after an older copy of the grants was put back",
        after(and_anew(with_the_grants_put_back(revoked_here)), forged()),
        stands=Standing.REVOKED,
    ),
    revoked(
        "rows are asked for in a run whose grant was revoked meanwhile",
        with_its_rows_on_the_way,
        stands=Standing.REVOKED,
    ),
]

# -- what waits for a person


def ceilings(**lines: str) -> Callable[[str], str]:
    """North's ceilings say something else in these lines."""

    def change(text: str) -> str:
        head, ceiling, tail = text.partition("[datasets.logs.ceilings]")
        for name, value in lines.items():
            tail = re.sub(rf"^{name} = .*$", f"{name} = {value}", tail, count=1, flags=re.MULTILINE)
        return head + ceiling + tail

    return change


def no_ceilings(text: str) -> str:
    head, ceiling, tail = text.partition("[datasets.logs.ceilings]")
    return head + ceiling + "\n\n[worker]" + tail.partition("[worker]")[2]


def waiting(what: str, policy: Callable[[str], str], prepare: Prepare | None = None, **wrong: Any) -> Attack:
    orders = forged(**wrong)
    return attack_on_rule(
        what,
        "grant_takes_effect",
        RefusalCode.GRANT_NOT_CONFIRMED,
        orders if prepare is None else after(prepare, orders),
        policy=policy,
        stands=None if prepare is None else Standing.WAITING,
    )


IN_THREE_DAYS: Final = NOW + 3 * DAY

WAITING: Final = [
    waiting("a grant runs that nobody here confirmed, on a dataset without ceilings", no_ceilings),
    waiting("a grant that waits for a person is granted again and again", no_ceilings, anew),
    waiting("a grant for a purpose above the ceilings is not confirmed", ceilings(purposes='["research"]')),
    waiting("a grant with a protocol above the ceilings is not confirmed", ceilings(protocols='["local"]')),
    waiting("a grant with a backend above the ceilings is not confirmed", ceilings(backends='["plaintext"]')),
    waiting("a grant with a model type above the ceilings is not confirmed", ceilings(models='["mlp"]')),
    waiting("a grant for more runs than the ceilings have is not confirmed", ceilings(releases="4")),
    waiting("a grant for fewer owners than the ceilings is not confirmed", ceilings(minimum_owners="2")),
    waiting(
        "a grant without an epsilon where the ceilings have one is not confirmed", ceilings(epsilon="1.0")
    ),
    waiting(
        "a grant that lasts longer than the ceilings is not confirmed",
        ceilings(days="2  # as before"),
        request={"expires_at": IN_THREE_DAYS},
        grant={"expires_at": IN_THREE_DAYS},
    ),
    waiting(
        "a grant with leave to download is not confirmed",
        ceilings(download="false"),
        request={"download": True},
    ),
    waiting(
        "a grant for pieces of words is not confirmed",
        rewritten(
            "minimum_owners = 1\nminimum_rows",
            'character_steps = ["char_ngrams"]\nminimum_owners = 1\nminimum_rows',
        ),
        spec={"pipeline": NGRAMS},
        request={"pipelines": (NGRAMS,)},
    ),
]

# -- when work may be done


def hours_in(*hours: int) -> Callable[[str], str]:
    """North works for an hour of the day, which begins so many hours from now, and at no other time."""

    def change(text: str) -> str:
        moments = [time.gmtime(time.time() + hour * 3600) for hour in (hours[0], hours[0] + 1)]
        window = "-".join(time.strftime("%H:%M", moment) for moment in moments)
        return text.replace("retention =", f'hours = ["{window}"]\nretention =', 1)

    return change


def kept_for_the_night(scene: Scene) -> list[Signed]:
    """A run was begun within the hours; its next orders are kept back until they are over."""
    far = {"expires_at": NOW + DAY}
    check, *others = scene.forged(
        Wrong(
            "",
            order=far,
            spec={"deadline": NOW + DAY},
            request={"expires_at": NOW + DAY},
            grant={"expires_at": NOW + DAY},
        ),
        Protocol.LOCAL,
        (Phase.CHECK, Phase.TRAIN, Phase.EVALUATE),
    )
    scene.carry_out(check)
    scene.shift[0] = 3 * 3600
    return others


HOURS: Final = [
    attack_on_rule(
        "orders come at a time of day at which the policy allows no work",
        "hours_allow_work",
        RefusalCode.OUTSIDE_HOURS,
        forged(),
        policy=hours_in(2),
    ),
    attack_on_rule(
        "orders of a run that began in time are kept back for the night",
        "hours_allow_work",
        RefusalCode.OUTSIDE_HOURS,
        kept_for_the_night,
        policy=hours_in(0),
    ),
]

ON_GRANTS_HELD: Final = [*HELD_FOR, *OVER, *WAITING, *HOURS]
