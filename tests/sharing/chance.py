"""Tests of randomness, at fixed seeds: each says how unlikely what it found would be, were it uniform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

UNLIKELY = 1e-5
"""Below this chance a test says: not uniform. Seeds are fixed, so a test that passes once always does."""


def chance_of(values: NDArray[np.uint8], kinds: int = 256) -> float:
    """The chance of counts as uneven as these among uniform values (chi-square with `kinds` - 1 degrees)."""
    counts = np.bincount(values, minlength=kinds)
    expected = len(values) / kinds
    return float(chi2.sf(((counts - expected) ** 2 / expected).sum(), kinds - 1))


def chance_of_words(words: NDArray[np.uint64]) -> float:
    """The least chance over the eight bytes of the words, times eight."""
    columns = np.ascontiguousarray(words).view(np.uint8).reshape(-1, 8)
    return min(1.0, 8 * min(chance_of(columns[:, place]) for place in range(8)))


def distance_from_mean(values: NDArray[np.float64], mean: float, variance: float) -> float:
    """How many standard deviations the average lies from an expected value."""
    return float(abs(values.mean() - mean) / np.sqrt(variance / len(values)))
