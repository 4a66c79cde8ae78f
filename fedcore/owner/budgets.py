"""How much privacy a run, a grant and a dataset may cost: the least of what was asked, granted and allowed here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from fedcore.owner.config import Dataset
from fedcore.owner.facts import Refused
from fedcore.privacy.mechanisms import MICRO
from fedcore.wire.access import AccessRequest
from fedcore.wire.codes import RefusalCode
from fedcore.wire.spec import MicroEpsilon


@dataclass(frozen=True)
class Budget:
    """The most epsilon that may be spent, in millionths, at this delta."""

    epsilon_micro: int
    delta: float

    def covers(self, spent: int | None) -> bool:
        """Whether so much is within the budget; what has no bound (None) never is."""
        return spent is not None and spent <= self.epsilon_micro


@dataclass(frozen=True)
class Allowance:
    """What a run may use: how many runs its grant covers, and the budgets of grant and dataset where they have one."""

    runs: int
    grant: Budget | None = None
    dataset: Budget | None = None


def run_budget(request: AccessRequest, epsilon_micro: MicroEpsilon, offer: Dataset) -> Budget | None:
    """The most that one run may cost, or None where nobody sets a limit. `epsilon_micro` is what the grant covers."""
    epsilon = _least([epsilon_micro, in_micro(offer.epsilon)])
    return None if epsilon is None else Budget(epsilon, delta_of(request, offer))


def grant_budget(request: AccessRequest, epsilon_micro: MicroEpsilon, offer: Dataset) -> Budget | None:
    """The most that all runs of a grant may cost together. `epsilon_micro` is what the grant covers."""
    epsilon = _least([epsilon_micro])
    return None if epsilon is None else Budget(epsilon, delta_of(request, offer))


def dataset_budget(offer: Dataset) -> Budget | None:
    """The most that everything ever released of a dataset may cost together."""
    epsilon = _least([in_micro(offer.epsilon_total)])
    return None if epsilon is None else Budget(epsilon, offer.delta)


def count_budget(offer: Dataset) -> int | None:
    """What the noisy number of rows of one version of a dataset costs, in millionths; None where it is rounded."""
    return _least([in_micro(offer.count_epsilon)])


def overspent(subject: str, spent: int | None, budget: Budget) -> Refused:
    """The refusal of a run that would bring what is spent to `spent`."""
    total = "more than any number" if spent is None else f"{spent / MICRO:.6g}"
    return Refused(
        RefusalCode.BUDGET_SPENT,
        f"{subject} has a budget of epsilon {budget.epsilon_micro / MICRO:.6g} at delta {budget.delta:.2g}, and with "
        f"this run {total} would be spent. Lower the run's epsilon, or raise the budget.",
    )


def delta_of(request: AccessRequest, offer: Dataset) -> float:
    """The delta that belongs to an epsilon: what was asked for with it, and no more than the policy allows."""
    return offer.delta if request.privacy.epsilon_micro == "none" else min(offer.delta, request.privacy.delta)


def in_micro(epsilon: float | str) -> MicroEpsilon:
    """An epsilon of the policy in millionths, rounded down: it is a limit."""
    return "none" if isinstance(epsilon, str) else max(1, int(Fraction(str(epsilon)) * MICRO))


def _least(limits: Iterable[MicroEpsilon]) -> int | None:
    return min((limit for limit in limits if limit != "none"), default=None)
