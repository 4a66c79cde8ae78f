"""Masks from keys: the key stream of AES-256 in counter mode, read as 64-bit integers, least significant byte first.

The counter starts at 0, which is sound because every key masks one vector only. The vector is gone through in blocks
that stay in a core's cache, all masks of a block before the next block, so that adding costs little beside the cipher.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

BLOCK_BYTES: Final = 128 * 1024
"""Two of these and a block of zeros fit into the second-level cache of a common core."""

_CIPHER_BYTES: Final = 16
_START: Final = bytes(_CIPHER_BYTES)
_NUMBER: Final = np.dtype("<u8")


def add_masks(values: NDArray[np.uint64], plus: Sequence[bytes], minus: Sequence[bytes]) -> None:
    """Add the masks of some keys (32 bytes each) to the values, and take those of others off, in place."""
    block = min(BLOCK_BYTES, values.nbytes)
    zeros = memoryview(bytes(block))
    stream = bytearray(block + _CIPHER_BYTES - 1)  # The room that `update_into` asks for.
    masks = np.frombuffer(stream, _NUMBER, block // _NUMBER.itemsize)
    streams = [(np.add, _stream(key)) for key in plus] + [(np.subtract, _stream(key)) for key in minus]
    for start in range(0, len(values), len(masks)):
        part = values[start : start + len(masks)]
        mask, zero = masks[: len(part)], zeros[: part.nbytes]
        for combine, cipher in streams:
            cipher.update_into(zero, stream)
            combine(part, mask, out=part)


def _stream(key: bytes) -> CipherContext:
    return Cipher(AES256(key), CTR(_START)).encryptor()
