"""Ridge regression over several owners from sums that are added while they are encrypted.

Least squares need of the rows `X` with targets `y` only `X'X` and `X'y`, and these are sums over rows. Every owner
computes its own, the encrypted ones are added, and whoever opens the sum solves. Rows are never encrypted, and the
cost does not depend on their number.

**Who sees what.** Whoever opens the sum reads all owners' `X'X` and `X'y` together, not only the weights: sums of
products of every two columns, which say much of few rows. Who adds reads nothing. The backend says who else could
read what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api import Ciphertext, PublicCipher
from fedcore.plugin_api.arrays import invalid
from fedcore.plugin_api.ciphers import checked_matrix, checked_reals, out_of_range

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class RidgeStatistics:
    """What all owners agree on: the number of columns, the most rows that one of them has, and the largest number in
    them and in the targets. Statistics are divided by `rows * largest ** 2`, so that no owner's exceed 1."""

    columns: int
    rows: int
    largest: float = 1.0

    @property
    def length(self) -> int:
        """How many numbers the statistics are: the upper triangle of `X'X`, then `X'y`."""
        return self.columns * (self.columns + 3) // 2

    @property
    def unit(self) -> float:
        return self.rows * self.largest**2

    def packed(self, features: Reals, targets: Reals) -> Reals:
        """One owner's statistics. `features`: (rows, columns); `targets`: (rows,).

        Raises `WireError`: `artefact_invalid` for other shapes, `not_finite`, `out_of_range` for numbers above
        `largest` or more rows than were agreed on."""
        rows = checked_matrix(features, len(features), self.largest)
        values = checked_reals(targets, self.largest)
        if rows.shape != (len(values), self.columns):
            raise invalid(
                f"features of shape {rows.shape} for {len(values)} targets and {self.columns} columns"
            )
        if len(values) > self.rows:
            raise out_of_range(f"{len(values)} rows exceed the {self.rows} that the statistics are made for")
        gram: Reals = rows.T @ rows
        return np.concatenate([gram[np.triu_indices(self.columns)], rows.T @ values]) / self.unit

    def solved(self, statistics: Reals, penalty: float) -> Reals:
        """The weights that minimise the sum of squared errors plus `penalty` times the squared weights.

        `statistics` is the opened sum. Raises `WireError` (`artefact_invalid`) for another length, or where the
        penalty is too small for the precision of the statistics, so that there is no one minimum."""
        if statistics.shape != (self.length,):
            raise invalid(f"statistics of shape {statistics.shape}, not {self.length} numbers")
        triangle = statistics[: -self.columns]
        gram = np.zeros((self.columns, self.columns))
        gram[np.triu_indices(self.columns)] = triangle
        gram += np.triu(gram, 1).T
        gram += penalty / self.unit * np.eye(self.columns)
        try:
            root = np.linalg.cholesky(gram)
        except np.linalg.LinAlgError:
            raise invalid("the statistics have no one minimum: raise the penalty") from None
        weights: Reals = np.linalg.solve(root.T, np.linalg.solve(root, statistics[-self.columns :]))
        return weights


def added(public: PublicCipher[Any], statistics: Sequence[Ciphertext]) -> Ciphertext:
    """The sum of all owners' statistics, encrypted. Raises `WireError` (`artefact_invalid`) for none."""
    if not statistics:
        raise invalid("there are no statistics to add")
    total: Ciphertext = reduce(public.add, statistics)
    return total
