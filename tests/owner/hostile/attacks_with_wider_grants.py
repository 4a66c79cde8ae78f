"""Attacks with a grant that was narrowed, and that the coordinator sends again as wide as it was asked for.

It was narrowed by an earlier word of the coordinator itself, or by a person who typed `fedcore-owner grants tighten`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from fedcore.wire.access import Grant
from fedcore.wire.codes import RefusalCode
from fedcore.wire.spec import Privacy, Protocol
from tests.owner.hostile.attack import Attack, Orders
from tests.owner.hostile.attacks_on_grants_held import Prepare, anew
from tests.owner.hostile.forging import (
    NOISY,
    NOW,
    ONE,
    OVERSPENDS,
    THREE,
    UNBOUNDED,
    after,
    attack_on_rule,
    forged,
    grant_of,
    runs_of_one_grant,
    without_a_look_before_sending,
    without_counting_again,
)
from tests.owner.hostile.scene import Delivered, Scene, Told


def told_less(**narrow: Any) -> Prepare:
    """The coordinator has said less of the grant before; then it says all of it again, and less of another limit."""

    def prepared(scene: Scene, grant: Grant) -> list[Told]:
        scene.tell(scene.told(grant.model_copy(update=narrow)))
        return [*anew(scene, grant), scene.told(grant.model_copy(update={"releases": grant.releases - 1}))]

    return prepared


def tightened(*options: str) -> Prepare:
    """A person here has narrowed the grant; then the coordinator says all of it again."""

    def prepared(scene: Scene, grant: Grant) -> list[Told]:
        scene.tell(scene.told(grant))
        scene.person("grants", "tighten", grant.request.digest, *options)
        return anew(scene, grant)

    return prepared


def pooled(**wrong: Any) -> Callable[[Prepare], Orders]:
    return lambda prepare: after(prepare, forged(**wrong))


def private(privacy: Privacy) -> Callable[[Prepare], Orders]:
    """A local run of this epsilon, for which an epsilon of 3 was asked for."""
    wrong = {"spec": {"privacy": privacy, "training": NOISY}, "request": {"privacy": THREE}}
    return lambda prepare: after(prepare, forged(Protocol.LOCAL, **wrong))


def two_runs(prepare: Prepare) -> Orders:
    """Two runs begin under the grant; the first of them is the one that is left of it."""

    def orders(scene: Scene) -> list[Delivered]:
        first, second = runs_of_one_grant(scene, 2)
        told = prepare(scene, grant_of(first))
        scene.carry_out(first[0], second[0], first[1])
        return [*told, second[1]]

    return orders


@dataclass(frozen=True)
class Narrowing:
    """To what a grant was narrowed: as the coordinator says it, and as a person types it."""

    to: str
    rule: str
    code: RefusalCode
    told: dict[str, Any]
    typed: tuple[str, str] | tuple[str]
    orders: Callable[[Prepare], Orders]
    more: dict[str, Any] = field(default_factory=dict)

    def attacks(self) -> list[Attack]:
        ways = {"at the coordinator": told_less(**self.told), "here": tightened(*self.typed)}
        return [
            attack_on_rule(
                f"a grant that was narrowed {where} to {self.to} is sent again without that limit",
                self.rule,
                self.code,
                self.orders(prepare),
                **self.more,
            )
            for where, prepare in ways.items()
        ]


NARROWINGS: Final = [
    Narrowing(
        "local runs",
        "protocol_is_allowed",
        RefusalCode.PROTOCOL_NOT_ALLOWED,
        {"protocols": (Protocol.LOCAL,)},
        ("--protocols", "local"),
        pooled(request={"protocols": (Protocol.LOCAL, Protocol.POOLED)}),
    ),
    Narrowing(
        "one backend",
        "backend_is_allowed",
        RefusalCode.BACKEND_NOT_ALLOWED,
        {"backends": ("plaintext",)},
        ("--backends", "plaintext"),
        pooled(request={"backends": ("plaintext", "keyed_tokens")}),
    ),
    Narrowing(
        "one model type",
        "model_is_allowed",
        RefusalCode.MODEL_NOT_ALLOWED,
        {"models": ("mlp",)},
        ("--models", "mlp"),
        pooled(request={"models": ("linear", "mlp")}),
    ),
    Narrowing(
        "three owners",
        "enough_owners_take_part",
        RefusalCode.TOO_FEW_OWNERS,
        {"minimum_owners": 3},
        ("--minimum-owners", "3"),
        pooled(),
    ),
    Narrowing(
        "a day that is over",
        "grant_has_not_expired",
        RefusalCode.GRANT_EXPIRED,
        {"expires_at": NOW - 1},
        ("--until", "2020-12-31"),
        pooled(),
        {
            "behind": without_a_look_before_sending,
            "second": frozenset({RefusalCode.GRANT_EXPIRED, RefusalCode.OUT_OF_ORDER}),
        },
    ),
    Narrowing(
        "one run",
        "releases_are_left",
        RefusalCode.RELEASES_SPENT,
        {"releases": 1},
        ("--releases", "1"),
        two_runs,
        {"behind": without_counting_again},
    ),
    Narrowing(
        "use without download",
        "download_is_allowed",
        RefusalCode.DOWNLOAD_NOT_ALLOWED,
        {"download": False},
        ("--no-download",),
        pooled(request={"download": True}),
    ),
    Narrowing(
        "an epsilon of 0.5",
        "epsilon_is_within_its_limits",
        RefusalCode.EPSILON_NOT_ALLOWED,
        {"epsilon_micro": 500_000},
        ("--epsilon", "0.5"),
        private(ONE),
        {"backed": OVERSPENDS},
    ),
    Narrowing(
        "runs with an epsilon",
        "privacy_limit_is_kept",
        RefusalCode.EPSILON_NOT_ALLOWED,
        {"epsilon_micro": 500_000},
        ("--epsilon", "0.5"),
        pooled(),
        {"backed": UNBOUNDED},
    ),
]

WITH_WIDER_GRANTS: Final = [attack for narrowing in NARROWINGS for attack in narrowing.attacks()]
