"""Noisy counts: exact noise on each, and then whole numbers of 0 or more again that add up.

Who can see what: whoever sees the noisy counts learns of any one row no more than the mechanism's epsilon allows.
What is done with them afterwards costs nothing: it looks at no row.
"""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from fedcore.privacy.mechanisms import DiscreteLaplace
from fedcore.privacy.randomness import Bytes, Randomness
from fedcore.privacy.sampling import discrete_laplace


def noisy(
    counts: NDArray[np.int64], mechanism: DiscreteLaplace, source: Bytes = os.urandom
) -> NDArray[np.int64]:
    """`counts` (int64, any shape) with fresh noise on each. What comes out may be below 0."""
    random, scale = Randomness(source), Fraction(mechanism.scale)
    noise = [discrete_laplace(scale, random) for _ in range(counts.size)]
    found: NDArray[np.int64] = counts + np.array(noise, np.int64).reshape(counts.shape)
    return found


def consistent(counts: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """The whole numbers of 0 or more nearest to `counts` (int64, one dimension) that add up to `total`.

    The same amount is taken off every count that stays above 0 (the projection on a simplex), so that many empty
    cells do not gather a false sum from the noise that happened to be above 0.
    """
    if total <= 0 or not len(counts):
        return np.zeros_like(counts)
    rising = np.sort(counts)[::-1]
    excess = np.cumsum(rising) - total
    kept = int(np.flatnonzero(rising * np.arange(1, len(rising) + 1) > excess)[-1]) + 1
    # In whole numbers: each kept count loses excess // kept, and the smallest of them one more each.
    share, rest = divmod(int(excess[kept - 1]), kept)
    order = np.argsort(-counts, kind="stable")[:kept]
    found = np.zeros_like(counts)
    found[order] = counts[order] - share
    found[order[kept - rest :]] -= 1
    return found
