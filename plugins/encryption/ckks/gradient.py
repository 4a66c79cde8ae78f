"""One gradient step of the linear model on rows and targets that stay encrypted: for small data.

The training side knows the weights and computes; the owner of the rows opens the gradient and hands it over, so
weights are fresh at every step. One step of least squares takes two levels: one for the scores, one for each column
times the residuals. The sums over rows are left to whoever opens, as that needs no keys that move numbers between
slots.

**Who sees what.** The training side learns the gradient of each step, and of many steps with weights of its choice it
can compute `X'X` and `X'y`: what statistics would have shown in one step (`statistics`). **What it costs.** Far more
than the plaintext step, and one opening for each column and step, which count against the key: `python -m
benchmarks ckks` measures it. Where `X'X` may be opened, `statistics` gives the minimum at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api import Ciphertext, PublicCipher, SecretCipher

Reals = NDArray[np.float64]


def residual_products(
    public: PublicCipher[Any], columns: Sequence[Ciphertext], targets: Ciphertext, weights: Reals
) -> tuple[Ciphertext, ...]:
    """For each column, encrypted: its values times the residuals `features @ weights - targets`, row by row.

    `columns` as from `prediction.encrypted_columns`, `targets` of one length with them, `weights`: (columns,). Raises
    `WireError`: `artefact_invalid` for other shapes, `not_finite`, `out_of_range` where there are fewer than two
    levels or no room."""
    negated = public.multiply_plain(targets, np.full(targets.length, -1.0))
    (scores,) = public.matmul_plain(columns, np.reshape(weights, (-1, 1)))
    residuals = public.add(scores, negated)
    return tuple(public.multiply(column, residuals) for column in columns)


def opened_gradient(secret: SecretCipher[Any], products: Sequence[Ciphertext]) -> Reals:
    """The gradient of half the mean squared error: (columns,). It opens as many ciphertexts as there are columns."""
    sums = [secret.decrypt(product).sum() / product.length for product in products]
    return np.array(sums, np.float64)


def step(weights: Reals, gradient: Reals, learning_rate: float) -> Reals:
    """The weights after one step."""
    return weights - learning_rate * gradient
