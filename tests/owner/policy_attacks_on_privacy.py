"""Attacks on privacy budgets: spending what is not bounded, not allowed, not left, or not known to be left."""

from __future__ import annotations

from dataclasses import replace

from fedcore.owner.rules.privacy import FRESH_SECONDS
from fedcore.wire.codes import RefusalCode
from fedcore.wire.spec import Privacy

from .attack import Attack
from .policy_cases import POOLED, PRIVATE

GRANT_OF_3 = {"privacy": Privacy(epsilon_micro=3_000_000, delta=1e-6)}
REQUIRED = PRIVATE.with_policy(ledger={"receipts": "required"})

ON_PRIVACY = [
    Attack(
        "a run without epsilon uses a grant that has one",
        "privacy_limit_is_kept",
        RefusalCode.EPSILON_NOT_ALLOWED,
        "promises none",
        PRIVATE.but(spec={"privacy": Privacy()}),
    ),
    Attack(
        "the owner grants with an epsilon, and a run promises none",
        "privacy_limit_is_kept",
        RefusalCode.EPSILON_NOT_ALLOWED,
        "promises none",
        PRIVATE.but(
            spec={"privacy": Privacy()}, request={"privacy": Privacy()}, grant={"epsilon_micro": 2_000_000}
        ),
    ),
    Attack(
        "a run without epsilon uses data of which the policy limits every run",
        "privacy_limit_is_kept",
        RefusalCode.EPSILON_NOT_ALLOWED,
        "promises none",
        POOLED.with_dataset_policy(epsilon=3.0),
    ),
    Attack(
        "a run without epsilon uses data that has a budget in all",
        "privacy_limit_is_kept",
        RefusalCode.EPSILON_NOT_ALLOWED,
        "promises none",
        POOLED.with_dataset_policy(epsilon_total=3.0).but(ledger=PRIVATE.ledger),
    ),
    Attack(
        "a run costs more than was asked for",
        "epsilon_is_within_its_limits",
        RefusalCode.EPSILON_NOT_ALLOWED,
        "asks for epsilon 4",
        PRIVATE.but(spec={"privacy": Privacy(epsilon_micro=4_000_000, delta=1e-6)}),
    ),
    Attack(
        "the coordinator passes on a grant that was narrowed as if it were not",
        "epsilon_is_within_its_limits",
        RefusalCode.EPSILON_NOT_ALLOWED,
        "allow a run 0.5",
        PRIVATE.but(grant={"epsilon_micro": 500_000}, ledger=replace(PRIVATE.ledger, grant_micro=500_000)),
    ),
    Attack(
        "a run costs more than the policy allows a run",
        "epsilon_is_within_its_limits",
        RefusalCode.EPSILON_NOT_ALLOWED,
        "allow a run 0.9",
        PRIVATE.with_dataset_policy(epsilon=0.9),
    ),
    Attack(
        "a run names an epsilon of which nothing is private, so that no minimum of rows holds, and nobody set one",
        "epsilon_is_within_its_limits",
        RefusalCode.EPSILON_NOT_ALLOWED,
        "asks for epsilon 1e+06, and request, grant and [datasets.access-2026] allow a run no number",
        PRIVATE.but(
            spec={"privacy": Privacy(epsilon_micro=10**12, delta=1e-6)}, request={"privacy": Privacy()}
        ),
    ),
    Attack(
        "a run promises less by a larger delta than was asked for",
        "delta_is_within_its_limits",
        RefusalCode.EPSILON_NOT_ALLOWED,
        "asks for delta 1e-06",
        PRIVATE.but(request={"privacy": Privacy(epsilon_micro=3_000_000, delta=1e-9)}),
    ),
    Attack(
        "a run promises less by a larger delta than the policy allows",
        "delta_is_within_its_limits",
        RefusalCode.EPSILON_NOT_ALLOWED,
        "allow 1e-08",
        PRIVATE.with_dataset_policy(delta=1e-8),
    ),
    Attack(
        "a run promises an epsilon that only the policy limits, and a delta of one half",
        "delta_is_within_its_limits",
        RefusalCode.EPSILON_NOT_ALLOWED,
        "asks for delta 0.5",
        PRIVATE.but(
            spec={"privacy": Privacy(epsilon_micro=1_000_000, delta=0.5)}, request={"privacy": Privacy()}
        ).with_dataset_policy(epsilon=2.0),
    ),
    Attack(
        "a run promises an epsilon that nothing keeps",
        "epsilon_is_kept_by_bounded_mechanisms",
        RefusalCode.EPSILON_NOT_ALLOWED,
        "protocol pooled bounds no epsilon",
        POOLED.but(
            spec={"privacy": Privacy(epsilon_micro=500_000, delta=1e-6)},
            unbounded="protocol pooled bounds no epsilon",
        ).with_dataset_policy(epsilon=2.0),
    ),
    Attack(
        "a run uses a grant whose budget other runs have spent",
        "budget_of_the_grant_is_left",
        RefusalCode.BUDGET_SPENT,
        "The grant has a budget of epsilon 3",
        PRIVATE.but(ledger=replace(PRIVATE.ledger, grant_micro=3_000_001)),
    ),
    Attack(
        "a run uses a grant under which something without a bound was released",
        "budget_of_the_grant_is_left",
        RefusalCode.BUDGET_SPENT,
        "more than any number would be spent",
        PRIVATE.but(ledger=replace(PRIVATE.ledger, grant_micro=None)),
    ),
    Attack(
        "a second grant is used to spend what the first has left of the dataset's budget",
        "budget_of_the_dataset_is_left",
        RefusalCode.BUDGET_SPENT,
        "[datasets.access-2026] has a budget of epsilon 5",
        PRIVATE.with_dataset_policy(epsilon_total=5.0).but(
            ledger=replace(PRIVATE.ledger, dataset_micro=5_000_001)
        ),
    ),
    Attack(
        "data has a budget of which nobody knows how much is left",
        "budget_of_the_dataset_is_left",
        RefusalCode.BUDGET_SPENT,
        "more than any number would be spent",
        PRIVATE.with_dataset_policy(epsilon_total=5.0).but(
            ledger=replace(PRIVATE.ledger, dataset_micro=None)
        ),
    ),
    Attack(
        "an older ledger was put back, in which the budget is not yet spent",
        "ledger_is_not_held",
        RefusalCode.LEDGER_HELD,
        "fedcore-owner ledger accept",
        PRIVATE.but(ledger=replace(PRIVATE.ledger, held="The counter knows entry 9.")),
    ),
    Attack(
        "a grant is used once more after an older ledger was put back",
        "ledger_is_not_held",
        RefusalCode.LEDGER_HELD,
        "The counter knows entry 9.",
        POOLED.but(ledger=replace(PRIVATE.ledger, held="The counter knows entry 9.")),
    ),
    Attack(
        "the coordinator holds back every receipt for the ledger",
        "ledger_is_confirmed",
        RefusalCode.LEDGER_HELD,
        "no peer has confirmed",
        REQUIRED.but(ledger=replace(PRIVATE.ledger, receipt_age=None)),
    ),
    Attack(
        "the coordinator has held back receipts for more than an hour",
        "ledger_is_confirmed",
        RefusalCode.LEDGER_HELD,
        "no peer has confirmed",
        REQUIRED.but(ledger=replace(PRIVATE.ledger, receipt_age=FRESH_SECONDS + 1)),
    ),
]
