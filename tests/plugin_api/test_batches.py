"""Every row is in one batch of an epoch, and no batch is smaller than it was asked to be."""

from __future__ import annotations

import numpy as np
import pytest

from fedcore.plugin_api.batches import batches_of_epoch, rows_of_batch


@pytest.mark.parametrize(
    ("rows", "size", "sizes"),
    [
        (10, 5, [5, 5]),
        (11, 5, [5, 6]),
        (14, 5, [5, 9]),
        (3, 5, [3]),
        (5, 5, [5]),
        (9, 5, [9]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_what_is_left_over_belongs_to_the_last_batch(rows: int, size: int, sizes: list[int]) -> None:
    order = np.arange(rows)
    batches = [order[rows_of_batch(number, rows, size)] for number in range(batches_of_epoch(rows, size))]
    assert [len(batch) for batch in batches] == sizes
    assert np.concatenate(batches).tolist() == order.tolist()
