"""Model inversion: reading from the weights of a linear model which tokens its classes have.

**Who sees what, assuming what.** The attacker has the model, and makes the features of words that it knows, one word
to a row, as far as it can without the owners' key. The class whose score a word raises most is the class that has it:
so the words with the largest scores are a picture of the class. Under a key the attacker's columns are not the model's,
and the picture is of words drawn at random.

Fredrikson, Jha and Ristenpart, "Model inversion attacks that exploit confidence information and basic
countermeasures", CCS 2015: for a linear model the input that a class is surest of is its row of weights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.protection import rows_with
from fedcore.plugin_api.values import Matrix, Pseudonyms


def likely_tokens(weight: NDArray[np.floating], words: Matrix, of_class: int, most: int) -> NDArray[np.int64]:
    """The `most` words that speak most for a class, the surest first, as rows of `words`; int64.

    `weight` has shape (classes, columns); `words` has the features of one word in each row. A word that has no column
    is never among them.
    """
    against = np.delete(weight, of_class, axis=0).mean(axis=0) if len(weight) > 1 else np.zeros(words.columns)
    scores = np.asarray(words.to_scipy() @ (weight[of_class] - against), np.float64)
    scores[np.diff(words.indptr) == 0] = -np.inf
    order = np.argsort(-scores, kind="stable")[:most]
    return order[np.isfinite(scores[order])]


def typical_tokens(
    rows: Pseudonyms, labels: NDArray[np.int64], of_class: int, least_rows: int = 3
) -> NDArray[np.bool_]:
    """Which tokens really are typical of a class: bool of shape (distinct tokens,). The truth that judges guesses.

    Typical is what at least `least_rows` rows of the class have, and what is at least twice as frequent in the class as
    in the other rows.
    """
    inside = rows_with(_of(rows, labels == of_class))
    outside = rows_with(_of(rows, labels != of_class))
    share_in = inside / max(int((labels == of_class).sum()), 1)
    share_out = outside / max(int((labels != of_class).sum()), 1)
    found: NDArray[np.bool_] = (inside >= least_rows) & (share_in >= 2 * share_out)
    return found


def _of(rows: Pseudonyms, chosen: NDArray[np.bool_]) -> Pseudonyms:
    lengths = np.diff(rows.offsets)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths[chosen])])
    return Pseudonyms(rows.codes[np.repeat(chosen, lengths)], offsets, rows.ids)
