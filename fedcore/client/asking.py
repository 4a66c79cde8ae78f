"""What a scientist asks for: the access request that covers some plans."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fedcore.client.catalogue import Dataset
from fedcore.client.runs import RunPlan, new_nonce
from fedcore.wire.access import AccessRequest
from fedcore.wire.spec import Privacy


def access_request(
    dataset: Dataset,
    plans: Sequence[RunPlan],
    organisation: str,
    *,
    purpose: str,
    reason: str = "",
    releases: int | None = None,
    days: int = 30,
    minimum_owners: int = 1,
    download: bool = False,
    privacy: Privacy | None = None,
    replaces: str | None = None,
) -> AccessRequest:
    """The request that covers these plans on one dataset: the union of what they need, and no more."""
    now = int(time.time())
    pipelines = {plan.pipeline.digest: plan.pipeline for plan in plans}
    return AccessRequest(
        dataset=dataset.reference,
        purpose=purpose,
        reason=reason,
        organisation=organisation,
        pipelines=tuple(pipelines.values()),
        protocols=_distinct(plan.protocol for plan in plans),
        backends=_distinct(plan.backend.name for plan in plans),
        models=_distinct(plan.model.name for plan in plans),
        privacy=privacy or _cost_of(plans, releases or len(plans)),
        releases=releases or len(plans),
        minimum_owners=minimum_owners,
        download=download,
        expires_at=now + days * 24 * 3600,
        replaces=replaces,
        nonce=new_nonce(),
    )


def _cost_of(plans: Sequence[RunPlan], releases: int) -> Privacy:
    """The sum of the epsilons of so many runs, each plan once and then the dearest; none where one promises none."""
    costs = [plan.privacy.epsilon_micro for plan in plans]
    known = [cost for cost in costs if cost != "none"]
    if len(known) < len(costs):
        return Privacy()
    more = max(0, releases - len(plans)) * max(known)
    return Privacy(epsilon_micro=sum(known) + more, delta=max(plan.privacy.delta for plan in plans))


def distinct_by(plans: Iterable[RunPlan], part: Callable[[RunPlan], Any]) -> tuple[Any, ...]:
    """The distinct values of a part of the plans, each once, in their order."""
    return tuple({part(plan).model_dump_json(): part(plan) for plan in plans}.values())


def _distinct(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))
