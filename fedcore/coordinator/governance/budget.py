"""What datasets have given so far, as the coordinator knows it: from grants and the runs that used them.

The ledger on the owner's host is what counts; this is for an overview.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from fedcore.coordinator.governance.limits import shown_epsilon
from fedcore.coordinator.governance.models import Dataset, Grant, Release


@dataclass
class Budget:
    """Sums over the grants of one dataset. What is open is what grants in force still allow; `open_unbounded` of them
    have no privacy limit."""

    dataset: Dataset
    grants: int = 0
    open_releases: int = 0
    open_micro: int = 0
    open_unbounded: int = 0
    bounded: int = 0
    unbounded: int = 0
    spent_micro: int = 0

    @property
    def spent(self) -> str:
        """The epsilon of all runs that promised one."""
        return shown_epsilon(self.spent_micro)

    @property
    def open_epsilon(self) -> str:
        """The epsilon that grants in force still allow."""
        return _("unbounded") if self.open_unbounded else shown_epsilon(self.open_micro)

    @property
    def is_used(self) -> bool:
        """Whether any grant or run is to be told of."""
        return bool(self.grants or self.bounded or self.unbounded)


def budgets_of(datasets: Iterable[Dataset], now: datetime) -> list[Budget]:
    """The budget of each of these datasets, in their order. Two queries, however many there are."""
    budgets = {dataset.pk: Budget(dataset) for dataset in datasets}
    releases = Release.objects.filter(grant__request__dataset__in=budgets).values_list(
        "grant__request__dataset", "grant", "epsilon_micro"
    )
    used: dict[str, list[object]] = {}
    for dataset, grant, epsilon in releases:
        _spend(budgets[dataset], epsilon)
        used.setdefault(grant, []).append(epsilon)
    in_force = Grant.objects.filter(request__dataset__in=budgets, revoked_at=None, expires_at__gt=now)
    for grant in in_force.select_related("request"):
        _allow(budgets[grant.request.dataset_id], grant, used)
    return list(budgets.values())


def _spend(budget: Budget, epsilon: object) -> None:
    if isinstance(epsilon, int):
        budget.bounded += 1
        budget.spent_micro += epsilon
    else:
        budget.unbounded += 1


def _allow(budget: Budget, grant: Grant, used: Mapping[str, list[object]]) -> None:
    booked = used.get(grant.pk, [])
    budget.grants += 1
    budget.open_releases += max(0, grant.releases - len(booked))
    if isinstance(grant.epsilon_micro, int):
        spent = sum(epsilon for epsilon in booked if isinstance(epsilon, int))
        budget.open_micro += max(0, grant.epsilon_micro - spent)
    else:
        budget.open_unbounded += 1
