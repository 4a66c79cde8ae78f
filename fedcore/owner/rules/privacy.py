"""Rules on what a run may cost in privacy, from the facts of the ledger: is it bounded, within its limits, and left?"""

from __future__ import annotations

from typing import Final

from fedcore.owner.budgets import Budget, dataset_budget, delta_of, grant_budget, overspent, run_budget
from fedcore.owner.facts import Allowed, Decision
from fedcore.owner.rules.case import OwnerWork, require
from fedcore.privacy.mechanisms import MICRO
from fedcore.wire.codes import RefusalCode

FRESH_SECONDS: Final = 3600
"""How long a peer's receipt shows that the ledger is current."""


def ledger_is_not_held(work: OwnerWork) -> Decision:
    return require(
        not work.facts.ledger.held,
        RefusalCode.LEDGER_HELD,
        f"The privacy ledger is held. {work.facts.ledger.held} See `fedcore-owner ledger show`, and decide with "
        "`fedcore-owner ledger accept`.",
    )


def privacy_limit_is_kept(work: OwnerWork) -> Decision:
    limited = _limit(work) or dataset_budget(work.offer)
    return require(
        limited is None or _promises(work),
        RefusalCode.EPSILON_NOT_ALLOWED,
        f"The request, the grant or {work.subject} sets an epsilon, and the run promises none. Submit a run with an "
        "epsilon.",
    )


def epsilon_is_within_its_limits(work: OwnerWork) -> Decision:
    """Noise stands in for minimum numbers of rows, so how much of it there must be is never the scientist's choice."""
    asked, limit = work.facts.spec.privacy.epsilon_micro, _limit(work)
    allowed = "no number" if limit is None else _shown(limit.epsilon_micro)
    return require(
        asked == "none" or (limit is not None and asked <= limit.epsilon_micro),
        RefusalCode.EPSILON_NOT_ALLOWED,
        f"The run asks for epsilon {_shown(asked)}, and request, grant and {work.subject} allow a run {allowed}. "
        "Submit it with less, or grant an epsilon.",
    )


def delta_is_within_its_limits(work: OwnerWork) -> Decision:
    delta, allowed = work.facts.spec.privacy.delta, delta_of(work.request, work.offer)
    return require(
        not _promises(work) or delta <= allowed,
        RefusalCode.EPSILON_NOT_ALLOWED,
        f"The run asks for delta {delta:.2g}, and request and {work.subject} allow {allowed:.2g}. Submit it with less.",
    )


def epsilon_is_kept_by_bounded_mechanisms(work: OwnerWork) -> Decision:
    """A number for epsilon is only ever booked for what has a proof."""
    return require(
        not _promises(work) or not work.plugins.unbounded,
        RefusalCode.EPSILON_NOT_ALLOWED,
        f"Nothing bounds what this run tells of a row: {work.plugins.unbounded}. Submit it so, or with epsilon none "
        "where the limits allow that.",
    )


def ledger_is_confirmed(work: OwnerWork) -> Decision:
    """Where the policy requires it, a peer must have said lately that no later ledger of this host is known."""
    age = work.facts.ledger.receipt_age
    return require(
        work.policy.ledger.receipts != "required"
        or not _promises(work)
        or (age is not None and age <= FRESH_SECONDS),
        RefusalCode.LEDGER_HELD,
        "[ledger] receipts are required, and no peer has confirmed within the hour that this ledger is current. Wait "
        'until a peer\'s host is up, or set receipts = "when_available".',
    )


def budget_of_the_grant_is_left(work: OwnerWork) -> Decision:
    budget = grant_budget(work.request, work.limits.epsilon_micro, work.offer)
    spent = work.facts.ledger.grant_micro
    return Allowed() if budget is None or budget.covers(spent) else overspent("The grant", spent, budget)


def budget_of_the_dataset_is_left(work: OwnerWork) -> Decision:
    budget, spent = dataset_budget(work.offer), work.facts.ledger.dataset_micro
    return Allowed() if budget is None or budget.covers(spent) else overspent(work.subject, spent, budget)


def _limit(work: OwnerWork) -> Budget | None:
    """The most that the run itself may cost."""
    return run_budget(work.request, work.limits.epsilon_micro, work.offer)


def _promises(work: OwnerWork) -> bool:
    return work.facts.spec.privacy.epsilon_micro != "none"


def _shown(epsilon: int | str) -> str:
    return str(epsilon) if isinstance(epsilon, str) else f"{epsilon / MICRO:.6g}"
