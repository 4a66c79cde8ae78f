"""Key streams: AES-256 in counter mode, read as 64-bit integers (least significant byte first) or bytes.

A stream can be read in order, or at any place: the cipher's counter is the number of a 16-byte block. Each key is for
one purpose and each place of its stream is used for one number, so no mask is ever used twice.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from numpy.typing import NDArray

from fedcore.plugin_api.ring import RingVector

WORD_BYTES: Final = 8
BLOCK_WORDS: Final = 2
_BLOCK_BYTES: Final = 16
_START: Final = bytes(_BLOCK_BYTES)
_STEP_BYTES: Final = 1024 * 1024
_NUMBER: Final = np.dtype("<u8")


class Words:
    """The integers of a key's stream, in order."""

    def __init__(self, key: bytes) -> None:
        self._cipher: CipherContext = Cipher(AES256(key), CTR(_START)).encryptor()

    def take(self, count: int) -> RingVector:
        """The next `count` integers."""
        out = np.empty(count, _NUMBER)
        self.fill(out)
        return out

    def fill(self, out: RingVector) -> None:
        """The next integers, into an array."""
        step = min(_STEP_BYTES, out.nbytes)
        zeros, stream = memoryview(bytes(step)), bytearray(step + _BLOCK_BYTES - 1)
        words = step // WORD_BYTES
        for start in range(0, len(out), max(words, 1)):
            part = out[start : start + words]
            self._cipher.update_into(zeros[: part.nbytes], stream)
            part[:] = np.frombuffer(stream, _NUMBER, len(part))


class Places:
    """The integers of a key's stream at any places, two (one block of the cipher) at a time."""

    def __init__(self, key: bytes) -> None:
        # Counter mode by hand: every block that is encrypted is another counter, so that equal blocks never show.
        self._cipher: CipherContext = Cipher(AES256(key), ECB()).encryptor()  # noqa: S305

    def blocks(self, numbers: NDArray[np.int64]) -> RingVector:
        """The integers of the blocks with these numbers (int64 of any shape): one more dimension, of 2."""
        counters = np.zeros((*numbers.shape, BLOCK_WORDS), ">u8")
        counters[..., 1] = numbers
        return np.frombuffer(self._cipher.update(counters.tobytes()), _NUMBER).reshape(counters.shape)

    def rows(self, numbers: NDArray[np.int64], width: int) -> RingVector:
        """The rows with these numbers of a matrix of even `width` that fills the stream row by row."""
        per_row = width // BLOCK_WORDS
        blocks = numbers[:, None] * per_row + np.arange(per_row)
        return self.blocks(blocks).reshape(len(numbers), width)

    def entries(self, places: NDArray[np.int64]) -> RingVector:
        """Single integers of the stream, by their places."""
        blocks, halves = np.divmod(places, BLOCK_WORDS)
        return np.take_along_axis(self.blocks(blocks), halves[:, None], axis=1)[:, 0]
