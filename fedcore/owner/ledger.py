"""The privacy ledger: what every run has cost, booked before it is released, and never booked twice.

A run is booked in three steps, each one transaction on the disk before the next thing happens:

* **reserve** checks all budgets and books the run's whole cost and one of its grant's releases. From here on it counts.
* **release** notes the digest of a stored answer, before the first of its bytes leaves the host.
* **settle**, when the run is closed, gives back what was reserved for a run of which no answer was ever stored that
  could tell something of rows.

Every step may be repeated: a crash between two of them loses nothing and charges nothing twice. Several processes
cannot overspend, since a budget is checked and booked in one transaction. Epsilon is counted in millionths.

What holds against a copy of the file that is put back later: the counter kept elsewhere, and what other hosts have
seen of this ledger (`fedcore.owner.witnessing`). Where one of them knows an entry that is not here, the ledger is
*held*, and reserves and gives back nothing, until a person accepts the loss with a reason.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self

from fedcore.owner.budgets import Allowance, Budget, overspent
from fedcore.owner.chain import ACCEPTED, Chain, ChainBroken, Entry, Head, given_up
from fedcore.owner.facts import Refused
from fedcore.owner.home import Home
from fedcore.owner.ledger_counter import Counter, CounterError
from fedcore.privacy.accounting import Booked, epsilon_of
from fedcore.privacy.mechanisms import MICRO, Mechanism, Stated, from_json, to_json
from fedcore.wire.codes import RefusalCode

RESERVED: Final = "reserved"
RELEASED: Final = "released"
RETURNED: Final = "returned"
COUNTED: Final = "counted"

_HEADS: Final = """
CREATE TABLE IF NOT EXISTS known_heads (
    source TEXT NOT NULL,
    serial INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (source, serial, digest)
) STRICT;
"""


class LedgerError(Exception):
    """The ledger cannot be used, or a step has no place in it. Nothing may leave the host."""


@dataclass(frozen=True)
class Reservation:
    """A run, what it counts against, and the mechanisms that it uses under this split of the rows."""

    run: str
    grant: str
    dataset: str
    mechanisms: tuple[Mechanism, ...]
    split: str


@dataclass(frozen=True)
class Balance:
    """What is spent once a run is booked: the grant's other runs, and epsilon in millionths (None: without a bound).

    `counted` says that the run is booked already.
    """

    runs: int
    counted: bool
    grant_micro: int | None
    dataset_micro: int | None


class Ledger:
    """The ledger of one host, in one SQLite file of mode 0600, with its counter elsewhere."""

    def __init__(self, path: Path, counter: Counter, clock: Callable[[], float] = time.time) -> None:
        """Open the ledger, or begin one. A chain that does not hold is opened too, and held. Raises `LedgerError`."""
        self.path, self._counter, self._clock = path, counter, clock
        self._broken = ""
        with _as_ledger_errors(path):
            self.chain = Chain(path)
            with self.chain.transaction() as database:
                database.execute(_HEADS)
            if self.chain.head().serial == 0 and counter.read() is None:
                counter.advance(self.chain.head())
            try:
                self.chain.verify()
            except ChainBroken as error:
                self._broken = f"{error} The file was altered outside fedcore: restore it from a backup."

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self.chain.close()

    # -- the three steps of a run

    def reserve(self, wanted: Reservation, allowed: Allowance) -> Refused | None:
        """Book the run, or say why not. A run that is booked already is not booked again. Raises `LedgerError`."""
        with self._step():
            if self._reserved(wanted.run) is not None:
                return None
            refused = self._shortage(wanted, allowed)
            if refused is None:
                self.chain.append(
                    int(self._clock()), RESERVED, wanted.run, _content(wanted), wanted.grant, wanted.dataset
                )
            return refused

    def release(self, run: str, order: str, digest: str) -> None:
        """Note the answer to an order, by its digest, before it leaves. The same answer again changes nothing.

        Raises `LedgerError` where the run is not reserved, or another answer to the order was noted.
        """
        with self._step():
            known = self.chain.find(RELEASED, order)
            if known is not None and known.said["answer"] == digest:
                return
            reserved = self._reserved(run)
            if reserved is None or known is not None:
                raise LedgerError(
                    f"Order {order} must not be answered: "
                    + ("its run is not reserved." if known is None else "another answer was released before.")
                )
            content = {"run": run, "answer": digest}
            self.chain.append(int(self._clock()), RELEASED, order, content, reserved.grant, reserved.dataset)

    def settle(self, run: str) -> bool:
        """Give back what was reserved for a run that ended without an answer; whether it was. Raises `LedgerError`.

        While the ledger is held, and where entries that came later were lost, it is not known whether there was one.
        """
        with self._step():
            reserved = self._reserved(run)
            lost = any(reserved and entry.serial > reserved.serial for entry in self.chain.of(ACCEPTED))
            if reserved is None or lost or self.held() is not None:
                return False
            released = self.chain.of(RELEASED, reserved.grant, reserved.dataset)
            if any(entry.said["run"] == run for entry in released):
                return False
            self.chain.append(int(self._clock()), RETURNED, run, {}, reserved.grant, reserved.dataset)
            return True

    def count(self, wanted: Reservation, budget: Budget | None, draw: Callable[[], int]) -> int | Refused:
        """The noisy number of rows of one version of a dataset (`wanted.run`): drawn and booked once, then kept.

        Raises `LedgerError`.
        """
        with self._step():
            known = self.chain.find(COUNTED, wanted.run)
            if known is None:
                refused = self._held_refusal() or self._over_dataset(wanted, budget)
                if refused is not None:
                    return refused
                content = _content(wanted) | {"rows": draw()}
                known = self.chain.append(
                    int(self._clock()), COUNTED, wanted.run, content, dataset=wanted.dataset
                )
            return int(known.said["rows"])

    # -- what is spent

    def is_booked(self, run: str) -> bool:
        """Whether a run is reserved, and not given back. Raises `LedgerError`."""
        with _as_ledger_errors(self.path):
            return self._reserved(run) is not None

    def balance(self, wanted: Reservation, allowed: Allowance) -> Balance:
        """What is spent once `wanted` is booked. Epsilon is only worked out where a budget limits it."""
        with _as_ledger_errors(self.path):
            return Balance(
                runs=self._runs(wanted),
                counted=self._reserved(wanted.run) is not None,
                grant_micro=_cost(self._with(wanted, grant=wanted.grant), allowed.grant),
                dataset_micro=_cost(self._with(wanted, dataset=wanted.dataset), allowed.dataset),
            )

    def booked(self, grant: str | None = None, dataset: str | None = None) -> list[Entry]:
        """What counts against a grant or a dataset: reserved runs that were not given back, and noisy row counts."""
        returned = {entry.subject for entry in self.chain.of(RETURNED, grant, dataset)}
        runs = [entry for entry in self.chain.of(RESERVED, grant, dataset) if entry.subject not in returned]
        return runs if dataset is None else [*runs, *self.chain.of(COUNTED, dataset=dataset)]

    def spent(self, delta: float, grant: str | None = None, dataset: str | None = None) -> int | None:
        """The epsilon that a grant or a dataset has cost up to now, in millionths; None without a bound."""
        with _as_ledger_errors(self.path):
            return epsilon_of(self._parts(grant, dataset), delta)

    # -- held

    def held(self) -> str | None:
        """Why the ledger reserves nothing, or None: an altered chain, or known entries that it does not have."""
        if self._broken:
            return self._broken
        with _as_ledger_errors(self.path):
            last = self.chain.head()
            if self._counter.read() is None and last.serial:
                return f"Its counter {self._counter.path} is missing: nothing shows whether this copy is current."
            for source, head in self._unknown():
                return (
                    f"{source} knows entry {head.serial} with digest {head.digest}, and this ledger, which ends at "
                    f"{last.serial}, does not have it: an older copy was put back."
                )
        return None

    def note_head(self, source: str, head: Head) -> None:
        """Remember what somebody else has seen of this ledger, signed by this host itself. Raises `LedgerError`."""
        with _as_ledger_errors(self.path), self.chain.transaction() as database:
            database.execute("INSERT OR IGNORE INTO known_heads VALUES (?, ?, ?)", (source, *head))

    def accept(self, reason: str, spent: Mapping[str, int]) -> Entry:
        """Go on although entries are lost: a person says why, and what they cost (by dataset, in millionths).

        The lost serials stay empty for ever. Raises `LedgerError` where the ledger is not held, or the chain broken.
        """
        if self._broken or self.held() is None:
            raise LedgerError(self._broken or "The ledger is not held: there is nothing to accept.")
        with self._step():
            lost, last = [head for _, head in self._unknown()], self.chain.head().serial
            serial = max([last, *(head.serial for head in lost)]) + 1
            content = {
                "reason": reason,
                "missing": [last + 1, serial - 1],
                "heads": sorted(set(lost)),
                "spent": dict(spent),
            }
            entry = self.chain.append(int(self._clock()), ACCEPTED, str(serial), content, serial=serial)
        with _as_ledger_errors(self.path):
            self._counter.advance(entry.head)
        return entry

    def _unknown(self) -> Iterator[tuple[str, Head]]:
        """Heads that somebody knows and the chain neither has nor has given up, and who knows them."""
        found = self.chain.select("SELECT source, serial, digest FROM known_heads")
        known = [(str(source), Head(serial, digest)) for source, serial, digest in found]
        counter = self._counter.read()
        if counter is not None:
            known.append((f"The counter {self._counter.path}", counter))
        yield from ((source, head) for source, head in known if not self._knows(head))

    def _knows(self, head: Head) -> bool:
        """Whether the chain has this head, or has given it up."""
        entry = self.chain.at(head.serial)
        if head.serial == 0 or (entry is not None and entry.head == head):
            return True
        return any(head in given_up(entry) for entry in self.chain.of(ACCEPTED))

    def _held_refusal(self) -> Refused | None:
        why = self.held()
        return (
            None if why is None else Refused(RefusalCode.LEDGER_HELD, f"The ledger is held. {why} {_DECIDE}")
        )

    # -- budgets, always inside a step

    def _shortage(self, wanted: Reservation, allowed: Allowance) -> Refused | None:
        held = self._held_refusal()
        if held is not None:
            return held
        runs = self._runs(wanted)
        if runs >= allowed.runs:
            return Refused(
                RefusalCode.RELEASES_SPENT,
                f"The grant covers {allowed.runs} runs and {runs} are booked. Request access for more.",
            )
        spent = _cost(self._with(wanted, grant=wanted.grant), allowed.grant)
        if allowed.grant is not None and not allowed.grant.covers(spent):
            return overspent("The grant", spent, allowed.grant)
        return self._over_dataset(wanted, allowed.dataset)

    def _over_dataset(self, wanted: Reservation, budget: Budget | None) -> Refused | None:
        spent = _cost(self._with(wanted, dataset=wanted.dataset), budget)
        if budget is None or budget.covers(spent):
            return None
        return overspent(f"[datasets.{wanted.dataset}]", spent, budget)

    def _runs(self, wanted: Reservation) -> int:
        return sum(entry.subject != wanted.run for entry in self.booked(grant=wanted.grant))

    def _with(
        self, wanted: Reservation, grant: str | None = None, dataset: str | None = None
    ) -> tuple[Booked, ...]:
        booked = self._parts(grant, dataset, besides=wanted.run)
        return (*booked, Booked(wanted.mechanisms, wanted.split))

    def _parts(self, grant: str | None, dataset: str | None, besides: str = "") -> tuple[Booked, ...]:
        entries = [entry for entry in self.booked(grant, dataset) if entry.subject != besides]
        stated = (entry.said["spent"].get(dataset, 0) for entry in self.chain.of(ACCEPTED))
        lost = [Booked((Stated(Fraction(micro, MICRO)),)) for micro in stated if micro]
        return (*(_booked(entry.said) for entry in entries), *lost)

    def _reserved(self, run: str) -> Entry | None:
        """The run's reservation, unless it was given back."""
        returned = self.chain.find(RETURNED, run)
        return self.chain.find(RESERVED, run) if returned is None else None

    @contextmanager
    def _step(self) -> Iterator[None]:
        """One transaction; when it ends, the counter is as far as the ledger, and both are on the disk.

        Also where the step changed nothing: an earlier one may have been cut off before its counter was written. A
        counter that knows entries which are not here stays as it is, since it is the proof of them.
        """
        with _as_ledger_errors(self.path):
            with self.chain.transaction():
                yield
            known, last = self._counter.read(), self.chain.head()
            if known is not None and known != last and self._knows(known):
                self._counter.advance(last)


def open_ledger(home: Home) -> Ledger:
    """The ledger of a home, its counter where the policy says. Raises `ConfigError`, `HomeError` and `LedgerError`."""
    return Ledger(home.ledger_path, Counter(home.counter_path(home.load_config().ledger)))


_DECIDE: Final = "See `fedcore-owner ledger show`, and decide with `fedcore-owner ledger accept`."


def _cost(booked: tuple[Booked, ...], budget: Budget | None) -> int | None:
    """What all of it costs together; not worked out where nothing limits it."""
    return None if budget is None else _epsilon(booked, budget)


@lru_cache(maxsize=256)
def _epsilon(booked: tuple[Booked, ...], budget: Budget) -> int | None:
    return epsilon_of(booked, budget.delta, budget.epsilon_micro)


def _content(wanted: Reservation) -> dict[str, Any]:
    return {"mechanisms": [to_json(found) for found in wanted.mechanisms], "split": wanted.split}


def _booked(said: Mapping[str, Any]) -> Booked:
    return Booked(tuple(from_json(values) for values in said["mechanisms"]), said["split"])


@contextmanager
def _as_ledger_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except CounterError as error:
        raise LedgerError(str(error)) from error
    except (sqlite3.Error, OSError, ValueError, KeyError, TypeError) as error:
        raise LedgerError(
            f"The ledger {path} cannot be used ({error!r}), and without it nothing may leave this host. Make room on "
            "the disk, or restore the file and its mode."
        ) from error
