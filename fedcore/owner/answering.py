"""Answering one order: decide, reserve, work, gate, store, journal, send. Each step is durable before the next."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import JsonValue

from fedcore.owner import agreement_phases, computing_phases, fitting_phases, sharing_phases
from fedcore.owner.booking import Booking
from fedcore.owner.coordinator_api import CoordinatorApi, CoordinatorRefused
from fedcore.owner.datasets import DatasetProblem
from fedcore.owner.deciding import Decided, Deciding
from fedcore.owner.evidence import Evidence
from fedcore.owner.facts import Refused
from fedcore.owner.grants import GrantStore
from fedcore.owner.held_grant import HeldGrant
from fedcore.owner.home import Home
from fedcore.owner.isolation import WorkFailed, refusal_of
from fedcore.owner.journal import EntryKind, Journal, JournalError
from fedcore.owner.ledger import LedgerError
from fedcore.owner.orders import Life, OrderStore, StoredOrder, report_of
from fedcore.owner.outbox import refusal_to_release
from fedcore.owner.phase_work import Carry, HostStopping, Means, Outcome, PhaseWork
from fedcore.owner.receipts import receipt_of
from fedcore.owner.release import is_reviewed, may_leave
from fedcore.owner.run_folder import RunFolder
from fedcore.owner.shards import Bell
from fedcore.owner.spool import OrderSpool, digest_of
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import ArtefactRef, Order, Phase
from fedcore.wire.reports import Report, Status
from fedcore.wire.signing import Signed

logger = logging.getLogger(__name__)

PHASES: Final[Mapping[Phase, Carry]] = {
    Phase.CHECK: computing_phases.check,
    Phase.OFFER: agreement_phases.offer,
    Phase.SHARE: agreement_phases.share,
    Phase.CONFIRM: agreement_phases.confirm,
    Phase.SUMMARISE: fitting_phases.summarise,
    Phase.SETTLE: fitting_phases.settle,
    Phase.PREPARE: computing_phases.prepare,
    Phase.DEAL: sharing_phases.deal,
    Phase.TRAIN: computing_phases.train,
    Phase.EVALUATE: computing_phases.evaluate,
    Phase.CLOSE: computing_phases.close,
}

_OVER: Final = frozenset({400, 403, 404, 409, 410, 422})
"""Answers of the coordinator after which sending the same bytes again is of no use."""


class GrantOver(Exception):
    """The grant of an answer was revoked, or expired, before all of it was sent."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.why)
        self.refused = refused


_REVOKED: Final = Refused(RefusalCode.GRANT_REVOKED, "The grant was revoked before the answer was sent.")
_EXPIRED: Final = Refused(RefusalCode.GRANT_EXPIRED, "The grant expired before the answer was sent.")


class Answering:
    """Answers the orders of one home. The caller lets only one order of a run in at a time."""

    def __init__(
        self,
        home: Home,
        api: CoordinatorApi,
        bell: Bell,
        store: OrderStore,
        grants: GrantStore,
        journal: Journal,
        deciding: Deciding,
        booking: Booking,
        stopping: threading.Event,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home, self._api, self._bell = home, api, bell
        self._store, self._grants, self._journal = store, grants, journal
        self._deciding, self._booking = deciding, booking
        self._stopping, self._clock = stopping, clock

    def answer(self, order: Order, signed: Signed) -> StoredOrder:
        """Decide and do what is allowed. The answer is stored or held when this returns, and nothing has left.

        Raises `HostStopping`, and `JournalError` or `LedgerError` where these cannot be written: then there is no
        answer.
        """
        started = time.perf_counter()
        self._journal.append(
            EntryKind.ORDER, {**_named(order), "signed": signed.digest, "signer": signed.signer}
        )
        decided = self._deciding.decide(order, signed.signer)
        refused = decided if isinstance(decided, Refused) else _refusal_in(decided)
        self._journal.append(
            EntryKind.DECISION,
            {**_named(order), "allowed": refused is None, **({} if refused is None else _reason(refused))},
        )
        if refused is not None or isinstance(decided, Refused):
            return self._store_failure(
                order, Status.REFUSED, refused.code if refused else RefusalCode.INTERNAL
            )
        try:
            outcome = self._reserved_outcome(order, decided)
        except (HostStopping, JournalError, LedgerError):
            raise
        except Exception as error:
            return self._failed(order, error)
        if isinstance(outcome, Refused):
            self._journal.append(EntryKind.DECISION, {**_named(order), "allowed": False, **_reason(outcome)})
            return self._store_failure(order, Status.REFUSED, outcome.code)
        seconds = _shown_seconds(decided, {**outcome.seconds, "phase": time.perf_counter() - started})
        return self._store_report(
            order,
            status=Status.DONE,
            held=outcome.held,
            result=outcome.result,
            artefacts=outcome.artefacts,
            seconds=seconds,
        )

    def send(self, stored: StoredOrder) -> None:
        """Send a stored answer: its artefacts, then the report. Nothing else is ever sent for this order.

        An answer whose grant was revoked or expired before it was sent is withdrawn, and a refusal sent in its place.
        Raises `CoordinatorAway`, `JournalError` and `LedgerError`, and `ValueError` for an answer that is not there or
        held.
        """
        try:
            self._send(stored)
        except GrantOver as over:
            if stored.life is Life.RELEASED:
                return  # It has left before, and does not leave again.
            self._send(self._withdrawn(stored, over.refused))

    def _send(self, stored: StoredOrder) -> None:
        report, go_on = report_of(stored), self._go_on(stored)
        if stored.life is Life.HELD:
            raise ValueError(f"The answer to order {stored.id} is held until a person releases it.")
        if stored.report is None or report is None:
            raise ValueError(f"Order {stored.id} has no answer yet.")
        go_on()
        if stored.life is Life.STORED:
            self._booking.note_release(stored)
            self._journal.append(
                EntryKind.RELEASE,
                {
                    "order": stored.id,
                    "run": stored.run,
                    "phase": stored.phase,
                    "status": report.status,
                    "code": report.code,
                    "report": stored.report.digest,
                    "artefacts": [ref.digest for ref in report.artefacts],
                },
            )
        try:
            self._upload(stored, report.artefacts, go_on)
            self._api.report(stored.report, go_on)
        except CoordinatorRefused as error:
            if error.status not in _OVER:
                raise
            logger.warning("The answer to order %s was not taken: %s", stored.id, error)
        self._store.release(stored.id)

    def _go_on(self, stored: StoredOrder) -> Callable[[], None]:
        """Raises `GrantOver` as soon as the answer may no longer leave. Refusals and the end of a run always may."""
        order = stored.signed.open(Order)
        held = None if order.grant is None else self._grants.find(order.grant.request.digest)
        needs_grant = stored.status is Status.DONE and order.phase is not Phase.CLOSE

        def go_on() -> None:
            if not needs_grant or held is None:
                return
            if self._grants.is_over(held.digest):
                raise GrantOver(_REVOKED)
            if _has_expired(held, self._clock()):
                raise GrantOver(_EXPIRED)

        return go_on

    def _withdrawn(self, stored: StoredOrder, refused: Refused) -> StoredOrder:
        order = stored.signed.open(Order)
        self._journal.append(EntryKind.DECISION, {**_named(order), "allowed": False, **_reason(refused)})
        report = self._report(order, status=Status.REFUSED, code=refused.code)
        OrderSpool(self._home.spool_directory(order.id)).delete()
        return self._store.withdraw(order.id, report.signed_by(self._home.signing_key))

    def _reserved_outcome(self, order: Order, decided: Decided) -> Outcome | Refused:
        # Booked first: a crash between the two leaves a run that is booked and decided on anew, for nothing more.
        refused = self._booking.reserve(decided.facts, decided.wanted)
        if refused is not None:
            return refused
        self._store.reserve(order.id)
        return self._outcome(order, decided)

    def _outcome(self, order: Order, decided: Decided) -> Outcome | Refused:
        work = self._work(order, decided)
        outcome = PHASES[order.phase](work)
        if order.phase is Phase.CLOSE:
            self._booking.settle(order.run)
        else:
            work.go_on()
        decision = may_leave(work, outcome)
        if isinstance(decision, Refused):
            return decision
        if order.phase is Phase.CLOSE:
            self._settle_accounts(order)
        return replace(outcome, held=is_reviewed(work))

    def _settle_accounts(self, order: Order) -> None:
        """At the end of a run: what is held will never leave, and the journal keeps the receipt of deletion."""
        for stored in self._store.held():
            if stored.run == order.run:
                report = refusal_to_release(stored, Status.FAILED, RefusalCode.CANCELLED, int(self._clock()))
                self._store.replace_held(stored.id, report.signed_by(self._home.signing_key), report.status)
        self._journal.append(EntryKind.EVENT, receipt_of(order, self._store.uploads(order.run)))

    def _work(self, order: Order, decided: Decided) -> PhaseWork:
        facts, governed = decided.facts, decided.governed
        members = facts.spec.members
        own = {
            stored.id: stored.report for stored in self._store.of_run(order.run) if stored.report is not None
        }
        means = Means(
            self._home,
            governed.policy,
            governed.registry,
            governed.datasets,
            self._store,
            self._grants,
            self._booking,
            self._api,
            self._bell,
            self._stopping,
        )
        return PhaseWork(
            means=means,
            order=order,
            spec=facts.spec,
            role=facts.role,
            host=facts.host,
            evidence=Evidence(order.run, order.evidence, members, facts.host, own),
            folder=RunFolder(self._home.run_directory(order.run)),
            spool=OrderSpool(self._home.spool_directory(order.id)),
            key_is_agreed=facts.key_is_agreed,
        )

    def _failed(self, order: Order, error: Exception) -> StoredOrder:
        code = error.code if isinstance(error, DatasetProblem) else refusal_of(error)
        if code is RefusalCode.STEP_FAILED and not isinstance(error, WorkFailed):
            # The steps run in workers; whatever is unexpected here is the agent's own.
            code = RefusalCode.INTERNAL
        logger.error("Order %s (%s) failed with %s", order.id, order.phase, code, exc_info=error)
        self._journal.append(
            EntryKind.EVENT, {**_named(order), "failed": code.value, "why": str(error)[:2000]}
        )
        return self._store_failure(order, Status.FAILED, code)

    def _store_failure(self, order: Order, status: Status, code: RefusalCode) -> StoredOrder:
        return self._store_report(order, status=status, code=code)

    def _store_report(self, order: Order, status: Status, held: bool = False, **content: Any) -> StoredOrder:
        report = self._report(order, status=status, **content)
        if held:
            self._journal.append(EntryKind.EVENT, {**_named(order), "held": "until a person releases it"})
        stored = self._store.store(order.id, report.signed_by(self._home.signing_key), status, held)
        spool = OrderSpool(self._home.spool_directory(order.id))
        if status is not Status.DONE or not report.artefacts:
            spool.delete()
        elif spool.directory.exists():
            spool.forget_inputs()
            spool.forget_tasks()
        return stored

    def _report(self, order: Order, **content: Any) -> Report:
        named = {name: getattr(order, name) for name in ("run", "phase", "step", "round")}
        return Report(order=order.id, finished_at=int(self._clock()), **named, **content)

    def _upload(
        self, stored: StoredOrder, artefacts: tuple[ArtefactRef, ...], go_on: Callable[[], None]
    ) -> None:
        spool = OrderSpool(self._home.spool_directory(stored.id))
        for ref in artefacts:
            path = spool.artefacts / ref.digest
            if not path.exists() or digest_of(path) != ref.digest:
                logger.warning(
                    "Artefact %s of order %s is no longer here: the run is over.", ref.digest, stored.id
                )
                return
            self._api.upload(stored.id, ref, path, go_on)
            self._store.note_upload(stored.id, ref.digest)


def _has_expired(held: HeldGrant, now: float) -> bool:
    return now >= held.limits.expires_at


def _shown_seconds(decided: Decided, seconds: Mapping[str, float]) -> dict[str, float]:
    """What the report says of time. It depends on rows, so in a run with an epsilon it says nothing."""
    if decided.facts.spec.privacy.epsilon_micro != "none":
        return {}
    return {stage: round(taken, 6) for stage, taken in seconds.items()}


def _refusal_in(decided: Decided) -> Refused | None:
    return decided.decision if isinstance(decided.decision, Refused) else None


def _named(order: Order) -> dict[str, JsonValue]:
    return {
        "order": order.id,
        "run": order.run,
        "phase": order.phase.value,
        "step": order.step,
        "round": order.round,
        "scientist": order.spec.signer,
    }


def _reason(refused: Refused) -> dict[str, JsonValue]:
    return {"code": refused.code.value, "why": refused.why[:2000]}
