"""Many fixed-point numbers in one plaintext, with room for a declared number of additions.

A number `v` is rounded to the whole number `round(v * 2^fraction_bits)` of `value_bits` bits, sign included,
and raised by `2^(value_bits - 1)`, so that it lies from 1 to `2^value_bits - 1`. Slots of whole bytes hold
such numbers, the first one lowest. The sum of `s` plaintexts has in each slot the sum of `s` raised numbers:
no carry reaches the next slot while `s` is at most the declared number of summands. Every slot of a
ciphertext has the same `s`, also where numbers were appended later, so taking `s` times the raise away gives
the exact sum of the rounded numbers, and float64 holds it exactly: `value_bits` and the bits of the number of
summands are 53 or fewer together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from fedcore.plugin_api.arrays import invalid

FLOAT_BITS = 53


@dataclass(frozen=True)
class Layout:
    """How numbers lie in plaintexts of at most `plaintext_bytes` bytes."""

    value_bits: int
    fraction_bits: int
    room: int
    plaintext_bytes: int

    @property
    def largest(self) -> float:
        """The largest absolute value of one number."""
        return float(2 ** (self.value_bits - 1) - 1) / 2.0**self.fraction_bits

    @property
    def slot_bytes(self) -> int:
        return (self.value_bits + carry_bits(self.room) + 7) // 8

    @property
    def slots(self) -> int:
        """How many numbers one plaintext holds."""
        return self.plaintext_bytes // self.slot_bytes

    def plaintexts_for(self, length: int) -> int:
        """How many plaintexts that many numbers need."""
        return -(-length // self.slots)

    def facts(self) -> dict[str, int]:
        """What both ends have to agree on."""
        return {"value_bits": self.value_bits, "fraction_bits": self.fraction_bits, "room": self.room}

    def plaintexts(self, numbers: NDArray[np.float64], summands: int = 1, skipped: int = 0) -> list[mpz]:
        """The numbers in plaintexts, each raised `summands` times, the first `skipped` slots left empty."""
        whole = np.rint(numbers * 2.0**self.fraction_bits).astype(np.int64)
        raised = (whole + summands * self._raise).astype("<u8")
        used = skipped + len(raised)
        slots = np.zeros(self.plaintexts_for(used) * self.slots, "<u8")
        slots[skipped:used] = raised
        data = slots.view(np.uint8).reshape(-1, 8)[:, : self.slot_bytes].tobytes()
        size = self.slots * self.slot_bytes
        return [mpz(int.from_bytes(data[at : at + size], "little")) for at in range(0, len(data), size)]

    def numbers(self, plaintexts: list[mpz], length: int, summands: int) -> NDArray[Any]:
        """The sums in plaintexts. Raises `WireError` where they are no sums of so many numbers."""
        size = self.slots * self.slot_bytes
        if any(plaintext.bit_length() > 8 * size for plaintext in plaintexts):
            raise invalid("a ciphertext holds more than the slots do")
        data = b"".join(int(plaintext).to_bytes(size, "little") for plaintext in plaintexts)
        filled = np.zeros((len(plaintexts) * self.slots, 8), np.uint8)
        filled[:, : self.slot_bytes] = np.frombuffer(data, np.uint8).reshape(-1, self.slot_bytes)
        slots = filled.view("<u8")[:, 0]
        highest = summands * (2**self.value_bits - 1)
        if slots[length:].any() or slots[:length].min() < summands or slots[:length].max() > highest:
            raise invalid("a ciphertext holds no sums of the number of summands that it says")
        sums = slots[:length].astype(np.int64) - summands * self._raise
        return sums.astype(np.float64) / 2.0**self.fraction_bits

    @property
    def _raise(self) -> int:
        return 1 << (self.value_bits - 1)


def carry_bits(room: int) -> int:
    """The bits that a sum of so many numbers needs beyond those of one number."""
    return (room - 1).bit_length()
