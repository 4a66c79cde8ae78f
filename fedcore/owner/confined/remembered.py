"""What a confined process has answered before, up to so many bytes: what is asked comes from anybody."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final

_EVERY: Final = 200
"""Bytes that an entry costs beside its texts, roughly."""


class Remembered:
    """Answers by what was asked, the most recently used first; what exceeds `most` bytes together goes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.size = 0

    def get(self, asked: Hashable) -> Any:
        """The answer, or None where it is not remembered."""
        with self._lock:
            if asked not in self._found:
                return None
            self._found.move_to_end(asked)
            return self._found[asked][0]

    def keep(self, asked: Hashable, answer: Any, size: int) -> None:
        """Remember an answer; question and answer have `size` bytes together."""
        size += _EVERY
        if size > self._most:
            return
        with self._lock:
            self.size -= self._found.pop(asked, (None, 0))[1]
            self._found[asked] = (answer, size)
            self.size += size
            while self.size > self._most:
                self.size -= self._found.popitem(last=False)[1][1]
