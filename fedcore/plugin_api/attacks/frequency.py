"""Frequency analysis: naming pseudonyms from how often, and with what, they occur.

**Who sees what, assuming what.** The attacker sees protected rows and nothing else of them. It knows a public log of
the same kind in plain text: what such logs look like. Where it can compute numbers itself (no key is needed) equal
numbers name tokens at once, and what is not equal is not known. Otherwise it matches the frequent tokens of both by
rank, keeps the matches that stand out as anchors, and matches again by how often each token occurs with the anchors
(and, where the order shows, next to them), each round with more anchors.

Naveed, Kamara and Wright, "Inference attacks on property-preserving encrypted databases", CCS 2015 (matching by
frequency); Cash, Grubbs, Perry and Ristenpart, "Leakage-abuse attacks against searchable encryption", CCS 2015, and
Damie, Hahn and Peter, "A highly accurate query-recovery attack against searchable encryption using non-indexed
documents", USENIX Security 2021 (co-occurrence, refined); Bindschaedler, Grubbs, Cash, Ristenpart and Shmatikov, "The
tao of inference in privacy-protected databases", VLDB 2018 (several leaked columns together). Square roots of counts
make the differences of rare and frequent tokens comparable: their variance is about 1/4 whatever the count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.protection import rows_with
from fedcore.plugin_api.values import Pseudonyms

UNNAMED: Final = -1
MOST_TYPES: Final = 1000
ROUNDS: Final = 12


@dataclass(frozen=True)
class Recovery:
    """How much was named rightly: the share of all tokens, and of the distinct ones that the attacker knows at all."""

    tokens: float
    types: float


def frequency_analysis(
    seen: Pseudonyms,
    known: Pseudonyms,
    most_types: int = MOST_TYPES,
    rounds: int = ROUNDS,
    ordered: bool = False,
) -> NDArray[np.int64]:
    """The attacker's guess for each distinct number of `seen`: its place in `known`, or `UNNAMED`; int64.

    `known` holds rows that the attacker can read, under numbers that it can compute itself. Only the `most_types`
    most frequent tokens are matched; `ordered` says that the order of a row's tokens shows.
    """
    guesses = equal_numbers(seen, known)
    if (guesses != UNNAMED).any():
        # No key is in use: what is not found by its number is not among the known tokens at all.
        return guesses
    left = _most_frequent(seen, most_types)
    free = _most_frequent(known, most_types)
    size = min(len(left), len(free))
    if size:
        one, other = (_Profiles(*part, ordered) for part in ((seen, left[:size]), (known, free[:size])))
        guesses[left[:size]] = free[:size][_matched(one, other, rounds)]
    return guesses


def equal_numbers(seen: Pseudonyms, known: Pseudonyms) -> NDArray[np.int64]:
    """The places in `known` of the numbers that both have, `UNNAMED` elsewhere: a dictionary, where there is no key."""
    guesses = np.full(len(seen.ids), UNNAMED, np.int64)
    if len(known.ids):
        order = np.argsort(known.ids)
        places = np.minimum(np.searchsorted(known.ids[order], seen.ids), len(order) - 1)
        found = known.ids[order][places] == seen.ids
        guesses[found] = order[places[found]]
    return guesses


def recovery(
    guesses: NDArray[np.int64],
    seen: Pseudonyms,
    known: Pseudonyms,
    truth: Pseudonyms,
    listed: NDArray[np.uint64] | None = None,
) -> Recovery:
    """What the guesses are worth. `truth` has the rows of `seen`, token by token, under the numbers of `known`.

    `listed` has the numbers of all tokens that the attacker knows, where `known` holds rare ones as one.
    """
    if not len(truth.codes):
        return Recovery(0.0, 0.0)
    named = np.where(guesses == UNNAMED, 0, guesses)
    meant = known.ids[named] if len(known.ids) else np.zeros(len(guesses), np.uint64)
    right = (guesses != UNNAMED)[seen.codes] & (meant[seen.codes] == truth.ids[truth.codes])
    nameable = int(np.isin(truth.ids, known.ids if listed is None else listed).sum())
    return Recovery(float(right.mean()), len(np.unique(truth.codes[right])) / max(nameable, 1))


def _most_frequent(rows: Pseudonyms, most: int) -> NDArray[np.int64]:
    return np.argsort(-np.bincount(rows.codes, minlength=len(rows.ids)), kind="stable")[:most]


class _Profiles:
    """Of some tokens: square roots of how many rows of 10,000 have each, and have each pair; and follow each other."""

    def __init__(self, rows: Pseudonyms, types: NDArray[np.int64], ordered: bool) -> None:
        self.scale = len(rows)
        self.alone = np.sqrt(rows_with(rows)[types] / self.scale)
        self.beside = [np.sqrt(pairs / self.scale) for pairs in _pairs(rows, types, ordered)]


def _pairs(rows: Pseudonyms, types: NDArray[np.int64], ordered: bool) -> list[NDArray[np.float64]]:
    from scipy.sparse import csr_matrix

    place = np.full(len(rows.ids), UNNAMED, np.int64)
    place[types] = np.arange(len(types))
    row_of = np.repeat(np.arange(len(rows)), np.diff(rows.offsets))
    column = place[rows.codes]
    inside = column >= 0
    ones = np.ones(int(inside.sum()), np.float32)
    counts: Any = csr_matrix((ones, (row_of[inside], column[inside])), shape=(len(rows), len(types)))
    counts.data = np.ones_like(counts.data)
    together = np.asarray((counts.T @ counts).toarray(), np.float64)
    if not ordered:
        return [together]
    next_to = inside[:-1] & inside[1:] & (row_of[:-1] == row_of[1:])
    following = np.zeros((len(types), len(types)))
    np.add.at(following, (column[:-1][next_to], column[1:][next_to]), 1.0)
    return [together, following, following.T]


def _matched(one: _Profiles, other: _Profiles, rounds: int) -> NDArray[np.int64]:
    """For each type of `one` the place of its match in `other`."""
    from scipy.optimize import linear_sum_assignment

    scale = min(one.scale, other.scale)
    alone = scale * (one.alone[:, None] - other.alone[None, :]) ** 2
    match = np.arange(len(one.alone))
    certain = _stand_out(alone, match)
    for turn in range(1, rounds + 1):
        anchors = np.argsort(-certain, kind="stable")[: max(10, len(match) * turn // rounds)]
        costs = alone + sum(
            scale * _distances(mine[:, anchors], theirs[:, match[anchors]])
            for mine, theirs in zip(one.beside, other.beside, strict=True)
        )
        match = linear_sum_assignment(costs)[1]
        certain = _stand_out(costs, match)
    return match


def _distances(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None, :]
    found: NDArray[np.float64] = np.maximum(squares - 2 * one @ other.T, 0)
    return found


def _stand_out(costs: NDArray[np.float64], match: NDArray[np.int64]) -> NDArray[np.float64]:
    """How much dearer than its match the next best one of each type is: the logarithm of a likelihood ratio."""
    mine = costs[np.arange(len(match)), match]
    others = costs.copy()
    others[np.arange(len(match)), match] = np.inf
    found: NDArray[np.float64] = others.min(axis=1) - mine if len(match) > 1 else np.ones(len(match))
    return found
