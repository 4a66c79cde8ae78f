"""Attacks on runs that train on shares, each stopped by one rule: without it the host does as ordered."""

from __future__ import annotations

from typing import Any, Final

from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase
from fedcore.wire.spec import PluginChoice, Protocol, Training
from tests.faults.wrong_orders import Wrong
from tests.owner.hostile.attack import Attack, Orders
from tests.owner.hostile.forging import attack_on_rule, forged, other_dataset, own_dataset, rewritten
from tests.owner.hostile.scene import Delivered, Scene


def as_third_owner(scene: Scene) -> list[Delivered]:
    """North is to train in a run whose compute owners are two others."""
    others = (other_dataset(scene.south.key), other_dataset(scene.sybil.public))
    spec = {"datasets": (*others, own_dataset(scene))}
    return [*scene.forged(Wrong("", spec=spec), Protocol.SHARED, (Phase.TRAIN,))]


OWNER: Final = [
    attack_on_rule(
        "rows that were granted as shares are to go to the coordinator",
        "shares_are_trained_on_as_shares",
        RefusalCode.BACKEND_NOT_ALLOWED,
        forged(
            Protocol.SHARED,
            spec={"protocol": Protocol.POOLED, "dealer": None},
            request={"protocols": (Protocol.SHARED, Protocol.POOLED)},
        ),
    ),
    attack_on_rule(
        "rows are to leave under shared by a backend that makes no shares",
        "shares_are_trained_on_as_shares",
        RefusalCode.BACKEND_NOT_ALLOWED,
        forged(
            Protocol.SHARED,
            spec={"backend": PluginChoice(name="keyed_tokens")},
            request={"backends": ("keyed_tokens",)},
        ),
    ),
    attack_on_rule(
        "keys of masked rows are to go to a peer that is not trusted as a dealer",
        "dealer_is_trusted",
        RefusalCode.DEALER_NOT_TRUSTED,
        forged(Protocol.SHARED),
        policy=rewritten("dealer = true", "dealer = false"),
    ),
    attack_on_rule(
        "the dealer belongs to the organisation of a compute owner",
        "dealer_and_compute_owners_are_strangers",
        RefusalCode.SAME_ORGANISATION,
        forged(Protocol.SHARED),
        policy=rewritten('organisation = "referee-org"', 'organisation = "south-org"'),
    ),
    attack_on_rule(
        "the model is to show the single row of the last batch",
        "enough_rows_are_in_a_batch",
        RefusalCode.TOO_FEW_ROWS,
        forged(Protocol.SHARED, spec={"training": Training(batch_size=1)}),
    ),
    attack_on_rule(
        "an owner that is no compute owner is to train",
        "only_compute_owners_train_on_shares",
        RefusalCode.OUT_OF_ORDER,
        as_third_owner,
        also=(RefusalCode.UNKNOWN_PEER,),
        backed="it has prepared nothing in such a run",
    ),
]


def north_as_dealer(*, with_own_rows: bool = False, **wrong: Any) -> Orders:
    def orders(scene: Scene) -> list[Delivered]:
        others = (other_dataset(scene.south.key), other_dataset(scene.referee.key))
        datasets = (own_dataset(scene), *others) if with_own_rows else others
        spec = {"dealer": scene.north.key, "datasets": datasets}
        order = {"grant": None, **wrong.get("order", {})}
        phases = wrong.get("phases", (Phase.CHECK, Phase.DEAL))
        return [*scene.forged(Wrong("", spec=spec, order=order), Protocol.SHARED, phases)]

    return orders


DEALS: Final = rewritten("[worker]", "[dealer]\nserves = true\n[worker]")

DEALER: Final[list[Attack]] = [
    attack_on_rule(
        "north is to deal though it is no dealer",
        "this_host_serves_as_dealer",
        RefusalCode.DEALER_NOT_TRUSTED,
        north_as_dealer(),
        "dealer",
    ),
    attack_on_rule(
        "an owner is to deal in its own run, and so to hold all masks of its peers",
        "run_names_this_dealer",
        RefusalCode.MALFORMED,
        north_as_dealer(with_own_rows=True),
        "dealer",
        policy=DEALS,
        backed="such a spec is malformed",
    ),
    attack_on_rule(
        "a dealer is to compute with other files than it has",
        "plugins_are_those_pinned",
        RefusalCode.PLUGIN_MISMATCH,
        north_as_dealer(order={"pins": ()}),
        "dealer",
        policy=DEALS,
    ),
    attack_on_rule(
        "a dealer is drawn into the owners' agreement on a key",
        "phase_follows_what_was_done",
        RefusalCode.OUT_OF_ORDER,
        north_as_dealer(phases=(Phase.OFFER,)),
        "dealer",
        policy=DEALS,
        backed="the gate lets no such answer leave it",
    ),
]

ON_SHARES: Final = [*OWNER, *DEALER]
