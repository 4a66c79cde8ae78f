"""What a report says of privacy fits what the scientist signed: nobody passes exact counts off as bounded ones."""

from __future__ import annotations

from typing import Any

import pytest

from fedcore.wire.orders import Phase
from fedcore.wire.spec import Privacy, Protocol

HALF = Privacy(epsilon_micro=500_000, delta=1e-6)


def result_at(world: Any, phase: Phase, privacy: Privacy) -> tuple[Any, Any]:
    """North's order of a local run with this privacy, and what north would answer."""
    run = world.at(world.submit(Protocol.LOCAL, privacy=privacy), phase)
    [order] = [order for order in world.north.orders(after=0) if (order.run, order.phase) == (run.pk, phase)]
    return order, world.north.do(order)[0]


def refusal(world: Any, order: Any, result: Any) -> tuple[int, str]:
    answer = world.north.answer(order, result)
    return answer.status_code, answer.json()["detail"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"epsilon_micro": 500_001}, "cost more privacy than the run may"),
        ({"delta": 2e-6}, "cost more privacy than the run may"),
        (None, "have a cost where the run has an epsilon"),
    ],
)
def test_counts_of_a_run_with_an_epsilon_cost_at_most_that(
    world: Any, changes: dict[str, Any] | None, why: str
) -> None:
    order, good = result_at(world, Phase.EVALUATE, HALF)
    spent = None if changes is None else good.spent.model_copy(update=changes)
    status, detail = refusal(world, order, good.model_copy(update={"spent": spent}))
    assert status == 422
    assert why in detail
    assert world.north.answer(order, good).status_code == 200


def test_counts_of_a_run_without_an_epsilon_are_not_called_bounded(world: Any) -> None:
    _, bounded = result_at(world, Phase.EVALUATE, HALF)
    order, good = result_at(world, Phase.EVALUATE, Privacy())
    status, detail = refusal(world, order, good.model_copy(update={"spent": bounded.spent}))
    assert status == 422
    assert "have a cost where the run has an epsilon" in detail
    assert world.north.answer(order, good).status_code == 200


def test_a_training_with_an_epsilon_says_nothing_about_rows(world: Any) -> None:
    _, telling = result_at(world, Phase.TRAIN, Privacy())
    order, silent = result_at(world, Phase.TRAIN, HALF)
    for bad in (
        silent.model_copy(update={"rows": 40}),
        silent.model_copy(update={"curve": telling.curve}),
    ):
        status, detail = refusal(world, order, bad)
        assert status == 422
        assert "says nothing about rows" in detail
    assert world.north.answer(order, silent).status_code == 200


def test_a_training_without_an_epsilon_has_a_curve(world: Any) -> None:
    order, good = result_at(world, Phase.TRAIN, Privacy())
    status, detail = refusal(world, order, good.model_copy(update={"curve": None}))
    assert status == 422
    assert "has a curve" in detail
    assert world.north.answer(order, good).status_code == 200
