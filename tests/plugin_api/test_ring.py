"""Numbers in the ring: sums over owners are exact or refused, never wrong."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.plugin_api import FixedPoint, WholeNumbers, checked_ring
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError

EXAMPLES = settings(max_examples=300, deadline=None)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def code_of(act: Any) -> RefusalCode:
    with pytest.raises(WireError) as caught:
        act()
    return caught.value.code


def nearest(value: float, bits: int) -> int:
    """The integer nearest to value * 2^bits, to the even one of two, by exact fractions."""
    return round(Fraction(value) * 2**bits)


def added(vectors: list[np.ndarray]) -> np.ndarray:
    total = np.zeros(len(vectors[0]), np.uint64)
    for vector in vectors:
        total += vector
    return total


@st.composite
def fixed_point_sums(draw: st.DrawFn) -> tuple[int, float, list[list[float]]]:
    """Bits of fraction, a largest number, and numbers of some owners; mostly within bounds, often at them."""
    bits = draw(st.integers(0, 62))
    largest = draw(st.floats(min_value=2.0**-40, max_value=2.0**64, allow_infinity=False))
    owners, length = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    number = st.floats(min_value=-largest, max_value=largest) | st.sampled_from([largest, -largest, 0.0])
    numbers = draw(
        st.lists(st.lists(number, min_size=length, max_size=length), min_size=owners, max_size=owners)
    )
    return bits, largest, numbers


@EXAMPLES
@given(case=fixed_point_sums())
def test_a_sum_in_fixed_point_is_exact_or_refused(case: tuple[int, float, list[list[float]]]) -> None:
    bits, largest, numbers = case
    fits = len(numbers) * nearest(largest, bits) < 2**63 and nearest(largest, bits) > 0
    if not fits:
        assert code_of(lambda: FixedPoint(bits, largest, len(numbers))) is RefusalCode.OUT_OF_RANGE
        return
    fixed = FixedPoint(bits, largest, len(numbers))
    total = added([fixed.to_ring(np.array(own)) for own in numbers])
    exact = [sum(nearest(value, bits) for value in column) for column in zip(*numbers, strict=True)]
    assert total.view(np.int64).tolist() == exact
    # A Fraction becomes the float nearest to it.
    assert fixed.from_ring(total).tolist() == [float(Fraction(number, 2**bits)) for number in exact]


@EXAMPLES
@given(bits=st.integers(0, 40), largest=st.floats(1.0, 2.0**20), value=FINITE | st.just(math.nan))
def test_one_number_is_taken_up_to_the_largest_and_no_further(
    bits: int, largest: float, value: float
) -> None:
    fixed = FixedPoint(bits, largest, 3)
    if math.isnan(value):
        assert code_of(lambda: fixed.to_ring(np.array([value]))) is RefusalCode.NOT_FINITE
    elif abs(value) > largest:
        assert code_of(lambda: fixed.to_ring(np.array([value]))) is RefusalCode.OUT_OF_RANGE
    else:
        there = fixed.to_ring(np.array([value]))
        assert abs(Fraction(value) - Fraction(int(there.view(np.int64)[0]), 2**bits)) <= Fraction(
            1, 2 ** (bits + 1)
        )


@EXAMPLES
@given(
    largest=st.integers(1, 2**64),
    numbers=st.lists(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=2), min_size=1, max_size=6
    ),
)
def test_a_sum_of_whole_numbers_is_exact_or_refused(largest: int, numbers: list[list[int]]) -> None:
    if len(numbers) * largest >= 2**63:
        assert code_of(lambda: WholeNumbers(largest, len(numbers))) is RefusalCode.OUT_OF_RANGE
        return
    whole = WholeNumbers(largest, len(numbers))
    for own in numbers:
        if max(map(abs, own)) > largest:
            assert code_of(lambda own=own: whole.to_ring(np.array(own))) is RefusalCode.OUT_OF_RANGE
            return
    total = added([whole.to_ring(np.array(own, np.int64)) for own in numbers])
    assert whole.from_ring(total).tolist() == [sum(column) for column in zip(*numbers, strict=True)]


@EXAMPLES
@given(
    largest=st.integers(1, 2**61),
    owners=st.integers(1, 4),
    places=st.lists(st.integers(-100, 100), min_size=8, max_size=8),
)
def test_whole_numbers_at_their_bounds_add_up(largest: int, owners: int, places: list[int]) -> None:
    if owners * largest >= 2**63:
        assert code_of(lambda: WholeNumbers(largest, owners)) is RefusalCode.OUT_OF_RANGE
        return
    whole = WholeNumbers(largest, owners)
    # At the upper bound, at the lower one, and some way inside of both.
    own = [(largest - min(abs(place), largest)) * (1 if place > 0 else -1) for place in places]
    numbers = [own] * owners
    total = added([whole.to_ring(np.array(own, np.int64)) for own in numbers])
    assert whole.from_ring(total).tolist() == [sum(column) for column in zip(*numbers, strict=True)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    for dtype in (np.float32, np.float64):
        code = code_of(lambda dtype=dtype: FixedPoint(16, 10.0, 3).to_ring(np.array([1.0, value], dtype)))
        assert code is RefusalCode.NOT_FINITE


@pytest.mark.parametrize(
    ("bits", "largest", "owners"),
    [
        (-1, 100.0, 3),
        (63, 1e-6, 3),
        (20, 0.0, 3),
        (20, -1.0, 3),
        (20, math.nan, 3),
        (20, math.inf, 3),
        (20, 1.0, 0),
        (0, 0.4, 3),
        (62, 1.0, 2),
        (0, 2.0**63, 1),
        (62, 1.7e308, 1),
        (40, 2.0**22, 2),
    ],
)
def test_bounds_under_which_a_sum_might_not_fit_are_refused(bits: int, largest: float, owners: int) -> None:
    assert code_of(lambda: FixedPoint(bits, largest, owners)) is RefusalCode.OUT_OF_RANGE


@pytest.mark.parametrize(
    ("bits", "largest", "owners"), [(62, 1.0, 1), (61, 1.0, 3), (40, 2.0**22 - 2.0**-20, 2), (0, 1.0, 10)]
)
def test_sums_at_the_very_bound_are_exact(bits: int, largest: float, owners: int) -> None:
    fixed = FixedPoint(bits, largest, owners)
    for sign in (1, -1):
        total = added([fixed.to_ring(np.array([sign * largest]))] * owners)
        assert total.view(np.int64).tolist() == [sign * owners * nearest(largest, bits)]
        assert fixed.from_ring(total).tolist() == [
            float(Fraction(sign * owners * nearest(largest, bits), 2**bits))
        ]


def test_numbers_half_way_go_to_the_even_one() -> None:
    found = FixedPoint(1, 10.0, 3).to_ring(np.array([0.25, 0.75, -0.25, -0.75, 1.25]))
    assert found.view(np.int64).tolist() == [0, 2, 0, -2, 2]


def test_float32_is_taken_as_it_is() -> None:
    values = np.array([0.1, -3.7], np.float32)
    fixed = FixedPoint(24, 10.0, 3)
    assert (fixed.to_ring(values) == fixed.to_ring(values.astype(np.float64))).all()


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, 2]),
        np.array([1.0], np.float16),
        np.array([1.0], np.longdouble),
        np.array([True]),
        np.array(["1"]),
        np.array([1.0], object),
        np.ones((2, 2)),
        np.empty(0),
    ],
)
def test_only_floats_in_one_dimension_are_taken_in_fixed_point(values: Any) -> None:
    assert code_of(lambda: FixedPoint(8, 10.0, 3).to_ring(values)) is RefusalCode.ARTEFACT_INVALID


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.0]),
        np.array([True]),
        np.array(["1"]),
        np.array([1], object),
        np.ones((2, 2), np.int64),
        np.empty(0, np.int64),
    ],
)
def test_only_integers_in_one_dimension_are_taken_as_whole_numbers(values: Any) -> None:
    assert code_of(lambda: WholeNumbers(10, 3).to_ring(values)) is RefusalCode.ARTEFACT_INVALID


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64, np.int64])
def test_integers_of_every_dtype_are_taken(dtype: Any) -> None:
    assert WholeNumbers(100, 3).to_ring(np.array([0, 7, 100], dtype)).tolist() == [0, 7, 100]


def test_large_numbers_without_a_sign_do_not_become_negative_ones() -> None:
    numbers = np.array([2**63 + 5], np.uint64)
    assert code_of(lambda: WholeNumbers(2**62, 1).to_ring(numbers)) is RefusalCode.OUT_OF_RANGE


@pytest.mark.parametrize("most", [31, -31, 2**63 - 1, -(2**63)])
def test_a_sum_that_no_owners_can_have_is_refused(most: int) -> None:
    total = np.array([most % 2**64], np.uint64)
    assert code_of(lambda: WholeNumbers(10, 3).from_ring(total)) is RefusalCode.OUT_OF_RANGE
    assert code_of(lambda: FixedPoint(0, 10.0, 3).from_ring(total)) is RefusalCode.OUT_OF_RANGE
    assert WholeNumbers(10, 3).from_ring(np.array([30, -30 % 2**64], np.uint64)).tolist() == [30, -30]


@pytest.mark.parametrize(
    "total", [np.array([1]), np.array([1.0]), np.ones((2, 2), np.uint64), np.ones((), np.uint64)]
)
def test_a_sum_that_is_not_in_the_ring_is_refused(total: Any) -> None:
    assert code_of(lambda: FixedPoint(8, 10.0, 3).from_ring(total)) is RefusalCode.ARTEFACT_INVALID
    assert code_of(lambda: checked_ring(total, 1)) is RefusalCode.ARTEFACT_INVALID


def test_refusals_do_not_say_the_numbers() -> None:
    for act in (
        lambda: FixedPoint(8, 10.0, 3).to_ring(np.array([123456.789])),
        lambda: WholeNumbers(10, 3).to_ring(np.array([123456])),
        lambda: WholeNumbers(10, 3).from_ring(np.array([123456], np.uint64)),
    ):
        with pytest.raises(WireError) as caught:
            act()
        assert "123456" not in str(caught.value)


def test_what_is_given_stays_as_it_was() -> None:
    values, whole = np.array([0.5, -2.0]), np.array([3, -4])
    FixedPoint(8, 10.0, 3).to_ring(values)[:] = 0
    WholeNumbers(10, 3).to_ring(whole)[:] = 0
    total = np.array([3], np.uint64)
    WholeNumbers(10, 3).from_ring(total)[:] = 0
    FixedPoint(8, 10.0, 3).from_ring(total)[:] = 0
    assert (values.tolist(), whole.tolist(), total.tolist()) == ([0.5, -2.0], [3, -4], [3])
