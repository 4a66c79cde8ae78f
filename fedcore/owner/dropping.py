"""What is dropped is journalled, and cannot fill the disk: whoever carries messages can send as many as it likes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pydantic import JsonValue

from fedcore.owner.journal import EntryKind, Journal, JournalError
from fedcore.wire.codes import RefusalCode
from fedcore.wire.signing import Signed

EACH: Final = 200
"""So many messages an hour have an entry of their own."""
HOUR_SECONDS: Final = 3600.0
TOGETHER_SECONDS: Final = 60.0
"""The others are counted, in one entry for so long."""


class Dropping:
    """Notes the messages of one kind that are not taken. May be used from several threads."""

    def __init__(self, journal: Journal, kind: EntryKind, clock: Callable[[], float]) -> None:
        self._journal, self._kind, self._clock = journal, kind, clock
        self._lock = threading.Lock()
        self._left = EACH
        self._since = self._together_at = 0.0
        self._besides: Counter[str] = Counter()

    def note(self, signed: Signed | None, code: RefusalCode, why: str) -> None:
        """Journal that a message was dropped, now or with the next entry. Raises `JournalError`."""
        known = {} if signed is None else {"message": signed.digest, "signer": signed.signer}
        with self._lock:
            if not self._is_time():
                self._besides[code.value] += 1
                return
            content: dict[str, JsonValue] = {**known, "dropped": code.value, "why": why[:500]}
            if self._besides:
                content["besides"] = dict(self._besides)
            self._journal.append(self._kind, content)
            self._besides.clear()

    def close(self) -> None:
        """Journal what is counted and not yet told; without a journal it is in the log alone."""
        with self._lock:
            if self._besides:
                with suppress(JournalError):
                    self._journal.append(self._kind, {"besides": dict(self._besides)})
                self._besides.clear()

    def _is_time(self) -> bool:
        now = self._clock()
        if not 0 <= now - self._since < HOUR_SECONDS:
            self._since, self._left = now, EACH
        if self._left:
            self._left -= 1
        elif 0 <= now - self._together_at < TOGETHER_SECONDS:
            return False
        self._together_at = now
        return True
