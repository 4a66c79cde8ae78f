"""Which rows of an epoch are trained on together, under every protocol alike.

What is left over at the end of an epoch belongs to its last batch. With a large learning rate a model shows what its
last batch says; so no batch is smaller than it was asked to be.
"""

from __future__ import annotations


def batches_of_epoch(rows: int, size: int) -> int:
    """How many batches of `size` rows an epoch over `rows` rows has: at least one."""
    return max(1, rows // size)


def rows_of_batch(number: int, rows: int, size: int) -> slice:
    """The places, in an epoch's order of `rows` rows, of its batch `number` (from 0)."""
    is_last = number == batches_of_epoch(rows, size) - 1
    return slice(number * size, rows if is_last else (number + 1) * size)
