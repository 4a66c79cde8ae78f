"""Options that look harmless make huge networks on wide features: refused before memory is taken for them."""

from __future__ import annotations

import numpy as np
import pytest

from fedcore.plugin_api import Features, InvalidOptions, Matrix, Sequence
from fedcore.wire.spec import Training
from plugins.models.mlp import MAXIMUM_WEIGHTS, MultilayerPerceptron


def wide(columns: int) -> Matrix:
    return Matrix(np.array([0, 1], np.int64), np.zeros(1, np.int32), np.ones(1, np.float32), columns)


@pytest.mark.parametrize(
    ("features", "options"),
    [
        (wide(2**22), {"hidden": [65_536]}),
        (wide(2**22), {"hidden": [64, 2]}),
        (Sequence(np.ones((1, 4), np.int32), 2**22), {"embedding": 4096}),
    ],
    ids=["wide layer on wide features", "narrow layer on wide features", "long vectors of many tokens"],
)
def test_a_network_too_large_for_the_features_is_refused(features: Features, options: dict[str, int]) -> None:
    with pytest.raises(InvalidOptions, match=f"at most {MAXIMUM_WEIGHTS}"):
        MultilayerPerceptron(options).initial(features, 2, Training())


def test_a_usual_network_on_wide_features_is_made() -> None:
    parameters = MultilayerPerceptron({"hidden": [64]}).initial(wide(2**16), 2, Training())
    assert len(parameters) == 4
