"""Linkage: finding the row of a person of whom some facts are known, such as user, date and hour.

**Who sees what, assuming what.** The attacker sees protected rows, knows a few facts of one request of each target as
plain text, and has guesses of what some numbers mean (by computing them, or by frequency analysis). It takes the row
that has the most of the facts, where a rare fact counts more than a frequent one. If several rows have as many, it
draws one of them. A person is found if the row is one of which all these facts are true; then whatever else the row
says, its class above all, is known of that person.

The similarity attack of the 2021 work, with the weights of inverse document frequency that Narayanan and Shmatikov,
"Robust de-anonymization of large sparse datasets", IEEE S&P 2008, use for rare attributes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.attacks.frequency import UNNAMED, equal_numbers
from fedcore.plugin_api.protection import rows_with
from fedcore.plugin_api.values import Pseudonyms


def linkage(
    seen: Pseudonyms,
    guesses: NDArray[np.int64],
    known: Pseudonyms,
    facts: Pseudonyms,
    truly: NDArray[np.bool_],
) -> float:
    """The mean chance, over the targets, that the row which the attacker takes is one of the target's.

    `guesses` names the numbers of `seen` by their place in `known` (see `frequency_analysis`). `facts` has one row for
    each target, under the numbers of `known`. `truly` is bool of shape (targets, rows): whose row each is; it only
    judges the outcome.
    """
    wanted, weights = _columns(seen, guesses, known, facts)
    if not len(facts) or not len(seen):
        return 0.0
    scores = np.asarray((_incidence(seen, weights) @ wanted.T).toarray())
    hits = [_chance(scores[:, target], truly[target]) for target in range(len(facts))]
    return float(np.mean(hits))


def _columns(
    seen: Pseudonyms, guesses: NDArray[np.int64], known: Pseudonyms, facts: Pseudonyms
) -> tuple[Any, NDArray[np.float64]]:
    """Which numbers of `seen` the attacker takes for each target's facts (sparse), and how much each number says."""
    from scipy.sparse import csr_matrix

    # What is not named stands for itself: without a key the attacker computes a fact's number, and needs no guess.
    meant = seen.ids.copy()
    named = guesses != UNNAMED
    meant[named] = known.ids[guesses[named]]
    column = equal_numbers(facts, Pseudonyms(seen.codes, seen.offsets, meant))[facts.codes]
    target = np.repeat(np.arange(len(facts)), np.diff(facts.offsets))
    used = column != UNNAMED
    wanted: Any = csr_matrix(
        (np.ones(int(used.sum())), (target[used], column[used])), shape=(len(facts), len(seen.ids))
    )
    wanted.data = np.ones_like(wanted.data)
    weights = np.log((1 + len(seen)) / (1 + rows_with(seen)))
    return wanted, weights


def _incidence(seen: Pseudonyms, weights: NDArray[np.float64]) -> Any:
    from scipy.sparse import csr_matrix

    row_of = np.repeat(np.arange(len(seen)), np.diff(seen.offsets))
    counts: Any = csr_matrix(
        (np.ones(len(seen.codes)), (row_of, seen.codes)), shape=(len(seen), len(seen.ids))
    )
    counts.data = weights[counts.indices]
    return counts


def _chance(scores: NDArray[np.float64], truly: NDArray[np.bool_]) -> float:
    # Rows with the same facts have the same score to the last bit: columns are added up in their order.
    best = scores == scores.max()
    return float(truly[best].mean())
