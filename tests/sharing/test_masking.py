"""Masked rows: exact with both masks, uniform without, and refused where they are not what is trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedcore.plugin_api.models import LabelledRows
from fedcore.plugin_api.values import Matrix, Sequence
from fedcore.sharing.masking import MaskKeys, SharedRows, mask_rows, pack_masked, unpack_masked
from fedcore.sharing.streams import Words
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from tests.sharing.cast import LARGEST, fixed, rows_of
from tests.sharing.chance import UNLIKELY, chance_of_words

BITS = 13
KEYS = MaskKeys.of_part(fixed("olga"), 0)


def shares_of(masked: np.ndarray, keys: MaskKeys) -> tuple[SharedRows, SharedRows]:
    one, other = (SharedRows.of([(masked, keys.of_side(side))], masked.size) for side in (0, 1))
    return one, other


def refusal(rows: LabelledRows, largest: float = LARGEST) -> WireError:
    with pytest.raises(WireError) as caught:
        mask_rows(rows, KEYS, BITS, largest)
    return caught.value


def with_data(value: float) -> LabelledRows:
    rows = rows_of(1, 20, 5)
    assert isinstance(rows.features, Matrix)
    data = rows.features.data.copy()
    data[3] = value
    return replace(rows, features=replace(rows.features, data=data))


@pytest.mark.parametrize("columns", [1, 2, 7, 8])
@pytest.mark.parametrize("density", [0.0, 0.05, 0.6, 1.0])
def test_masked_rows_and_both_masks_are_the_rows_in_fixed_point_the_label_and_padding(
    columns: int, density: float
) -> None:
    rows = rows_of(columns, 60, columns, density)
    masked = mask_rows(rows, KEYS, BITS, LARGEST)
    one, other = shares_of(masked, KEYS)
    whole = (one.masked + one.mask + other.mask).view(np.int64).reshape(masked.shape)
    assert isinstance(rows.features, Matrix)
    wanted = np.rint(rows.features.to_scipy().toarray().astype(np.float64) * 2**BITS).astype(np.int64)
    assert np.array_equal(whole[:, :columns], wanted)
    assert np.array_equal(whole[:, columns], rows.labels)
    assert not whole[:, columns + 1 :].any()
    assert masked.shape[1] % 2 == 0


def test_numbers_are_rounded_to_the_nearest_multiple_and_may_be_as_large_as_allowed() -> None:
    values = np.array([64.0, -64.0, 0.3, -0.3, 2.0**-14, 3 * 2.0**-14, -(2.0**-15)], np.float32)
    matrix = Matrix(np.array([0, 7]), np.arange(7, dtype=np.int32), values, 7)
    masked = mask_rows(LabelledRows(matrix, np.array([1])), KEYS, BITS, LARGEST)
    one, other = shares_of(masked, KEYS)
    whole = (one.masked + one.mask + other.mask).view(np.int64)
    assert whole.tolist() == [2**19, -(2**19), 2458, -2458, 0, 2, 0, 1]


@pytest.mark.parametrize("side", [0, 1])
def test_both_sides_shares_of_the_labels_add_up_to_the_labels(side: int) -> None:
    rows = rows_of(3, 50, 6)
    masked = mask_rows(rows, KEYS, BITS, LARGEST)
    numbers = np.array([3, 49, 0, 3])
    shares = [one.labels(numbers, 8, 6, place) for place, one in enumerate(shares_of(masked, KEYS))]
    assert np.array_equal(shares[0] + shares[1], rows.labels[numbers].astype(np.uint64))
    assert not np.array_equal(shares[side], rows.labels[numbers])


def test_masking_the_same_part_again_gives_the_same_bytes() -> None:
    rows = rows_of(4, 30, 5)
    again = [
        pack_masked(mask_rows(rows, MaskKeys.of_part(fixed("olga"), 2), BITS, LARGEST)) for _ in range(2)
    ]
    assert again[0] == again[1]


def test_keys_of_other_parts_sides_and_owners_are_all_different() -> None:
    keys = [MaskKeys.of_part(fixed(owner), part) for owner in ("olga", "sam") for part in range(50)]
    every = {key for pair in keys for key in (pair.first, pair.second)}
    assert len(every) == 200
    assert KEYS.of_side(0) == KEYS.first != KEYS.second == KEYS.of_side(1)


def test_masks_of_other_parts_and_sides_have_no_number_in_common() -> None:
    pairs = [MaskKeys.of_part(fixed("olga"), part) for part in range(5)]
    masks = np.concatenate([Words(key).take(500) for pair in pairs for key in (pair.first, pair.second)])
    assert len(np.unique(masks)) == len(masks)


def test_fresh_keys_are_new_each_time() -> None:
    one, other = MaskKeys.fresh(), MaskKeys.fresh()
    assert len({one.first, one.second, other.first, other.second}) == 4


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_an_owners_secret_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="An owner's secret for a run has 32 bytes"):
        MaskKeys.of_part(bytes(size), 0)


@pytest.mark.parametrize("sizes", [(31, 32), (32, 33), (0, 0)])
def test_keys_of_another_size_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(WireError, match="the keys of masked rows have 32 bytes each") as caught:
        MaskKeys(bytes(sizes[0]), bytes(sizes[1]))
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


def test_keys_do_not_show_when_they_are_printed() -> None:
    assert repr(KEYS) == "MaskKeys()"
    rows = shares_of(mask_rows(rows_of(1, 2, 2), KEYS, BITS, LARGEST), KEYS)[0]
    assert "mask=" not in repr(rows)


@pytest.mark.parametrize("density", [0.0, 1.0])
def test_masked_rows_are_uniform_whatever_the_rows_are_and_either_mask_alone_changes_nothing(
    density: float,
) -> None:
    rows = rows_of(5, 4000, 7, density)
    masked = mask_rows(rows, KEYS, BITS, LARGEST).reshape(-1)
    assert chance_of_words(masked) > UNLIKELY
    for side in (0, 1):
        assert chance_of_words(masked + Words(KEYS.of_side(side)).take(masked.size)) > UNLIKELY
    both = masked + Words(KEYS.first).take(masked.size) + Words(KEYS.second).take(masked.size)
    assert chance_of_words(both) < UNLIKELY


def test_sequences_are_refused() -> None:
    rows = LabelledRows(Sequence(np.zeros((3, 4), np.int32), 9), np.zeros(3, np.int64))
    found = refusal(rows)
    assert found.code is RefusalCode.ARTEFACT_INVALID
    assert found.detail == (
        "under `shared` a pipeline ends in a matrix: sequences have no scores that can be shared"
    )


@pytest.mark.parametrize("label", [2, -1])
def test_a_third_class_is_refused(label: int) -> None:
    rows = rows_of(1, 20, 5)
    labels = rows.labels.copy()
    labels[7] = label
    found = refusal(replace(rows, labels=labels))
    assert found.code is RefusalCode.ARTEFACT_INVALID
    assert found.detail == "under `shared` rows have one of two classes"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused(value: float) -> None:
    assert refusal(with_data(value)).code is RefusalCode.NOT_FINITE


@pytest.mark.parametrize("value", [64.00001, -65.0, 1e30])
def test_a_number_that_is_too_large_is_refused(value: float) -> None:
    found = refusal(with_data(value))
    assert found.code is RefusalCode.OUT_OF_RANGE
    assert found.detail == "a number of the rows exceeds 64, the largest that the run declares"
    assert "exceeds 0.5" in refusal(with_data(0.75), 0.5).detail


def test_no_row_gives_no_masked_row() -> None:
    matrix = Matrix(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), 3)
    assert mask_rows(LabelledRows(matrix, np.empty(0, np.int64)), KEYS, BITS, LARGEST).shape == (0, 4)


def test_masked_rows_come_back_from_their_bytes() -> None:
    masked = mask_rows(rows_of(1, 20, 5), KEYS, BITS, LARGEST)
    assert np.array_equal(unpack_masked(pack_masked(masked), 6), masked)


@pytest.mark.parametrize(("size", "text"), [(119, "more"), (121, "fewer"), (0, "more"), (240, "fewer")])
def test_parts_that_do_not_fill_the_plan_are_refused(size: int, text: str) -> None:
    masked: Any = mask_rows(rows_of(1, 20, 5), KEYS, BITS, LARGEST)
    with pytest.raises(WireError, match=f"the masked parts have {text} rows than the plan") as caught:
        SharedRows.of([(masked, KEYS.first)], size)
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


def test_rows_of_several_parts_follow_one_another() -> None:
    keys = [MaskKeys.of_part(fixed("olga"), part) for part in range(3)]
    parts = [mask_rows(rows_of(part, 10 + part, 5), keys[part], BITS, LARGEST) for part in range(3)]
    shared = SharedRows.of([(one, pair.second) for one, pair in zip(parts, keys, strict=True)], 33 * 6)
    assert np.array_equal(shared.masked, np.concatenate([part.reshape(-1) for part in parts]))
    masks = [Words(pair.second).take(part.size) for part, pair in zip(parts, keys, strict=True)]
    assert np.array_equal(shared.mask, np.concatenate(masks))
