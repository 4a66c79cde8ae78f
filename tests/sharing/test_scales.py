"""Fixed point: which bits are allowed, and how exact a learning rate is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedcore.sharing.scales import Rate, Scales, factor_of
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError

EVERY = [(fraction, score) for fraction in (1, 6, 13, 18, 20) for score in (2, 6, 12)]


def refusal(call: object, *arguments: object) -> WireError:
    assert callable(call)
    with pytest.raises(WireError) as caught:
        call(*arguments)
    assert caught.value.code is RefusalCode.OUT_OF_RANGE
    return caught.value


@pytest.mark.parametrize("bits", [(0, 6), (21, 6), (13, 1), (13, 13), (-1, 6)])
def test_bits_that_leave_the_weights_too_few_are_refused(bits: tuple[int, int]) -> None:
    assert refusal(Scales, *bits).detail == "rows have 1 to 20 bits of fraction, and scores 2 to 12 bits"


@pytest.mark.parametrize(("fraction", "score"), EVERY)
def test_the_bits_of_rows_weights_and_scores_fill_the_ring(fraction: int, score: int) -> None:
    scales = Scales(fraction, score)
    assert scales.weight_bits + fraction + score == 63
    assert scales.product_bits == scales.weight_bits + fraction
    assert scales.error_bits + fraction == scales.weight_bits


@pytest.mark.parametrize(("fraction", "score"), EVERY)
@pytest.mark.parametrize("rows", [1, 2, 64, 1024])
def test_a_power_of_two_over_a_power_of_two_of_rows_is_exact(fraction: int, score: int, rows: int) -> None:
    scales = Scales(fraction, score)
    for exponent in range(14, 40):
        rate = math.ldexp(rows, exponent - 1 - scales.error_bits)
        found = Rate.of(scales, rate, rows)
        assert found == Rate(2**exponent, 1, exponent)


def test_any_other_rate_is_exact_to_2_to_the_minus_12_and_its_two_forms_agree_to_that() -> None:
    scales = Scales(13, 6)
    for rate in np.random.default_rng(1).uniform(1e-3, 30, 500):
        for rows in (1, 3, 100, 777):
            found = Rate.of(scales, float(rate), rows)
            exact = 2 * rate / rows * 2**scales.error_bits
            assert abs(found.factor * 2**found.shift / exact - 1) <= 2**-12
            assert abs(found.whole / exact - 1) <= 2**-15
            assert found.factor % 2 == 1
            assert found.factor < 2**12


@pytest.mark.parametrize(("fraction", "score"), EVERY)
def test_errors_are_always_truncated_by_a_number_of_bits_that_a_truncation_takes(
    fraction: int, score: int
) -> None:
    scales = Scales(fraction, score)
    for exponent in (14, 39):
        for times in (1, 1.9999):
            rate = Rate.of(scales, math.ldexp(times, exponent - 1 - scales.error_bits), 1)
            assert 1 <= scales.product_bits - rate.shift <= 62


@pytest.mark.parametrize("rate", [1e-9, 0.0, -0.1, 1e9])
def test_a_rate_that_is_too_small_or_too_large_is_refused_with_what_is_possible(rate: float) -> None:
    detail = refusal(Rate.of, Scales(13, 6), rate, 32).detail
    assert "a learning rate with 32 rows in a batch lies between 0.000122 and 8.19e+03" in detail
    assert detail.endswith(f"not at {rate:g}")


def test_the_ends_of_what_a_refused_rate_is_told_are_the_ends() -> None:
    scales = Scales(13, 6)
    least, most = 2.0 ** (13 - 31), 2.0 ** (39 - 31)
    assert Rate.of(scales, least, 1).whole == 2**14
    refusal(Rate.of, scales, math.nextafter(least, 0), 1)
    refusal(Rate.of, scales, most, 1)
    assert Rate.of(scales, math.nextafter(most, 0), 1).whole == 2**40


@pytest.mark.parametrize(
    ("value", "factor"), [(0.0, 0), (0.9, 3686), (0.5, 2048), (1.0, 4096), (1 / 4096, 1)]
)
def test_a_momentum_or_decay_is_the_nearest_multiple_of_2_to_the_minus_12(value: float, factor: int) -> None:
    assert factor_of("momentum", value) == factor


@pytest.mark.parametrize("value", [1e-6, 1e-4, 1.5 / 4096])
def test_a_momentum_or_decay_far_from_a_multiple_is_refused(value: float) -> None:
    detail = refusal(factor_of, "lr times weight_decay", value).detail
    assert (
        detail
        == f"under `shared` lr times weight_decay is a multiple of 2^-12, and {value:g} is far from one"
    )
