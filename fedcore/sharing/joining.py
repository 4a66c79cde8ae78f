"""From the model's parameters to the weights that are trained on shares, and back.

With two classes only the difference of the two outputs is trained: on it alone depend predictions, margins and both
losses' gradients of it. The sum of the outputs stays as it is at the start.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.arrays import invalid, pack_arrays, unpack_arrays
from fedcore.plugin_api.ciphers import out_of_range
from fedcore.plugin_api.models import ModelType, Parameters
from fedcore.plugin_api.ring import RingVector
from fedcore.plugin_api.values import Matrix
from fedcore.sharing.scales import Scales
from fedcore.wire.spec import Training

CLASSES: Final = 2
WEIGHTS: Final = "weights"
"""The array's name in a share of the final weights."""


def linear_names(model: ModelType[Any]) -> tuple[str, str]:
    """The names of weight and bias. Raises `WireError` (`artefact_invalid`) for a model that is not linear."""
    names = model.linear_parameters
    if names is None:
        raise invalid(
            f"model {model.name} is not linear with these options, so it cannot be trained on shares"
        )
    return names


def initial_parameters(model: ModelType[Any], columns: int, training: Training) -> Parameters:
    """The model's initial parameters for two classes: public, and the same for all who have the run spec."""
    nothing = Matrix(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), columns)
    return model.initial(nothing, CLASSES, training)


def pack_weights(share: RingVector) -> bytes:
    """A compute owner's share of the final weights as bytes."""
    return pack_arrays({WEIGHTS: share})


def unpack_weights(data: bytes, columns: int) -> RingVector:
    """A share of the weights of so many columns, then of the bias. Raises `WireError` (`artefact_invalid`)."""
    arrays, _ = unpack_arrays(data)
    share = arrays.get(WEIGHTS)
    if len(arrays) != 1 or share is None or share.dtype != np.uint64 or share.shape != (columns + 1,):
        raise invalid(f"this is no share of the weights of {columns} columns")
    return share


def initial_weights(parameters: Parameters, names: tuple[str, str], scales: Scales) -> RingVector:
    """The difference of the two classes' initial weights, then of the biases, in the ring."""
    weight, bias = (np.asarray(parameters[name], np.float64) for name in names)
    difference = np.append(weight[1] - weight[0], bias[1] - bias[0])
    return np.rint(difference * math.ldexp(1.0, scales.weight_bits)).astype(np.int64).view(np.uint64)


def final_parameters(
    shares: tuple[RingVector, RingVector], initial: Parameters, names: tuple[str, str], scales: Scales
) -> dict[str, NDArray[Any]]:
    """The trained parameters from both shares of the weights.

    Raises `WireError`: `artefact_invalid` for shares of another shape, `out_of_range` for weights that no training can
    have given.
    """
    columns = np.asarray(initial[names[0]]).shape[1]
    if any(share.dtype != np.uint64 or share.shape != (columns + 1,) for share in shares):
        raise invalid(
            f"shares of the weights of shapes {[share.shape for share in shares]}, expected {columns + 1}"
        )
    total = (shares[0] + shares[1]).view(np.int64)
    if int(np.abs(total >> 1).max()) >= 2**61:
        raise out_of_range("the weights that the two shares add up to are at the end of their range")
    difference = total.astype(np.float64) * math.ldexp(1.0, -scales.weight_bits)
    found = {}
    for name, part in zip(names, (difference[:-1], difference[-1]), strict=True):
        before = np.asarray(initial[name])
        middle = before.astype(np.float64).mean(axis=0)
        found[name] = np.stack([middle - part / 2, middle + part / 2]).astype(before.dtype)
    return found
