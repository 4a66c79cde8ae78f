"""Membership inference: telling from a finished model which rows it was trained on.

**Who sees what, assuming what.** The attacker has the model, can make the features of a row as the owners do, and
wants to know whether that row was among those trained on. A model that has learnt its rows by heart is surer of them
than of others. The threshold looks at the loss alone; the likelihood ratio compares it with the losses that models
trained with, and without, the row have, which the attacker trains itself on rows like the owners'.

Shokri, Stronati, Song and Shmatikov, "Membership inference attacks against machine learning models", IEEE S&P 2017
(shadow models); Yeom, Giacomelli, Fredrikson and Jha, "Privacy risk in machine learning: analyzing the connection to
overfitting", CSF 2018 (loss threshold); Carlini et al., "Membership inference attacks from first principles", IEEE S&P
2022 (likelihood ratio, and judging by the true positives at very few false ones). Under epsilon differential privacy
the true-positive rate is at most e**epsilon times the false-positive rate, plus delta.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Membership:
    """`auc` is the area under the ROC curve: 0.5 for guessing, 1 for certainty. `at_few` is the share of the members
    that are found while at most one other row in a thousand is taken for one."""

    auc: float
    at_few: float


FEW: float = 0.001


def losses(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The cross-entropy of each row from scores (logits) of shape (rows, classes), in nats."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    mine = shifted[np.arange(len(labels)), labels]
    found: NDArray[np.float64] = np.log(np.exp(shifted).sum(axis=1)) - mine
    return found


def margins(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far the right class's score is above the largest other one: near normally distributed over models, which a
    loss is not."""
    rows = np.arange(len(labels))
    others = scores.copy()
    others[rows, labels] = -np.inf
    found: NDArray[np.float64] = scores[rows, labels] - others.max(axis=1)
    return found


def loss_threshold(members: NDArray[np.float64], others: NDArray[np.float64]) -> Membership:
    """How well losses tell members from others: the smaller the loss, the likelier a member."""
    return judged(-members, -others)


def likelihood_ratio(
    target: NDArray[np.float64], with_row: NDArray[np.float64], without: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The log likelihood ratio of each row's membership, float64 of shape (rows,).

    `target` has the margins of the attacked model; `with_row` and `without`, of shape (shadow models, rows), those of
    models that were trained with and without each row; NaN where a model is of the other kind. The spread is taken
    over all rows together, as is right for few models. Raises `ValueError` for a row without a model of either kind.
    """
    if any(np.isnan(models).all(axis=0).any() for models in (with_row, without)):
        raise ValueError("A likelihood ratio needs a shadow model with, and one without, each row.")
    centre_in, centre_out = np.nanmean(with_row, axis=0), np.nanmean(without, axis=0)
    spread_in = max(float(np.sqrt(np.nanmean((with_row - centre_in) ** 2))), 1e-9)
    spread_out = max(float(np.sqrt(np.nanmean((without - centre_out) ** 2))), 1e-9)
    found: NDArray[np.float64] = _log_normal(target, centre_in, spread_in) - _log_normal(
        target, centre_out, spread_out
    )
    return found


def judged(members: NDArray[np.float64], others: NDArray[np.float64]) -> Membership:
    """How well a score, the higher the likelier a member, tells members from others.

    Raises `ValueError` without a row of either kind.
    """
    if not len(members) or not len(others):
        raise ValueError("Membership is judged by rows of both kinds: some trained on, some not.")
    ordered = np.sort(others)
    below = np.searchsorted(ordered, members, "left")
    not_above = np.searchsorted(ordered, members, "right")
    auc = float((below + not_above).mean() / (2 * len(others)))
    allowed = int(FEW * len(others))
    threshold = ordered[len(ordered) - 1 - allowed]
    return Membership(auc, float((members > threshold).mean()))


def _log_normal(
    values: NDArray[np.float64], centre: NDArray[np.float64], spread: float
) -> NDArray[np.float64]:
    found: NDArray[np.float64] = -np.log(spread) - (values - centre) ** 2 / (2 * spread**2)
    return found
