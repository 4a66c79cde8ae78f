"""Booking a run in the privacy ledger: what it would cost, reserving it, and settling it when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from fedcore.owner.budgets import Allowance, count_budget, dataset_budget, grant_budget
from fedcore.owner.config import Dataset
from fedcore.owner.datasets import DatasetProblem, Datasets
from fedcore.owner.facts import DatasetFacts, Facts, GrantFacts, LedgerFacts, PluginFacts, Refused, Role
from fedcore.owner.ledger import Ledger, LedgerError, Reservation
from fedcore.owner.orders import OrderStore, StoredOrder, report_of
from fedcore.owner.phases import RELEASING
from fedcore.owner.rules.case import covered_runs, granted_limits
from fedcore.owner.spending import mechanisms_of, tells_of_rows
from fedcore.privacy.mechanisms import Rows
from fedcore.privacy.planning import count_noise
from fedcore.privacy.randomness import Randomness
from fedcore.privacy.sampling import discrete_laplace
from fedcore.wire.access import AccessRequest
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import Order
from fedcore.wire.reports import Status
from fedcore.wire.spec import RunSpec


@dataclass(frozen=True)
class Wanted:
    """What a run would book, and the limits that it must keep."""

    reservation: Reservation
    allowed: Allowance


def wanted_by(
    order: Order,
    request: AccessRequest,
    held: GrantFacts,
    offer: Dataset,
    dataset: DatasetFacts,
    plugins: PluginFacts,
    split: str,
) -> Wanted | None:
    """What the run of this order would book at its owner; None where the order has no grant or is of no dataset."""
    spec, grant = order.spec.open(RunSpec), order.grant
    named = spec.dataset_of(order.audience)
    if grant is None or named is None:
        return None
    granted = granted_limits(request, grant, held)
    mechanisms = mechanisms_of(spec, dataset.classes, plugins.unbounded)
    return Wanted(
        Reservation(order.run, grant.request.digest, named.name, mechanisms, split),
        Allowance(
            covered_runs(granted, offer),
            grant_budget(request, granted.epsilon_micro, offer),
            dataset_budget(offer),
        ),
    )


class Booking:
    """Books the runs of one home in its ledger. `confirmed_at` says when a peer last confirmed that it is current."""

    def __init__(
        self,
        ledger: Ledger,
        store: OrderStore,
        confirmed_at: Callable[[], float | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger, self._store = ledger, store
        self._confirmed_at, self._clock = confirmed_at, clock

    def looked_up(self, facts: Facts, wanted: Wanted | None) -> tuple[LedgerFacts, int, bool]:
        """What the ledger says of a run, how many other runs of the grant are booked, and whether this one is."""
        confirmed, now = self._confirmed_at(), self._clock()
        # A moment that is still to come was noted before the clock was set back: nobody knows how old it is.
        age = None if confirmed is None or confirmed > now else int(now - confirmed)
        try:
            held = self._ledger.held() or ""
            if wanted is None:
                return LedgerFacts(held, age), 0, False
            balance = self._ledger.balance(wanted.reservation, wanted.allowed)
        except LedgerError as error:
            return LedgerFacts(held=str(error)), 0, False
        found = LedgerFacts(held, age, balance.grant_micro, balance.dataset_micro)
        return found, balance.runs, balance.counted

    def shown_rows(self, datasets: Datasets, offer: Dataset, name: str, now: DatasetFacts) -> int:
        """How many rows may be said to be in a dataset: rounded, or with noise that is drawn once and booked.

        Raises `DatasetProblem` where the budget does not cover the noisy number, or the ledger is held.
        """
        epsilon = count_budget(offer)
        if epsilon is None:
            return datasets.rounded_rows(name, now)
        noise = count_noise(epsilon, 1, Rows.ALL)
        version = Reservation(f"{name}/{now.version}", "", name, (noise,), datasets.split(name))

        def draw() -> int:
            return max(0, now.rows + discrete_laplace(noise.scale, Randomness()))

        try:
            found = self._ledger.count(version, dataset_budget(offer), draw)
        except LedgerError as error:
            raise DatasetProblem(name, RefusalCode.STORAGE_FAILED, str(error)) from error
        if isinstance(found, Refused):
            raise DatasetProblem(name, found.code, found.why)
        return found

    def reserve(self, facts: Facts, wanted: Wanted | None) -> Refused | None:
        """Book the run with its first order that lets something leave. Raises `LedgerError`."""
        if facts.role is not Role.OWNER or facts.order.phase not in RELEASING:
            return None
        if wanted is None:
            raise LedgerError(f"Run {facts.order.run} has nothing to be booked under.")
        return self._ledger.reserve(wanted.reservation, wanted.allowed)

    def note_release(self, stored: StoredOrder) -> None:
        """Note a stored answer that tells something of rows, before it leaves. Raises `LedgerError`."""
        report = report_of(stored)
        if report is None or stored.report is None:
            return
        order = stored.signed.open(Order)
        try:
            spec = order.spec.open(RunSpec)
        except WireError:
            if report.status is Status.DONE:
                raise
            return  # Refused for its spec, which was forged: no row was looked at.
        if spec.dataset_of(order.audience) is None or not tells_of_rows(spec, report):
            return
        if report.status is Status.DONE or self._ledger.is_booked(stored.run):
            self._ledger.release(stored.run, stored.id, stored.report.digest)

    def settle(self, run: str) -> bool:
        """The run is over: what was stored counts, and a run without any answer is given back. Raises `LedgerError`."""
        for stored in self._store.of_run(run):
            self.note_release(stored)
        return self._ledger.settle(run)
