"""What a run would book in the ledger: the mechanisms that keep its epsilon, or a release without a bound."""

from __future__ import annotations

from fedcore.owner.phases import RELEASING
from fedcore.plugin_api.private_training import MOST_PASSES
from fedcore.privacy.mechanisms import Mechanism, Unbounded
from fedcore.privacy.planning import LocalPlan, local_plan
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Spent
from fedcore.wire.spec import RunSpec


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


def tells_of_rows(spec: RunSpec, phase: Phase) -> bool:
    """Whether the answer to an order of this phase depends on rows. Under an epsilon training says nothing."""
    return phase in RELEASING and (spec.privacy.epsilon_micro == "none" or phase is not Phase.TRAIN)
