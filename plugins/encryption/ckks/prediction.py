"""Scores of encrypted rows under a model that the scoring side knows.

Features lie column by column: one ciphertext for each column holds its values for all rows, so a weight multiplies as
many rows at a time as a ciphertext has slots, and nothing has to be moved between slots.

**Who sees what.** The scoring side sees how many rows and columns there are; the owner of the rows opens the scores.
The owner does not see the weights, but rows of its choice show them: as many rows as there are columns give all
weights by solving linear equations, and noise that is not blurred, which the owner of the key can look at, may show
traces of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api import Ciphertext, PublicCipher
from fedcore.plugin_api.arrays import invalid

Reals = NDArray[np.float64]


def encrypted_columns(public: PublicCipher[Any], features: Reals) -> tuple[Ciphertext, ...]:
    """The columns of `features` (rows, columns), each as one ciphertext: what the owner of the rows sends.

    Raises `WireError`: `artefact_invalid` for another shape, `not_finite`, `out_of_range`.
    """
    if features.ndim != 2 or not features.size:
        raise invalid(f"features of shape {features.shape} are no rows and columns")
    return tuple(public.encrypt(np.ascontiguousarray(column)) for column in features.T)


def scores(
    public: PublicCipher[Any], columns: Sequence[Ciphertext], weights: Reals, intercepts: Reals
) -> tuple[Ciphertext, ...]:
    """Encrypted scores, one ciphertext for each class: `features @ weights + intercepts`.

    `weights`: (columns, classes); `intercepts`: (classes,). They take one level. Raises `WireError`:
    `artefact_invalid` for other shapes, `not_finite`, `out_of_range` where weights are too large for the room of the
    backend or there is no level left."""
    products = public.matmul_plain(columns, weights)
    if np.shape(intercepts) != (len(products),):
        raise invalid(f"intercepts of shape {np.shape(intercepts)} for {len(products)} classes")
    return tuple(
        public.add_plain(product, np.full(product.length, intercept))
        for product, intercept in zip(products, intercepts, strict=True)
    )
