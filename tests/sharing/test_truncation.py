"""Truncation: never off by more than one, right on average, and nothing to see in what is opened."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fedcore.plugin_api.ring import RingVector
from fedcore.sharing.truncation import Cut, masked, quotient_and_top, truncated
from tests.sharing.chance import UNLIKELY, chance_of_words, distance_from_mean

EDGE = 2**62
SOME = [
    0,
    1,
    -1,
    2,
    12_345,
    -98_765,
    2**40 + 1,
    -(2**50),
    EDGE - 1,
    -(EDGE - 1),
    EDGE - 2**30,
    -EDGE + 2**31 - 1,
]
FAR = 6.0
"""Standard deviations beyond which an average counts as biased."""


def uniform(chance: np.random.Generator, count: int) -> RingVector:
    return chance.integers(0, 2**64, count, np.uint64)


def cut(
    numbers: NDArray[np.int64], bits: int, seed: int, mask: RingVector | None = None
) -> tuple[NDArray[np.int64], RingVector]:
    """Both compute owners' work on these numbers: the sum of their results, and what they opened."""
    chance = np.random.default_rng(seed)
    size = len(numbers)
    r = uniform(chance, size) if mask is None else mask
    quotient, top = quotient_and_top(r, bits)
    whole = (numbers.view(np.uint64), r, quotient, top)
    first = [uniform(chance, size) for _ in whole]
    second = [value - share for value, share in zip(whole, first, strict=True)]
    cuts = Cut(*first[1:]), Cut(*second[1:])
    opened = masked(first[0], cuts[0], 0) + masked(second[0], cuts[1], 1)
    total = truncated(opened, cuts[0], bits, 0) + truncated(opened, cuts[1], bits, 1)
    return total.view(np.int64), opened


def off(numbers: NDArray[np.int64], bits: int, seed: int) -> NDArray[np.int64]:
    """By how much the result exceeds the quotient rounded down."""
    return cut(numbers, bits, seed)[0] - (numbers >> bits)


def is_unbiased(off_by: NDArray[np.int64], share: float) -> bool:
    """Whether so many results were rounded up as a fraction that is this share of 2^t asks for."""
    return distance_from_mean(off_by.astype(np.float64), share, max(share * (1 - share), 1e-3)) < FAR


def test_a_million_draws_over_the_whole_range_are_never_off_by_more_than_one() -> None:
    numbers = np.random.default_rng(1).integers(-EDGE + 1, EDGE, 10**6)
    for bits in (1, 14, 31, 47, 62):
        assert set(np.unique(off(numbers, bits, bits))) == {0, 1}


@pytest.mark.parametrize("bits", range(1, 63))
def test_the_result_is_the_quotient_rounded_down_or_one_more_for_every_number_of_bits(bits: int) -> None:
    numbers = np.repeat(np.array(SOME, np.int64), 200)
    assert set(np.unique(off(numbers, bits, bits))) <= {0, 1}


@pytest.mark.parametrize("number", [0, 2**44, -(2**44), EDGE - 2**44])
def test_a_multiple_of_the_divisor_is_divided_exactly(number: int) -> None:
    assert not off(np.full(10_000, number), 44, 3).any()


def test_at_the_end_of_the_range_it_is_right_and_beyond_it_is_wrong() -> None:
    assert set(np.unique(off(np.array([EDGE - 1, -EDGE] * 5000), 20, 5))) <= {0, 1}
    wrong = off(np.array([EDGE + EDGE // 2] * 5000), 20, 5)
    assert not set(np.unique(wrong)) <= {0, 1}


@pytest.mark.parametrize("share", [1 / 16, 0.25, 0.5, 0.7, 31 / 32])
@pytest.mark.parametrize(("whole", "bits"), [(0, 10), (77, 10), (-5, 30), (-(2**20), 40), (3, 57)])
def test_on_average_the_result_is_the_exact_quotient(share: float, whole: int, bits: int) -> None:
    number = (whole << bits) + round(share * 2**bits)
    exact = (number % 2**bits) / 2**bits
    assert is_unbiased(off(np.full(40_000, number), bits, round(100 * share) + bits), exact)


@pytest.mark.parametrize("share", [1 / 16, 0.5, 31 / 32])
def test_rounding_down_always_and_rounding_to_the_nearest_are_told_to_be_biased(share: float) -> None:
    down = np.zeros(40_000, np.int64)
    nearest = np.full(40_000, round(share + 1e-9))
    assert not is_unbiased(down, share)
    assert not is_unbiased(nearest, share)


def test_a_mask_whose_lower_bits_are_not_uniform_is_told_to_be_biased() -> None:
    r = uniform(np.random.default_rng(2), 40_000) & ~np.uint64(2**9)
    number = np.full(40_000, 700)
    found, _ = cut(number, 10, 4, r)
    assert not is_unbiased(found - (number >> 10), 700 / 1024)


@pytest.mark.parametrize("number", SOME)
def test_what_is_opened_is_uniform_whatever_the_number_is(number: int) -> None:
    _, opened = cut(np.full(40_000, number), 20, 9)
    assert chance_of_words(opened) > UNLIKELY


def test_what_is_opened_without_a_mask_is_told_not_to_be_uniform() -> None:
    _, opened = cut(np.full(40_000, 12_345), 20, 9, np.zeros(40_000, np.uint64))
    assert chance_of_words(opened) < UNLIKELY
    half = uniform(np.random.default_rng(2), 40_000) >> np.uint64(1)
    assert chance_of_words(cut(np.full(40_000, 12_345), 20, 9, half)[1]) < UNLIKELY


@pytest.mark.parametrize("side", [0, 1])
def test_one_sides_share_of_the_result_alone_is_uniform(side: int) -> None:
    chance = np.random.default_rng(11)
    dealt = Cut(*(uniform(chance, 40_000) for _ in range(3)))
    share = truncated(uniform(chance, 40_000), dealt, 20, side)
    assert chance_of_words(share) > UNLIKELY
