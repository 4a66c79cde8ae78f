"""Attacks on runs that train on shares: other uses of shares, dealers and compute owners than the policy allows."""

from __future__ import annotations

from fedcore.wire.codes import RefusalCode
from fedcore.wire.spec import DatasetVersion, PluginChoice, Protocol, Training

from .attack import Attack
from .policy_cases import (
    COMPUTING,
    DEALER,
    DEALING,
    KEYED_TOKENS,
    NORTH,
    SHARED,
    SOUTH,
    STRANGER,
    VERSION,
    Case,
    card,
)


def peers(dealer_of: str, trusted: bool = True) -> list[dict[str, object]]:
    return [
        {"name": "south", "card": card(SOUTH), "organisation": "south-bank"},
        {"name": "west", "card": card(STRANGER), "organisation": "west-shop"},
        {"name": "deal", "card": card(DEALER), "organisation": dealer_of, "dealer": trusted},
    ]


def as_third_owner() -> Case:
    """South and west compute; north brings rows only."""
    case = COMPUTING.with_policy(peers=peers("card-house"))
    others = (DatasetVersion(host=key.public, name="logs", version="c" * 64) for key in (SOUTH, STRANGER))
    named = DatasetVersion(host=NORTH.public, name="access-2026", version=VERSION)
    grants = ("d" * 64, "e" * 64, case.facts().spec.grants[0])
    return case.but(spec={"datasets": (*others, named), "grants": grants})


ON_SHARES = [
    Attack(
        "rows that were granted as shares are to go to the coordinator",
        "shares_are_trained_on_as_shares",
        RefusalCode.BACKEND_NOT_ALLOWED,
        "do not go together",
        SHARED.but(spec={"protocol": Protocol.POOLED, "dealer": None}),
    ),
    Attack(
        "rows are to leave under shared by a backend that makes no shares",
        "shares_are_trained_on_as_shares",
        RefusalCode.BACKEND_NOT_ALLOWED,
        "do not go together",
        SHARED.but(backend=KEYED_TOKENS, spec={"backend": PluginChoice(name="keyed_tokens")}),
    ),
    Attack(
        "mask keys are to go to a peer that is not trusted as a dealer",
        "dealer_is_trusted",
        RefusalCode.DEALER_NOT_TRUSTED,
        "dealer = true",
        SHARED.with_policy(peers=peers("card-house", trusted=False)),
    ),
    Attack(
        "mask keys are to go to a dealer that nobody has pinned",
        "dealer_is_trusted",
        RefusalCode.DEALER_NOT_TRUSTED,
        "dealer = true",
        SHARED.with_policy(peers=peers("card-house")[:2]),
    ),
    Attack(
        "the dealer belongs to the organisation of a compute owner",
        "dealer_and_compute_owners_are_strangers",
        RefusalCode.SAME_ORGANISATION,
        "three organisations",
        SHARED.with_policy(peers=peers("South-Bank ")),
    ),
    Attack(
        "the model is to show the single row of the last batch",
        "enough_rows_are_in_a_batch",
        RefusalCode.TOO_FEW_ROWS,
        "larger batches",
        SHARED.but(spec={"training": Training(batch_size=99)}),
    ),
    Attack(
        "an owner that is no compute owner is to train",
        "only_compute_owners_train_on_shares",
        RefusalCode.OUT_OF_ORDER,
        "train, and this host is",
        as_third_owner(),
    ),
]

DEALER_HOST = [
    Attack(
        "a host is used as a dealer that does not serve as one",
        "this_host_serves_as_dealer",
        RefusalCode.DEALER_NOT_TRUSTED,
        "[dealer] serves",
        DEALING.with_policy(dealer={"serves": False}),
    ),
    Attack(
        "a dealer is asked to deal for a run that names another",
        "run_names_this_dealer",
        RefusalCode.NOT_GRANTED,
        "as its dealer",
        DEALING.but(spec={"dealer": STRANGER.public}),
    ),
    Attack(
        "a dealer computes with other files than the run pins",
        "plugins_are_those_pinned",
        RefusalCode.PLUGIN_MISMATCH,
        "models/linear",
        DEALING.but(order={"pins": ()}),
    ),
    Attack(
        "a dealer is to deal before it has checked the run",
        "phase_follows_what_was_done",
        RefusalCode.OUT_OF_ORDER,
        "comes after check",
        DEALING.but(done=frozenset()),
    ),
]
