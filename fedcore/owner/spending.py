"""What a run would book in the ledger: the mechanisms that keep its epsilon, or a release without a bound."""

from __future__ import annotations

from typing import Final

from fedcore.owner.phases import RELEASING
from fedcore.plugin_api.private_training import MOST_PASSES
from fedcore.privacy.mechanisms import Mechanism, Unbounded
from fedcore.privacy.planning import LocalPlan, local_plan
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Report, Spent, Status
from fedcore.wire.spec import Protocol, RunSpec

_DECIDED_ELSEWHERE: Final = frozenset({RefusalCode.CANCELLED, RefusalCode.GRANT_REVOKED})
_OF_NUMBERS: Final = frozenset({RefusalCode.OUT_OF_RANGE, RefusalCode.NOT_FINITE})
_OF_THE_GATE: Final = frozenset(
    {
        RefusalCode.TOO_FEW_ROWS,
        RefusalCode.RELEASE_REFUSED,
        RefusalCode.TOO_LARGE,
        RefusalCode.INTERNAL,
    }
)


def plan_of(spec: RunSpec, classes: int) -> LocalPlan | None:
    """The noise of a run with an epsilon, from its spec alone; None for a run that promises none."""
    epsilon = spec.privacy.epsilon_micro
    passes = min(spec.training.epochs, MOST_PASSES)
    return None if epsilon == "none" else local_plan(epsilon, spec.privacy.delta, passes, classes)


def mechanisms_of(spec: RunSpec, classes: int, unbounded: str) -> tuple[Mechanism, ...]:
    """What the run uses. `unbounded` is why its epsilon cannot be kept, as `PluginFacts` has it."""
    plan = None if unbounded else plan_of(spec, classes)
    return (Unbounded(),) if plan is None else plan.mechanisms


def spent_by(spec: RunSpec, plan: LocalPlan) -> Spent:
    """What the run's report says of its cost."""
    epsilon = spec.privacy.epsilon_micro
    if epsilon == "none":
        raise ValueError("A run without an epsilon spends none.")
    titles = tuple(mechanism.title for mechanism in (plan.training, plan.counts))
    return Spent(epsilon_micro=epsilon, delta=spec.privacy.delta, mechanisms=titles)


def tells_of_rows(spec: RunSpec, report: Report) -> bool:
    """Whether an answer depends on rows.

    Under an epsilon training that is done says nothing. Work that failed, or whose answer was not let out, may have
    failed for one row, and whoever asks could choose which; without an epsilon nothing bounds that anyway. But where
    rows leave as shares, that a number of them is too large is all that such an answer says, and counts as one.
    """
    if report.phase not in RELEASING:
        return False
    private = spec.privacy.epsilon_micro != "none"
    match report.status:
        case Status.DONE:
            return not private or report.phase is not Phase.TRAIN
        case Status.FAILED if spec.protocol is Protocol.SHARED and report.code in _OF_NUMBERS:
            return True
        case Status.FAILED:
            return private and report.code not in _DECIDED_ELSEWHERE
        case _:
            return private and report.code in _OF_THE_GATE
