"""The agent: it alone decides and releases. It pulls orders, has the work done, and answers with signed reports.

An order's way: its signature and audience are checked; it is journalled and claimed; the policy decides; its cost is
booked in the privacy ledger and it is reserved; the phase does its work; the gate looks at the outcome; the signed
report is stored; ledger and journal say what will leave; artefacts and report are sent. A crash before *stored* means
that the work is done again, after it that the stored bytes are sent again. What is not for this host, or not from its
coordinator, is journalled and gets no answer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from fedcore.owner.announcing import Announcing
from fedcore.owner.answering import Answering
from fedcore.owner.booking import Booking
from fedcore.owner.config_problems import ConfigError
from fedcore.owner.coordinator_api import CoordinatorApi, CoordinatorAway, CoordinatorRefused
from fedcore.owner.deciding import Deciding
from fedcore.owner.dropping import Dropping
from fedcore.owner.granting import Granting
from fedcore.owner.grants import GrantStore
from fedcore.owner.home import Home
from fedcore.owner.journal import EntryKind, Journal
from fedcore.owner.ledger import open_ledger
from fedcore.owner.orders import Life, OrderStore, StoredOrder
from fedcore.owner.phase_work import HostStopping
from fedcore.owner.shards import Bell
from fedcore.owner.sweeping import delete_what_is_over
from fedcore.owner.witnessing import Witnessing
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import Order, order_id
from fedcore.wire.signing import Signed

logger = logging.getLogger(__name__)

POLL_WAIT: Final = 20
_THREADS: Final = 32
_PAUSE_SECONDS: Final = 2.0
_OUTBOX_SECONDS: Final = 1.0
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0


class Agent:
    """The agent of one home. `run` works until `stop` is called; `handle` takes one delivered order."""

    def __init__(
        self,
        home: Home,
        api: CoordinatorApi,
        bell: Bell,
        stopping: threading.Event | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home = home
        self._api = api
        self._clock = clock
        self._stopping = stopping or threading.Event()
        self.store = OrderStore(home.state_path)
        self.journal = Journal(home.journal_path)
        self.grants = GrantStore(home.grants_path, self.journal, clock)
        self.grants.recall()
        self.ledger = open_ledger(home)
        self.witnessing = Witnessing(home, api, self.ledger, self.journal, clock)
        self._dropping = Dropping(self.journal, EntryKind.ORDER, clock)
        booking = Booking(self.ledger, self.store, self.witnessing.confirmed_at, clock)
        deciding = Deciding(home, self.store, self.grants, booking, clock)
        self._answering = Answering(
            home, api, bell, self.store, self.grants, self.journal, deciding, booking, self._stopping, clock
        )
        self.granting = Granting(home, api, deciding, self.grants, self.journal, clock)
        self._announcing = Announcing(home, api, deciding, self.journal, booking, clock)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="order")
        self._in_hand: set[str] = set()
        self._in_hand_lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._ask_again = threading.Event()

    def run(self) -> None:
        """Go on with what a former agent left, announce the datasets, and carry out orders until `stop`."""
        delete_what_is_over(self._home, self.store, self._clock())
        self.resume()
        # These threads may hang in a request when the host stops; nothing that they do then is lost.
        for name, work in (
            ("announce", self._announce),
            ("grants", self._grant),
            ("poll", self._poll),
            ("outbox", self._watch_outbox),
            ("witnesses", self._witness),
        ):
            threading.Thread(target=work, name=name, daemon=True).start()
        self._stopping.wait()
        self.close()

    def _announce(self) -> None:
        self._announcing.run(self._stopping)

    def _watch_outbox(self) -> None:
        """Take up the answers that a person has released or refused, by a command of its own, since the last look."""
        held = {stored.id for stored in self.store.held()}
        while not self._stopping.wait(_OUTBOX_SECONDS):
            before, held = held, {stored.id for stored in self.store.held()}
            for order in sorted(before - held):
                stored = self.store.find(order)
                if stored is not None and not self._stopping.is_set():
                    self.take(stored.signed)

    def _grant(self) -> None:
        self.granting.run(self._stopping)

    def _witness(self) -> None:
        self.witnessing.run(self._stopping)

    def _poll(self) -> None:
        after, failures = 0, 0
        while not self._stopping.is_set():
            try:
                after, failures = self.ask(after), 0
                continue
            except (CoordinatorAway, CoordinatorRefused, WireError) as error:
                if not self._stopping.is_set():
                    logger.warning("No orders: %s", error)
            except Exception:
                if not self._stopping.is_set():
                    logger.exception("Orders cannot be taken now")
            after, failures = 0, failures + 1
            self._stopping.wait(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(failures, 8)))

    def ask(self, after: int) -> int:
        """Fetch and take the orders with a serial above `after`. The answer is where to ask on from.

        The coordinator's answer also says whether grants are new; these are fetched beside it.
        """
        try:
            found = self._api.orders(after, POLL_WAIT, self.granting.serial)
        except WireError as error:
            self._drop(None, error.code, error.detail)
            raise
        for problem in found.malformed:
            self._drop(None, problem.code, problem.detail)
        if found.malformed:
            self._stopping.wait(_FIRST_PAUSE)
        self.granting.hear(found.grants)
        for signed in found.messages:
            if not self._stopping.is_set():
                self.take(signed)
        again = self._ask_again.is_set()
        self._ask_again.clear()
        return 0 if again else found.cursor

    def stop(self) -> None:
        """Have `run` end soon. Work under way is given up, and done again by the next agent."""
        self._stopping.set()

    def close(self) -> None:
        """Wait for what is under way, and close the files."""
        self._stopping.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.store.close()
        self.grants.close()
        self._dropping.close()
        self.granting.close()
        self.journal.close()
        self.ledger.close()

    def resume(self) -> None:
        """Take up every order that is not released: answers are sent again, other work is done again."""
        for stored in self.store.unfinished():
            self.take(stored.signed)

    def take(self, signed: Signed) -> None:
        """Handle an order in a thread of its own, unless it is in hand already."""
        order = self.verified(signed)
        if order is None:
            return
        with self._in_hand_lock:
            if order.id in self._in_hand:
                return
            self._in_hand.add(order.id)
        # Claimed here already, so that an order to close a run reaches work that is under way.
        stored = self.store.claim(order, signed, int(self._clock()))
        self._pool.submit(self._carry_out, order, signed, stored)

    def handle(self, signed: Signed) -> StoredOrder | None:
        """Handle an order now, to the end. None where it is not an order of this host's coordinator."""
        order = self.verified(signed)
        if order is None:
            return None
        self._carry_out(order, signed, self.store.claim(order, signed, int(self._clock())))
        return self.store.find(order.id)

    def verified(self, signed: Signed) -> Order | None:
        """The order, if it comes from the pinned coordinator, is for this host, and has the identity of its work.

        Anything else is journalled and dropped: it is not told whether or why.
        """
        try:
            order = signed.open(Order, signer=self._home.load_config().coordinator.key)
            self._check_identity(order)
        except WireError as error:
            self._drop(signed, error.code, error.detail)
            return None
        except ConfigError as error:
            # Without a policy there is no pinned coordinator, so nobody's orders are read.
            self._drop(signed, RefusalCode.NO_POLICY, str(error))
            self._ask_again.set()
            self._stopping.wait(_PAUSE_SECONDS)
            return None
        return order

    def _check_identity(self, order: Order) -> None:
        if order.audience != self._home.card.signing:
            raise WireError(RefusalCode.WRONG_AUDIENCE, f"the order is for {order.audience}")
        due = order_id(order.run, order.phase, order.step, order.round, order.audience)
        if order.id != due or order.run != order.spec.digest:
            raise WireError(RefusalCode.CONFLICT, "the order's id or run is not that of its content")

    def _drop(self, signed: Signed | None, code: RefusalCode, why: str) -> None:
        logger.warning("Dropped a message: %s (%s)", code, why)
        self._dropping.note(signed, code, why)

    def _carry_out(self, order: Order, signed: Signed, stored: StoredOrder) -> None:
        try:
            with self._locks.setdefault(order.run, threading.Lock()):
                if stored.life in (Life.CLAIMED, Life.RESERVED):
                    stored = self._answering.answer(order, signed)
                if stored.life is Life.HELD:
                    logger.info("The answer to order %s waits for a person: fedcore-owner outbox.", order.id)
                else:
                    self._answering.send(stored)
        except HostStopping:
            logger.info("Order %s is left for the next agent.", order.id)
        except CoordinatorAway as error:
            logger.warning("The answer to order %s waits: %s", order.id, error)
            self._ask_again.set()
        except Exception:
            # The order stays as it is in the store, and is tried again: nothing has left.
            logger.exception("Order %s could not be answered", order.id)
            self._ask_again.set()
            self._stopping.wait(_PAUSE_SECONDS)
        finally:
            with self._in_hand_lock:
                self._in_hand.discard(order.id)
