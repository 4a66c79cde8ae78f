"""Grants between coordinator and host: what is new is taken in, and how each stands here is told, signed.

The coordinator's word is taken for what narrows a grant, and for nothing else. Whatever a person decides on this
host, in another process, is told within a second too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from fedcore.owner.config_problems import ConfigError
from fedcore.owner.coordinator_api import CoordinatorApi, CoordinatorAway, CoordinatorRefused
from fedcore.owner.deciding import Governed, Governing
from fedcore.owner.dropping import Dropping
from fedcore.owner.grants import COORDINATOR, GrantStore
from fedcore.owner.held_grant import HeldGrant, short
from fedcore.owner.home import Home
from fedcore.owner.installed import character_steps_asked
from fedcore.owner.journal import EntryKind, Journal, JournalError
from fedcore.owner.standing import Stand, stand_of
from fedcore.plugin_api.registry import PluginError
from fedcore.wire.access import AccessRequest, GrantNotice, GrantStanding
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.signing import Signed

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 5.0
MOST_OF_STRANGERS: Final = 100
"""How many grants of scientists whom the policy does not name are kept, for their owner to see. More are dropped."""


MOST_PAGES: Final = 100
"""How many answers are read at once before anything else is done: a coordinator could go on for ever."""


class Granting:
    """Keeps the grants of one home and the coordinator's knowledge of them in step."""

    def __init__(
        self,
        home: Home,
        api: CoordinatorApi,
        governing: Governing,
        grants: GrantStore,
        journal: Journal,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home, self._api, self._governing = home, api, governing
        self._grants, self._clock = grants, clock
        self._dropping = Dropping(journal, EntryKind.GRANT, clock)
        self._stopping = threading.Event()
        self._rung = threading.Event()
        self._serial = 0
        self._cursor = 0
        self._fetched = False
        self._looked_at: object = None
        self._untold: set[str] = set()

    def hear(self, serial: int) -> None:
        """The coordinator's serial of this host's grants is `serial` now: if that is new, they are fetched."""
        if serial == self._serial:
            return
        if serial < self._serial:
            self._cursor = 0  # The coordinator has forgotten something: it is asked for everything again.
        self._serial, self._fetched = serial, False
        self._rung.set()

    @property
    def serial(self) -> int:
        """The serial that was heard last."""
        return self._serial

    def run(self, stopping: threading.Event) -> None:
        """Keep in step until the host stops."""
        self._stopping = stopping
        while not stopping.is_set():
            pause = PAUSE_SECONDS
            try:
                self.sync()
                pause = LOOK_SECONDS
            except (ConfigError, PluginError, JournalError) as error:
                logger.error("Grants are not looked at: %s", error)
            except (CoordinatorAway, CoordinatorRefused, WireError) as error:
                logger.warning("Grants wait: %s", error)
            except Exception:
                logger.exception("Grants could not be looked at")
            self._rung.wait(pause)
            self._rung.clear()

    def close(self) -> None:
        """Journal what was dropped and is not told yet."""
        self._dropping.close()

    def sync(self) -> None:
        """Fetch what is new, and tell what has changed. Raises what keeps it from doing so; the rest is done later."""
        if self._fetched and not self._untold and self._looked_at == self._state():
            return
        governed = self._governing.governed()
        if not self._fetched:
            self._fetched = True
            try:
                self._fetch(governed)
            except BaseException:
                self._fetched = False
                raise
        state = self._state()
        self._tell(governed)
        self._looked_at = state

    def _state(self) -> object:
        """Another value whenever a grant or the policy's file has changed."""
        try:
            file = self._home.config_path.stat()
        except OSError:
            return (
                object()
            )  # Without a policy there is nothing to go by, and what is wrong is told by whoever reads it.
        return self._grants.revision, file.st_mtime_ns, file.st_size

    def _fetch(self, governed: Governed) -> None:
        for _ in range(MOST_PAGES):
            if self._stopping.is_set():
                break
            found = self._api.notices(self._cursor)
            for problem in found.malformed:
                self._drop(None, problem)
            for signed in found.messages:
                self._take(signed, governed)
            if found.cursor <= self._cursor:
                return
            self._cursor = found.cursor
        self._fetched = False  # There may be more, and what was taken is told first.

    def _take(self, signed: Signed, governed: Governed) -> None:
        """Take in one notice, if it comes from the pinned coordinator and is about data of this host."""
        try:
            notice = signed.open(GrantNotice, signer=governed.policy.coordinator.key)
            request = notice.grant.request.open(AccessRequest)
            self._check(notice, request, governed)
        except WireError as error:
            self._drop(signed, error)
            return
        held = self._grants.take(notice.grant, request)
        if notice.revoked and not held.is_over:
            self._grants.revoke(held.digest, COORDINATOR)
        self._untold.add(held.digest)

    def _check(self, notice: GrantNotice, request: AccessRequest, governed: Governed) -> None:
        host = self._home.card.signing
        if {notice.audience, request.dataset.host} != {host}:
            raise WireError(RefusalCode.WRONG_AUDIENCE, f"the grant is on data of {request.dataset.host}")
        signer = notice.grant.request.signer
        if (
            governed.policy.scientist(signer) is None
            and self._grants.find(notice.grant.request.digest) is None
        ):
            strangers = sum(
                governed.policy.scientist(held.signed.signer) is None for held in self._grants.all()
            )
            if strangers >= MOST_OF_STRANGERS:
                raise WireError(
                    RefusalCode.UNKNOWN_SCIENTIST,
                    f"{strangers} grants are of unknown scientists, {signer} is one more",
                )

    def _drop(self, signed: Signed | None, problem: WireError) -> None:
        logger.warning("Dropped a grant: %s", problem)
        self._dropping.note(signed, problem.code, problem.detail)

    def _tell(self, governed: Governed) -> None:
        for held in self._grants.all():
            stand = self._stand(held, governed)
            if stand.standing is not held.standing:
                at = max(int(self._clock()), held.standing_at)
                held = self._grants.note_standing(held.digest, stand.standing, at, stand.why)
                self._untold.add(held.digest)
            if held.digest in self._untold:
                self._send(held, stand)

    def _stand(self, held: HeldGrant, governed: Governed) -> Stand:
        steps = character_steps_asked(governed.registry, held.request)
        return stand_of(held, governed.policy, steps)

    def _send(self, held: HeldGrant, stand: Stand) -> None:
        told = GrantStanding(request=held.digest, standing=stand.standing, decided_at=held.standing_at)
        try:
            self._api.stand(told)
        except CoordinatorRefused as error:
            # Trying again changes nothing: the policy decides here, whatever the coordinator believes.
            logger.warning("The standing of grant %s was not taken: %s", short(held.digest), error)
        self._untold.discard(held.digest)
        logger.info("Grant %s is %s here.", short(held.digest), stand.standing)
