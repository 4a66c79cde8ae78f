"""Attacks on privacy budgets and on the ledger that keeps them: what is not bounded, not allowed, not left, or unknown.

Runs are local and have an epsilon. A budget is spent on a dataset that north has for one attack alone, since on the
common one runs without an epsilon were booked.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

import pytest

from fedcore.owner.ledger import Ledger
from fedcore.owner.rules.privacy import FRESH_SECONDS
from fedcore.plugin_api.private_training import MOST_PASSES
from fedcore.wire.codes import RefusalCode
from fedcore.wire.heads import HeadReceipt
from fedcore.wire.orders import Phase
from fedcore.wire.signing import Signed
from fedcore.wire.spec import DatasetVersion, Privacy, Protocol
from tests.faults.wrong_orders import Wrong
from tests.owner.hostile.attack import Attack, Orders
from tests.owner.hostile.backups import files_of_ledger, put_back
from tests.owner.hostile.forging import (
    NOISY,
    NOW,
    ONE,
    OVERSPENDS,
    THREE,
    UNBOUNDED,
    attack_on_rule,
    forged,
    rewritten,
    runs_of_one_grant,
    without_counting_again,
)
from tests.owner.hostile.scene import Scene

DAY: Final = 86_400
NONE: Final = Privacy()
WITH_LESS_DELTA: Final = Privacy(epsilon_micro=3_000_000, delta=1e-9)
MILLION: Final = Privacy(epsilon_micro=10**12, delta=1e-6)
UNLIKELY: Final = Privacy(epsilon_micro=1_000_000, delta=0.1)
ONE_AND_A_HALF: Final = Privacy(epsilon_micro=1_500_000, delta=1e-6)


def costing(
    run: Privacy, asked: Privacy, protocol: Protocol = Protocol.LOCAL, **spec: Any
) -> Callable[[Scene], list[Signed]]:
    """The orders of a run that promises this, under a request that asked for that."""
    wrong = {"spec": {"privacy": run, "training": NOISY, **spec}, "request": {"privacy": asked}}
    return lambda scene: scene.forged(Wrong("", **wrong), protocol)


def on_the_dataset(line: str) -> Callable[[str], str]:
    return rewritten("minimum_owners = 1\nminimum_rows", f"{line}\nminimum_owners = 1\nminimum_rows")


def costly(what: str, orders: Orders, **more: Any) -> Attack:
    rule = "epsilon_is_within_its_limits"
    return attack_on_rule(what, rule, RefusalCode.EPSILON_NOT_ALLOWED, orders, **more)


def likely(what: str, orders: Orders, **more: Any) -> Attack:
    rule = "delta_is_within_its_limits"
    return attack_on_rule(what, rule, RefusalCode.EPSILON_NOT_ALLOWED, orders, **more)


def unbounded(what: str, orders: Orders, **more: Any) -> Attack:
    rule = "epsilon_is_kept_by_bounded_mechanisms"
    return attack_on_rule(what, rule, RefusalCode.EPSILON_NOT_ALLOWED, orders, **more)


LIMITS: Final = [
    costly(
        "a run costs more than the policy allows a run",
        costing(ONE, THREE),
        policy=on_the_dataset("epsilon = 0.9"),
    ),
    costly("a run costs more than was asked for", costing(THREE, ONE), backed=OVERSPENDS),
    likely("a run promises less by a larger delta than was asked for", costing(ONE, WITH_LESS_DELTA)),
    likely(
        "a run promises less by a larger delta than the policy allows",
        costing(ONE, THREE),
        policy=on_the_dataset("delta = 1e-8"),
    ),
    costly(
        "a run names an epsilon of which nothing is private, so that no minimum of rows holds, and nobody set one",
        costing(MILLION, NONE),
    ),
    likely(
        "a run promises an epsilon and a delta of one in ten, and the policy alone limits it",
        costing(UNLIKELY, NONE),
        policy=on_the_dataset("epsilon = 2.0"),
    ),
    unbounded(
        "rows are to leave in a run that promises an epsilon",
        forged(spec={"privacy": ONE}),
        policy=on_the_dataset("epsilon = 2.0"),
    ),
    unbounded(
        "a run promises an epsilon on a selection of the rows",
        costing(ONE, NONE, first_rows=100),
        policy=on_the_dataset("epsilon = 2.0"),
    ),
    unbounded(
        "a run promises an epsilon on more epochs than noise is drawn for",
        costing(ONE, NONE, training=NOISY.model_copy(update={"epochs": MOST_PASSES + 1})),
        policy=on_the_dataset("epsilon = 2.0"),
    ),
    unbounded(
        "a run promises a part of a budget and keeps none of it",
        costing(ONE, THREE, first_rows=100),
        backed=UNBOUNDED,
    ),
    attack_on_rule(
        "a run without an epsilon is ordered under a grant that has one",
        "privacy_limit_is_kept",
        RefusalCode.EPSILON_NOT_ALLOWED,
        costing(NONE, THREE),
        backed=UNBOUNDED,
    ),
]

# -- budgets that are spent in several runs


def fresh_dataset(*settings: str) -> Callable[[str], str]:
    """North offers its rows a second time, under a name that nothing was booked on, with these settings besides."""

    def change(text: str) -> str:
        head, offer, tail = text.partition("[datasets.logs]")
        own, worker, rest = tail.partition("[worker]")
        name = f"logs-{secrets.token_hex(4)}"
        again = (offer + "\n" + "\n".join(settings) + own).replace("datasets.logs", f"datasets.{name}")
        again = again.replace("releases = 5", "releases = 100")
        return head + offer + own + again + worker + rest

    return change


def datasets_of(scene: Scene) -> dict[str, Any]:
    """What a spec and a request say of the dataset that was offered last."""
    *_, name = scene.north.home.load_config().datasets
    version = scene.version_of(name)
    own = DatasetVersion(host=scene.north.key, name=name, version=version)
    return {"spec": {"datasets": (own,)}, "request": {"dataset": own}}


def private_runs(
    scene: Scene, number: int, run: Privacy = ONE, asked: Privacy = THREE, **request: Any
) -> list[list[Signed]]:
    """The orders of several runs under one grant on the fresh dataset."""
    wrong = datasets_of(scene)
    spec = {"privacy": run, "training": NOISY, **wrong["spec"]}
    return runs_of_one_grant(
        scene, number, request={"privacy": asked, **wrong["request"], **request}, spec=spec
    )


def spread_over_runs(scene: Scene) -> list[Signed]:
    """Two runs begin under a grant whose budget is enough for one; the first of them spends it."""
    first, second = private_runs(scene, 2, asked=ONE_AND_A_HALF)
    scene.carry_out(first[0], second[0], *first[1:])
    return second[1:]


def after_it_is_spent(scene: Scene) -> list[Signed]:
    """A run is begun under a grant whose budget another run has spent."""
    first, second = private_runs(scene, 2, asked=ONE_AND_A_HALF)
    scene.carry_out(*first)
    return second


def in_crumbs(scene: Scene) -> list[Signed]:
    """Runs that cost a quarter each, until a grant for a half is spent; they add up to less than their sum."""
    quarter, half = (Privacy(epsilon_micro=epsilon, delta=1e-6) for epsilon in (250_000, 500_000))
    *runs, last = private_runs(scene, 7, run=quarter, asked=half, releases=100)
    scene.carry_out(*(run[0] for run in (*runs, last)))
    for run in runs:
        scene.agent.handle(run[1])
    return last[1:]


def spread_over_grants(scene: Scene) -> list[Signed]:
    """Two runs begin under a grant each, on data whose budget is enough for one; the first of them spends it."""
    (first,), (second,) = private_runs(scene, 1), private_runs(scene, 1)
    scene.carry_out(first[0], second[0], *first[1:])
    return second[1:]


def under_another_grant(scene: Scene) -> list[Signed]:
    """A run is begun under a grant of its own, on data whose budget a run of another grant has spent."""
    (first,), (second,) = private_runs(scene, 1), private_runs(scene, 1)
    scene.carry_out(*first)
    return second


def without_any_bound(scene: Scene) -> list[Signed]:
    """A run without an epsilon was done before the dataset had a budget."""
    (open_run,) = private_runs(scene, 1, run=NONE, asked=NONE)
    ((run),) = private_runs(scene, 1)
    scene.carry_out(*open_run, run[0])
    scene.undo.enter_context(scene.policy(with_a_budget))
    return run[1:]


def with_a_budget(text: str) -> str:
    head, last, tail = text.rpartition("title =")
    return f"{head}epsilon_total = 100.0\n{last}{tail}"


def overspending(what: str, of: str, orders: Orders, *settings: str, **more: Any) -> Attack:
    rule, code = f"budget_of_the_{of}_is_left", RefusalCode.BUDGET_SPENT
    return attack_on_rule(what, rule, code, orders, policy=fresh_dataset(*settings), **more)


BOOKED: Final[dict[str, Any]] = {
    "behind": without_counting_again,
    "second": frozenset({RefusalCode.OUT_OF_ORDER}),
}
"""The ledger refuses to book what overspends a budget, and what would follow has nothing to follow on."""

BUDGETS: Final = [
    overspending("a run begins under a grant whose budget is spent", "grant", after_it_is_spent),
    overspending("a grant's budget is split over two runs", "grant", spread_over_runs, **BOOKED),
    overspending("a grant's budget is spent in crumbs", "grant", in_crumbs, **BOOKED),
    overspending(
        "a run begins under a second grant on a dataset whose budget is spent",
        "dataset",
        under_another_grant,
        "epsilon_total = 1.5",
    ),
    overspending(
        "a dataset's budget is split over two grants",
        "dataset",
        spread_over_grants,
        "epsilon_total = 1.5",
        **BOOKED,
    ),
    overspending(
        "a dataset has a budget of which nobody knows how much is left",
        "dataset",
        without_any_bound,
        **BOOKED,
    ),
]

# -- the ledger


def without_its_own_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger books although it is held."""
    monkeypatch.setattr(Ledger, "_held_refusal", lambda self: None)


def after_the_ledger_was_put_back(scene: Scene) -> list[Signed]:
    """A grant covers one run, which is done; the ledger is put back as it was before, and another run goes on."""
    first, second = runs_of_one_grant(scene, 2, request={"releases": 1})
    scene.carry_out(first[0], second[0])
    backup = files_of_ledger(scene)
    scene.carry_out(first[1])
    put_back(scene, backup)
    return [second[1]]


def after_a_budget_was_put_back(scene: Scene) -> list[Signed]:
    """The same with a budget: in the older ledger it is not yet spent."""
    first, second = private_runs(scene, 2, asked=ONE_AND_A_HALF)
    scene.carry_out(first[0], second[0])
    backup = files_of_ledger(scene)
    scene.carry_out(*first[1:])
    put_back(scene, backup)
    return second[1:]


def after_it_was_put_back(scene: Scene) -> list[Signed]:
    """A run is begun after an older ledger was put back."""
    (first,) = runs_of_one_grant(scene, 1)
    scene.carry_out(first[0])
    backup = files_of_ledger(scene)
    scene.carry_out(first[1])
    put_back(scene, backup)
    return scene.forged(Wrong(""))


def after_the_machine_was_put_back(scene: Scene) -> list[Signed]:
    """The counter is put back too, so that only south knows how far the ledger had come."""
    first, second = runs_of_one_grant(scene, 2, request={"releases": 1})
    scene.carry_out(first[0], second[0])
    backup = files_of_ledger(scene, with_counter=True)
    scene.carry_out(first[1])
    ask_south(scene)
    put_back(scene, backup)
    ask_south(scene)
    return [second[1]]


def ask_south(scene: Scene) -> None:
    """North asks what is known of its ledger, south answers, north hears."""
    north, south = scene.agents[:2]
    for agent in (north, south, north):
        agent.witnessing.exchange()


def forgotten(what: str, orders: Orders, **more: Any) -> Attack:
    return attack_on_rule(what, "ledger_is_not_held", RefusalCode.LEDGER_HELD, orders, **more)


HELD: Final[dict[str, Any]] = {**BOOKED, "behind": without_its_own_hold}

LEDGER: Final = [
    forgotten("a run begins after an older ledger was put back", after_it_was_put_back),
    forgotten(
        "a grant is used once more after an older ledger was put back", after_the_ledger_was_put_back, **HELD
    ),
    forgotten(
        "a budget is spent once more after an older ledger was put back",
        after_a_budget_was_put_back,
        policy=fresh_dataset(),
        **HELD,
    ),
    forgotten(
        "a grant is used once more after an older copy of the whole machine was put back",
        after_the_machine_was_put_back,
        **HELD,
    ),
]

# -- receipts for the ledger


REQUIRED: Final = rewritten("[worker]", '[ledger]\nreceipts = "required"\n[worker]')


def without_a_receipt(scene: Scene) -> list[Signed]:
    scene.restart()
    return costing(ONE, THREE)(scene)


def with_a_receipt_of_its_own(scene: Scene) -> list[Signed]:
    """The coordinator itself confirms that the ledger is current, in nobody's name."""
    scene.restart()
    scene.agent.witnessing.exchange()
    asked = scene.coordinator.heads[scene.north.key]
    receipt = HeadReceipt(asked=asked.digest, latest=asked, at=NOW).signed_by(scene.coordinator.key)
    scene.coordinator.head_receipts[asked.digest, receipt.signer] = receipt
    scene.agent.witnessing.exchange()
    return costing(ONE, THREE)(scene)


def with_an_old_receipt(scene: Scene) -> list[Signed]:
    """South has confirmed the ledger; since then the coordinator has held back what it says, for an hour."""
    scene.restart()
    ask_south(scene)
    far = {"expires_at": NOW + DAY}
    spec = {"privacy": ONE, "training": NOISY, "deadline": NOW + DAY}
    request = {"privacy": THREE, **far}
    phases = (Phase.CHECK, Phase.TRAIN, Phase.EVALUATE)
    wrong = Wrong("", order=far, spec=spec, request=request)
    check, *others = scene.forged(wrong, Protocol.LOCAL, phases)
    scene.carry_out(check)
    scene.shift[0] = FRESH_SECONDS + 60
    return others


def unconfirmed(what: str, orders: Orders) -> Attack:
    return attack_on_rule(what, "ledger_is_confirmed", RefusalCode.LEDGER_HELD, orders, policy=REQUIRED)


RECEIPTS: Final = [
    unconfirmed("the coordinator holds back every receipt for the ledger", without_a_receipt),
    unconfirmed("the coordinator gives receipts for the ledger itself", with_a_receipt_of_its_own),
    unconfirmed("the coordinator has held back receipts for more than an hour", with_an_old_receipt),
]

ON_PRIVACY: Final = [*LIMITS, *BUDGETS, *LEDGER, *RECEIPTS]
