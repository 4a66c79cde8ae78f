"""Head receipts: pinned peers remember how far each other's ledgers have come, and say so.

Who can see what: a head is a serial and a digest; it says how many entries a ledger has, and nothing of them. The
coordinator carries heads and receipts, and can hold them back, not forge them. A peer can only name heads that this
host has signed itself, so it cannot hold this host's ledger by a lie.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fedcore.owner.chain import Head
from fedcore.owner.config_problems import ConfigError
from fedcore.owner.coordinator_api import CoordinatorApi, CoordinatorAway, CoordinatorRefused
from fedcore.owner.home import Home
from fedcore.owner.journal import EntryKind, Journal, JournalError
from fedcore.owner.ledger import Ledger, LedgerError
from fedcore.owner.spool import replacing
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.heads import HeadReceipt, LedgerHead
from fedcore.wire.signing import Signed

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 20.0
REPEAT_SECONDS: Final = 300.0
"""A head is signed anew, with another nonce, as soon as it changes, and after this long."""

TELL_AGAIN_SECONDS: Final = 3600.0
"""A message of a peer that is no good is journalled, and the next of the same kind only after this long."""

_REMEMBERED: Final = 16


class Memory:
    """The highest signed head of each peer that this host has seen, in one file of mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def latest(self, signed: Signed) -> Signed:
        """The highest head known of the signer of `signed`, which is taken into account, and kept if it is higher.

        Of two heads with one serial the one that came first stays: the other is another history.
        """
        known = self._read()
        text = known.get(signed.signer)
        before = None if text is None else Signed.from_bytes(text.encode())
        if before is not None and before.open(LedgerHead).serial >= signed.open(LedgerHead).serial:
            return before
        with replacing(self._path) as file:
            file.write(json.dumps(known | {signed.signer: signed.encode()}).encode())
        return signed

    def _read(self) -> dict[str, str]:
        try:
            found: dict[str, str] = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return found


class Witnessing:
    """Asks the peers of one home what they know of its ledger, and answers what they ask."""

    def __init__(
        self,
        home: Home,
        api: CoordinatorApi,
        ledger: Ledger,
        journal: Journal,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home, self._api, self._ledger = home, api, ledger
        self._journal, self._clock = journal, clock
        self._memory = Memory(home.witnessed_path)
        self._asked: dict[str, float] = {}
        self._asking: Signed | None = None
        self._asking_for: Head | None = None
        self._confirmed_at: float | None = None
        self._held: str | None = None
        self._told: dict[tuple[str, RefusalCode], float] = {}

    def confirmed_at(self) -> float | None:
        """When this agent asked the question that a peer has last answered with nothing that the ledger lacks."""
        return self._confirmed_at

    def run(self, stopping: threading.Event) -> None:
        """Exchange heads and receipts until the host stops."""
        while not stopping.is_set():
            try:
                self.exchange()
            except (ConfigError, JournalError, LedgerError) as error:
                logger.error("Ledger heads are not exchanged: %s", error)
            except (CoordinatorAway, CoordinatorRefused, WireError) as error:
                logger.warning("Ledger heads wait: %s", error)
            except Exception:
                logger.exception("Ledger heads could not be exchanged")
            stopping.wait(LOOK_SECONDS)

    def exchange(self) -> None:
        """Ask anew where it is time to, take receipts in, and answer the peers. Without peers nothing is asked."""
        self._journal_whether_held()
        peers = {peer.key for peer in self._home.load_config().peers}
        if not peers:
            return
        found = self._api.exchange_heads(self._question())
        for receipt in found.receipts:
            if receipt.signer in peers:
                self._one(receipt, self._take)
        self._journal_whether_held()
        for head in found.heads:
            if head.signer in peers:
                self._one(head, self._answer)

    def _question(self) -> Signed:
        """This ledger's head, signed with a nonce; the same text while nothing has changed and it is recent."""
        head, now = self._ledger.chain.head(), self._clock()
        asked_at = 0.0 if self._asking is None else self._asked[self._asking.digest]
        if self._asking is None or head != self._asking_for or now - asked_at > REPEAT_SECONDS:
            message = LedgerHead(
                serial=head.serial, digest=head.digest, nonce=os.urandom(16).hex(), at=int(now)
            )
            self._asking, self._asking_for = message.signed_by(self._home.signing_key), head
            kept = list(self._asked.items())[-_REMEMBERED:]
            self._asked = {**dict(kept), self._asking.digest: now}
        return self._asking

    def _one(self, signed: Signed, treat: Callable[[Signed], None]) -> None:
        """Take in or answer one message. What is wrong with it is this peer's, and keeps no other from being heard."""
        try:
            treat(signed)
        except CoordinatorRefused as error:
            logger.warning("The coordinator did not take a receipt for %s: %s", signed.signer, error)
        except WireError as error:
            self._pass_over(signed, error)

    def _pass_over(self, signed: Signed, error: WireError) -> None:
        peer, now = self._name_of(signed.signer), self._clock()
        logger.warning("A ledger head or receipt is passed over. %s: %s", peer, error)
        kind = (signed.signer, error.code)
        if now - self._told.get(kind, -math.inf) > TELL_AGAIN_SECONDS:
            self._told[kind] = now
            dropped = {"dropped": error.code.value, "why": error.detail[:500], "message": signed.digest}
            self._journal.append(EntryKind.EVENT, {"witness": peer, **dropped})

    def _take(self, signed: Signed) -> None:
        receipt = signed.open(HeadReceipt)
        asked_at = self._asked.get(receipt.asked)
        if asked_at is None:
            return  # A receipt for a question of an earlier agent says nothing of now.
        latest = receipt.latest.open(LedgerHead, signer=self._home.card.signing)
        head, peer = Head(latest.serial, latest.digest), self._name_of(signed.signer)
        entry = self._ledger.chain.at(head.serial)
        if head.serial and (entry is None or entry.head != head):
            self._ledger.note_head(peer, head)
        if self._ledger.held() is None:
            self._confirmed_at = max(asked_at, self._confirmed_at or 0.0)

    def _answer(self, head: Signed) -> None:
        head.open(LedgerHead)
        latest = self._memory.latest(head)
        receipt = HeadReceipt(asked=head.digest, latest=latest, at=int(self._clock()))
        self._api.give_receipt(receipt)

    def _name_of(self, key: str) -> str:
        peer = self._home.load_config().peer(key)
        return key if peer is None else f"The host {peer.name}"

    def _journal_whether_held(self) -> None:
        held = self._ledger.held()
        if held != self._held:
            self._journal.append(
                EntryKind.EVENT, {"ledger": "held" if held else "no longer held", "why": held}
            )
            logger.error("The privacy ledger is %s", f"held: {held}" if held else "no longer held.")
        self._held = held
