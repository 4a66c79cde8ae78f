"""From parameters to weights on shares, and back."""

from __future__ import annotations

import numpy as np
import pytest

from fedcore.sharing.joining import final_parameters, initial_weights, linear_names
from fedcore.sharing.scales import Scales
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from plugins.models.linear import Linear
from tests.sharing.cast import SCALES, rows_of, training

NAMES = ("linear.weight", "linear.bias")
INITIAL = Linear().initial(rows_of(1, 5, 4).features, 2, training())


def split(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first = np.random.default_rng(1).integers(0, 2**64, len(weights), np.uint64)
    return first, weights - first


def refusal(shares: tuple[np.ndarray, np.ndarray]) -> WireError:
    with pytest.raises(WireError) as caught:
        final_parameters(shares, INITIAL, NAMES, SCALES)
    return caught.value


def test_the_names_are_those_of_a_linear_models_weight_and_bias() -> None:
    assert linear_names(Linear()) == NAMES


def test_a_model_that_is_not_linear_is_refused_by_its_name() -> None:
    with pytest.raises(WireError, match="model linear is not linear with these options") as caught:
        linear_names(Linear({"activation": "relu"}))
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


@pytest.mark.parametrize("scales", [SCALES, Scales(6, 2), Scales(18, 12)])
def test_initial_weights_are_the_second_outputs_less_the_firsts_with_the_bias_last(scales: Scales) -> None:
    found = initial_weights(INITIAL, NAMES, scales).view(np.int64) * 2.0**-scales.weight_bits
    weight, bias = (np.asarray(INITIAL[name], np.float64) for name in NAMES)
    assert np.allclose(
        found, [*(weight[1] - weight[0]), bias[1] - bias[0]], rtol=0, atol=2.0**-scales.weight_bits
    )
    assert len(found) == 5


def test_weights_that_were_not_trained_give_the_initial_parameters_back() -> None:
    found = final_parameters(split(initial_weights(INITIAL, NAMES, SCALES)), INITIAL, NAMES, SCALES)
    for name in NAMES:
        assert np.abs(found[name] - np.asarray(INITIAL[name])).max() < 1e-12


def test_the_sum_of_the_outputs_stays_and_the_difference_is_what_the_shares_say() -> None:
    weights = np.random.default_rng(2).integers(-(2**50), 2**50, 5)
    found = final_parameters(split(weights.view(np.uint64)), INITIAL, NAMES, SCALES)
    wanted = weights * 2.0**-SCALES.weight_bits
    for name, part in zip(NAMES, (wanted[:4], wanted[4]), strict=True):
        before = np.asarray(INITIAL[name])
        assert np.allclose(found[name][1] - found[name][0], part, rtol=1e-12)
        assert np.abs(found[name].sum(axis=0) - before.sum(axis=0)).max() < 1e-12
        assert found[name].dtype == before.dtype


@pytest.mark.parametrize("end", [2**62, -(2**62), 2**63 - 1, -(2**63)])
def test_weights_at_the_end_of_their_range_are_refused(end: int) -> None:
    weights = np.zeros(5, np.int64)
    weights[2] = end
    found = refusal(split(weights.view(np.uint64)))
    assert found.code is RefusalCode.OUT_OF_RANGE
    assert found.detail == "the weights that the two shares add up to are at the end of their range"


@pytest.mark.parametrize("end", [2**62 - 1, -(2**62) + 2])
def test_weights_just_within_their_range_are_taken(end: int) -> None:
    weights = np.full(5, end).view(np.uint64)
    found = final_parameters(split(weights), INITIAL, NAMES, SCALES)
    assert np.allclose(found[NAMES[0]][1] - found[NAMES[0]][0], end * 2.0**-SCALES.weight_bits)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(
    "share",
    [
        np.zeros(4, np.uint64),
        np.zeros(6, np.uint64),
        np.zeros((5, 1), np.uint64),
        np.zeros(5, np.int64),
        np.zeros(5),
    ],
    ids=["short", "long", "in two dimensions", "signed", "real"],
)
def test_shares_of_another_shape_or_dtype_are_refused(side: int, share: np.ndarray) -> None:
    shares = [np.zeros(5, np.uint64)] * 2
    shares[side] = share
    found = refusal((shares[0], shares[1]))
    assert found.code is RefusalCode.ARTEFACT_INVALID
    assert "expected 5" in found.detail
