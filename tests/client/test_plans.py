"""Plans with an epsilon, and what is asked for when they are to be covered."""

from __future__ import annotations

from dataclasses import replace

from fedcore.client import RunPlan
from fedcore.client.asking import access_request
from fedcore.client.catalogue import Dataset
from fedcore.wire.spec import Privacy, Protocol, Training

from .conftest import dataset

DATASET = Dataset.of(dataset("north", "A" * 43))


def asked(*plans: RunPlan, **terms: object) -> Privacy:
    return access_request(DATASET, plans, "university", purpose="security-research", **terms).privacy  # type: ignore[arg-type]


def test_a_plan_with_an_epsilon_is_a_local_run_that_can_keep_it(plan: RunPlan) -> None:
    weighted = replace(plan, first_rows=500, training=Training(class_weights=(1.0, 4.0)))
    private = weighted.with_epsilon(1.5)
    assert (private.protocol, private.backend.name, private.first_rows) == (Protocol.LOCAL, "plaintext", None)
    assert private.privacy == Privacy(epsilon_micro=1_500_000, delta=1e-6)
    assert (private.training.optimiser.name, private.training.class_weights) == ("adam", (1.0, 4.0))


def test_a_request_asks_for_what_all_its_plans_cost_together(plan: RunPlan) -> None:
    assert asked(plan.with_epsilon(1), plan.with_epsilon(0.5)) == Privacy(epsilon_micro=1_500_000, delta=1e-6)
    assert asked(plan.with_epsilon(1), plan.with_epsilon(0.5), releases=4) == Privacy(
        epsilon_micro=3_500_000, delta=1e-6
    )
    assert asked(plan.with_epsilon(1), plan) == Privacy()
    mine = Privacy(epsilon_micro=7, delta=0.0)
    assert asked(plan, privacy=mine) == mine
