"""Playing runs through, phase by phase: orders to all owners, their reports back."""

from __future__ import annotations

from fedcore.owner.agent import Agent
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Report, Status
from fedcore.wire.signing import Signed
from tests.owner.cast import Plan


def do(plan: Plan, agents: list[Agent], phase: Phase, **content: object) -> list[Report]:
    """Have every owner do a phase, one after the other; all must succeed."""
    orders = plan.orders(phase, **content)
    reports = [play(plan, agent, order) for agent, order in zip(agents, orders, strict=False)]
    assert [(report.status, report.code) for report in reports] == [(Status.DONE, None)] * len(reports)
    return reports


def play(plan: Plan, agent: Agent, order: Signed) -> Report:
    """Have one agent handle an order; its report, as the coordinator got it."""
    agent.handle(order)
    return plan.cast.coordinator.report_on(order)


def agree(plan: Plan, agents: list[Agent]) -> None:
    """The owners agree on the run's key."""
    do(plan, agents, Phase.CHECK)
    do(plan, agents, Phase.OFFER)
    do(plan, agents, Phase.SHARE, evidence=plan.said(Phase.OFFER))
    do(plan, agents, Phase.CONFIRM, evidence=plan.said(Phase.OFFER) + plan.said(Phase.SHARE))


def code_of(plan: Plan, agent: Agent, order: Signed) -> RefusalCode | None:
    """The code that an order ends with."""
    return play(plan, agent, order).code
