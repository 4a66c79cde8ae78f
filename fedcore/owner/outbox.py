"""The outbox: answers that depend on rows and wait on this host until a person has looked at them.

With `release = "review"` in `[datasets.…]` the gate lets nothing pass by itself. What waits is final: released, it
leaves byte for byte as it was shown; refused, it never leaves, and the coordinator gets a code. The commands run
beside the agent, on the same database; the agent sends what was let go.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fedcore.owner.config import Config
from fedcore.owner.grants import this_user
from fedcore.owner.home import Home, HomeError
from fedcore.owner.journal import EntryKind, Journal
from fedcore.owner.orders import Life, OrderStore, StoredOrder, report_of
from fedcore.owner.spool import OrderSpool
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import Message
from fedcore.wire.orders import ArtefactRef, Order
from fedcore.wire.reports import Evaluated, Prepared, Report, Status, Trained
from fedcore.wire.spec import RunSpec


@dataclass(frozen=True)
class Waiting:
    """One answer that waits, with the order and the run spec that asked for it."""

    stored: StoredOrder
    order: Order
    spec: RunSpec
    report: Report

    @property
    def size(self) -> int:
        return sum(ref.size for ref in self.report.artefacts)


class Outbox:
    """The answers of one home that wait for a person."""

    def __init__(self, home: Home, store: OrderStore, clock: Callable[[], float] = time.time) -> None:
        self._home, self._store, self._clock = home, store, clock

    def waiting(self) -> list[Waiting]:
        """All that waits, oldest first."""
        return [_waiting(stored) for stored in self._store.held()]

    def find(self, digits: str) -> Waiting:
        """The answer to the order whose id begins with these digits. Raises `HomeError`."""
        found = [waiting for waiting in self.waiting() if waiting.stored.id.startswith(digits.lower())]
        if not digits or len(found) != 1:
            raise HomeError(
                f"{len(found) if digits else 0} answers that wait here begin with {digits!r}. Give the id of one "
                "order, or more of its digits; `fedcore-owner outbox list` shows them."
            )
        return found[0]

    def release(self, waiting: Waiting) -> None:
        """Let the answer leave as it is. Raises `HomeError` where its time is over or it no longer waits."""
        deadline = waiting.spec.deadline
        if self._clock() >= deadline:
            raise HomeError(
                f"The run's deadline was {shown_time(deadline)}: its answer is of no use any more. Refuse it."
            )
        self._note(waiting, {"released": True})
        if not self._store.let_go(waiting.stored.id):
            raise _no_longer(waiting)

    def refuse(self, waiting: Waiting, reason: str) -> None:
        """Have the coordinator told that the release was refused; `reason` stays in this host's journal."""
        self._note(waiting, {"released": False, "reason": reason[:2000]})
        report = refusal_to_release(
            waiting.stored, Status.REFUSED, RefusalCode.RELEASE_REFUSED, int(self._clock())
        )
        signed = report.signed_by(self._home.signing_key)
        if not self._store.replace_held(waiting.stored.id, signed, report.status):
            raise _no_longer(waiting)
        OrderSpool(self._home.spool_directory(waiting.stored.id)).delete()

    def _note(self, waiting: Waiting, decision: dict[str, bool | str]) -> None:
        stored = waiting.stored
        known = {"order": stored.id, "run": stored.run, "phase": stored.phase.value, "by": this_user()}
        report = "" if stored.report is None else stored.report.digest
        with Journal(self._home.journal_path) as journal:
            journal.append(EntryKind.DECISION, {**known, "report": report, **decision})


def refusal_to_release(stored: StoredOrder, status: Status, code: RefusalCode, now: int) -> Report:
    """The answer that takes the place of one that is held and will not leave."""
    order = stored.signed.open(Order)
    return Report(
        order=order.id,
        run=order.run,
        phase=order.phase,
        step=order.step,
        round=order.round,
        status=status,
        code=code,
        finished_at=now,
    )


def described(waiting: Waiting, policy: Config) -> Iterator[tuple[str, str]]:
    """What would leave, line by line, in plain words."""
    report, spec, order = waiting.report, waiting.spec, waiting.order
    scientist = policy.scientist(order.spec.signer)
    yield "order", waiting.stored.id
    yield "run", f"{waiting.stored.run} ({spec.title})"
    yield "asked by", scientist.name if scientist else order.spec.signer
    yield "purpose", spec.purpose
    yield "phase", f"{report.phase} under protocol {spec.protocol}, backend {spec.backend.name}"
    yield "answer until", shown_time(min(order.expires_at, spec.deadline))
    if report.result is not None:
        yield from _result_lines(report.result)
    for ref in report.artefacts:
        yield f"{ref.role}, part {ref.part}", _artefact_line(ref, policy)
    if waiting.stored.report is not None:
        yield "SHA-256 of the answer", waiting.stored.report.digest


def shown_time(moment: int) -> str:
    """A moment in this machine's time zone."""
    return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(moment))


def _result_lines(result: Message) -> Iterator[tuple[str, str]]:
    match result:
        case Prepared():
            yield "rows", f"{result.rows} rows of {result.columns} columns, with their classes"
        case Trained():
            yield "rows", f"about {result.rows}"
            if (curve := result.curve) is not None:
                ends = f", from {curve.loss[0]:.4g} to {curve.loss[-1]:.4g}" if curve.loss else ""
                yield "curve of loss", f"{len(curve.loss)} points, each over {curve.every} steps{ends}"
        case Evaluated():
            yield "rows", f"{result.rows} held-out rows"
            for number, row in enumerate(result.confusion):
                yield f"class {number}", f"{sum(row)} rows, predicted as {', '.join(map(str, row))}"
            yield "histograms", _histogram_line(result)
        case _:
            yield "content", f"{type(result).__name__}: sealed to the other owners of the run"


def _histogram_line(result: Evaluated) -> str:
    counts = [count for scores in result.histograms for bins in scores for count in bins if count]
    single = sum(count == 1 for count in counts)
    return f"{len(counts)} bins of scores are filled, {single} of them by a single row"


def _artefact_line(ref: ArtefactRef, policy: Config) -> str:
    peer = None if ref.audience is None else policy.peer(ref.audience)
    audience = (
        "for the coordinator" if ref.audience is None else f"sealed to {peer.name if peer else ref.audience}"
    )
    return f"{ref.size} bytes, {audience}, SHA-256 {ref.digest}"


def _waiting(stored: StoredOrder) -> Waiting:
    order, report = stored.signed.open(Order), report_of(stored)
    if report is None or stored.life is not Life.HELD:
        raise HomeError(f"Order {stored.id} has no answer that waits.")
    return Waiting(stored, order, order.spec.open(RunSpec), report)


def _no_longer(waiting: Waiting) -> HomeError:
    return HomeError(
        f"Order {waiting.stored.id} no longer waits: its run has ended, or somebody else decided."
    )
