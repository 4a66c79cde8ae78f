"""Reading a dealt table: the index is right or one more, right on average, and no score leaves its range unseen."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fedcore.plugin_api.ring import RingVector
from fedcore.sharing.kernels import rotated
from fedcore.sharing.lookup import COARSE, COARSE_BITS, FINE, FINE_BITS, index, range_table, sigmoid_table
from tests.sharing.chance import UNLIKELY, chance_of, distance_from_mean

FINE_SHIFT, COARSE_SHIFT = 63 - FINE_BITS, 64 - COARSE_BITS
EDGE = 2**62
"""The largest score that is in range, at the scale of products."""


def shares_of(numbers: NDArray[np.int64], seed: int) -> tuple[RingVector, RingVector]:
    first = np.random.default_rng(seed).integers(0, 2**64, len(numbers), np.uint64)
    return first, numbers.view(np.uint64) - first


def indices(shares: tuple[RingVector, RingVector], shift: int, bits: int, seed: int = 0) -> NDArray[np.uint8]:
    """What both open, less the mask: the index."""
    masks = np.random.default_rng(seed).integers(0, 256, (2, len(shares[0])), np.uint8)
    opened = index(shares[0], shift, masks[0], bits, 0) + index(shares[1], shift, masks[1], bits, 1)
    return (opened - masks[0] - masks[1]) & np.uint8(2**bits - 1)


def of_score(score: float, count: int, score_bits: int = 6) -> NDArray[np.int64]:
    return np.full(count, round(score * 2 ** (63 - score_bits)))


@pytest.mark.parametrize(("shift", "bits"), [(FINE_SHIFT, FINE_BITS), (COARSE_SHIFT, COARSE_BITS), (20, 8)])
def test_the_index_is_the_numbers_upper_bits_or_one_more_modulo_the_size(shift: int, bits: int) -> None:
    numbers = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, 200_000)
    found = indices(shares_of(numbers, 2), shift, bits).astype(np.int64)
    assert set(np.unique((found - (numbers >> shift)) % 2**bits)) == {0, 1}


@pytest.mark.parametrize("entry", [0, 5, -7, 100, -128, 126])
@pytest.mark.parametrize("share", [0.125, 0.5, 0.9])
def test_the_index_is_one_more_as_often_as_linear_interpolation_asks(entry: int, share: float) -> None:
    numbers = np.full(40_000, (entry << FINE_SHIFT) + round(share * 2**FINE_SHIFT))
    more = (indices(shares_of(numbers, entry + 500), FINE_SHIFT, FINE_BITS).astype(np.int64) - entry) % FINE
    assert distance_from_mean(more.astype(np.float64), share, share * (1 - share)) < 6
    assert distance_from_mean(np.zeros(40_000), share, share * (1 - share)) > 6


def test_every_one_of_the_256_entries_is_reached_and_the_index_wraps_at_the_ends() -> None:
    numbers = np.arange(-FINE // 2, FINE // 2) << FINE_SHIFT
    found = indices(shares_of(numbers, 3), FINE_SHIFT, FINE_BITS).astype(np.int64)
    assert np.array_equal(np.unique(found), np.arange(FINE))
    around = np.array([-1, 0, (127 << FINE_SHIFT) + 2**FINE_SHIFT - 1])
    assert set(indices(shares_of(np.repeat(around[:1], 99), 4), FINE_SHIFT, FINE_BITS)) <= {255, 0}
    assert set(indices(shares_of(np.repeat(around[2:], 99), 4), FINE_SHIFT, FINE_BITS)) <= {127, 128}


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(("shift", "bits"), [(FINE_SHIFT, FINE_BITS), (COARSE_SHIFT, COARSE_BITS)])
def test_what_is_opened_of_an_index_is_uniform(side: int, shift: int, bits: int) -> None:
    share = np.full(100_000, 12_345 << 40, np.uint64)
    mask = np.random.default_rng(5).integers(0, 256, 100_000, np.uint8)
    assert chance_of(index(share, shift, mask, bits, side), 2**bits) > UNLIKELY
    assert chance_of(index(share, shift, np.zeros_like(mask), bits, side), 2**bits) < UNLIKELY


@pytest.mark.parametrize("score_bits", [2, 6, 9, 11, 12])
@pytest.mark.parametrize("rate", [2**20, 123_456_789, 2**39])
def test_the_sigmoids_table_is_numpys_sigmoid_at_the_entries_scores(score_bits: int, rate: int) -> None:
    scores = np.concatenate([np.arange(128), np.arange(-128, 0)]) * 2.0 ** (score_bits - 8)
    with np.errstate(over="ignore"):
        expected = rate / (1 + np.exp(-scores))
    assert np.abs(sigmoid_table(rate, score_bits).view(np.int64) - expected).max() <= 0.5 + rate * 2.0**-50
    assert len(sigmoid_table(rate, score_bits)) == FINE


@pytest.mark.parametrize("score", [0.0, 0.3, -1.07, 2.6, -5.9, 11.3, -23.99, 23.99])
def test_what_is_read_is_on_average_the_sigmoid_interpolated_between_entries(score: float) -> None:
    rate, count = 2**30, 40_000
    shares = shares_of(of_score(score, count), round(abs(score) * 100))
    found = sigmoid_table(rate, 6).view(np.int64)[indices(shares, FINE_SHIFT, FINE_BITS)] / rate
    ends = np.floor(score * 4) / 4 + np.array([0, 0.25])
    interpolated = float(np.interp(score, ends, 1 / (1 + np.exp(-ends))))
    assert abs(found.mean() - interpolated) < 6 * 0.5 * 0.0625 / np.sqrt(count)
    assert abs(interpolated - 1 / (1 + np.exp(-score))) < 0.25**2 / 8 * 0.1


def passes(numbers: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    found = indices(shares_of(numbers, seed), COARSE_SHIFT, COARSE_BITS, seed)
    return np.asarray(range_table()[found] == 0)


def test_scores_of_three_quarters_of_the_range_always_pass() -> None:
    most = 3 * EDGE // 4
    numbers = np.random.default_rng(1).integers(-most, most, 200_000)
    assert passes(numbers, 1).all()
    assert passes(np.repeat(np.array([most - 1, -most, 0]), 50_000), 2).all()


def test_scores_beyond_the_range_never_pass() -> None:
    beyond = np.random.default_rng(1).integers(EDGE, 2**63 - 1, 200_000)
    assert not passes(beyond, 1).any()
    assert not passes(-beyond, 2).any()
    assert not passes(np.repeat(np.array([EDGE, -EDGE - 1, -(2**63)]), 50_000), 3).any()


@pytest.mark.parametrize("distance", [2**50, 2**53, 2**54])
def test_a_score_at_the_end_of_the_table_that_passes_is_never_read_at_the_other_end(distance: int) -> None:
    """Both indices come from the same shares: where the coarse one passes, the fine one is not rounded up."""
    shares = shares_of(np.full(400_000, EDGE - distance), 8)
    passed = range_table()[indices(shares, COARSE_SHIFT, COARSE_BITS)] == 0
    fine = indices(shares, FINE_SHIFT, FINE_BITS)
    assert passed.any()
    assert (fine == 128).any()
    assert not (fine[passed] == 128).any()


def test_the_range_table_holds_1_at_the_nine_indices_around_the_middle_of_the_ring() -> None:
    assert range_table().tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    assert len(range_table()) == COARSE


@pytest.mark.parametrize("size", [COARSE, FINE])
def test_a_table_that_is_moved_on_and_shared_is_read_at_the_index_plus_the_offset(size: int) -> None:
    chance = np.random.default_rng(6)
    table = chance.integers(0, 2**64, size, np.uint64)
    offsets = np.arange(size, dtype=np.uint64)
    first = chance.integers(0, 2**64, size * size, np.uint64)
    second = first.copy()
    rotated(table, offsets, second)
    both = (first + second).reshape(size, size)
    for entry in range(size):
        read = both[np.arange(size), (entry + np.arange(size)) % size]
        assert (read == table[entry]).all()
