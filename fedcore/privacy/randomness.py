"""Uniform whole numbers from the operating system's randomness, drawn in blocks.

Who can predict them: nobody who cannot read this process's memory. A source belongs to whoever made it, and is made
anew for every use: two processes that share one after a fork would draw the same numbers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

BLOCK_BYTES: Final = 256
"""Small, because taking bits off a long number takes time in proportion to its length."""

Bytes = Callable[[int], bytes]
"""Gives that many random bytes. Tests put a seeded one in the place of `os.urandom`."""


class Randomness:
    """Uniform integers, exact: bits are drawn, and what does not fit is drawn again."""

    def __init__(self, source: Bytes = os.urandom) -> None:
        self._source = source
        self._pool, self._bits = 0, 0

    def below(self, limit: int) -> int:
        """A whole number from 0 to `limit` - 1, each with the same probability. `limit` is at least 1."""
        size = (limit - 1).bit_length()
        mask = (1 << size) - 1
        while True:
            if self._bits < size:
                self._refill(size)
            number = self._pool & mask
            self._pool >>= size
            self._bits -= size
            if number < limit:
                return number

    def _refill(self, size: int) -> None:
        # What is left of the old bits is thrown away: a used bit must never be used again.
        count = max(BLOCK_BYTES, (size + 7) // 8)
        self._pool, self._bits = int.from_bytes(self._source(count), "little"), 8 * count
