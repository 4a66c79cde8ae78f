"""Profiling: recognising rows, or the site that they are from, by sizes and by which tokens are equal.

**Who sees what, assuming what.** The attacker sees protected rows: how many tokens each has and which of them are
equal, within the row (a token that comes twice) and, as `equal_rows` shows, from row to row. It knows texts that may
be among them, as a list of everything that a site serves would be, and takes the row whose outline a text has. No key
and no frequency is needed. Where tokens can be read, their lengths are part of the outline.

Dyer, Coull, Ristenpart and Shrimpton, "Peek-a-boo, I still see you: why efficient traffic analysis countermeasures
fail", IEEE S&P 2012 (sites from sizes).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.values import Pseudonyms, Tokens

Outline = tuple[tuple[int, ...], ...]


def outlines(
    rows: Pseudonyms | Tokens, marks: NDArray[np.int64] | None = None, ordered: bool = False
) -> list[Outline]:
    """The outline of each row: how often each of its tokens comes, the most frequent first.

    `marks` is what else is seen of each token, such as its length: int64 of shape (distinct tokens,). With `ordered` a
    row is given token by token, each as the place where it came first.
    """
    found = []
    for start, end in pairwise(rows.offsets.tolist()):
        distinct, first, inverse, counts = np.unique(
            rows.codes[start:end], return_index=True, return_inverse=True, return_counts=True
        )
        seen = [first if ordered else counts] + ([] if marks is None else [marks[distinct]])
        pairs = np.stack(seen, axis=1)
        listed = pairs[inverse].tolist() if ordered else sorted(pairs.tolist(), reverse=True)
        found.append(tuple(map(tuple, listed)))
    return found


def recognised(seen: list[Outline], known: list[Outline], truth: NDArray[np.int64]) -> float:
    """The share of rows that are named rightly, by drawing among the texts that have the row's outline.

    `known` has the outline of each candidate text, all distinct; `truth` says which text each row is.
    """
    candidates: dict[Outline, list[int]] = {}
    for text, outline in enumerate(known):
        candidates.setdefault(outline, []).append(text)
    shares = [
        1 / len(same) if text in (same := candidates.get(outline, [])) else 0.0
        for outline, text in zip(seen, truth.tolist(), strict=True)
    ]
    return float(np.mean(shares)) if shares else 0.0


def equal_rows(rows: Pseudonyms) -> float:
    """The share of rows of which the attacker sees another row with the same tokens in the same order."""
    keys = [rows.ids[rows.codes[start:end]].tobytes() for start, end in pairwise(rows.offsets.tolist())]
    counts: dict[bytes, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return sum(counts[key] > 1 for key in keys) / len(keys) if keys else 0.0


def recognise_site(sizes: NDArray[np.int64], known: Mapping[str, NDArray[np.int64]]) -> str:
    """The known site that rows with these numbers of tokens most likely come from.

    `known` has the sizes of rows of each site. The likelihood is that of independent rows, with one made-up row of each
    size so that a size that a site never had does not rule it out. Raises `ValueError` without a site.
    """
    if not known:
        raise ValueError("To recognise a site, the sizes of rows of at least one site must be known.")
    width = int(max(sizes.max(initial=0), *(theirs.max(initial=0) for theirs in known.values()))) + 1
    seen = np.bincount(sizes, minlength=width)

    def likelihood(theirs: NDArray[np.int64]) -> float:
        counts = np.bincount(theirs, minlength=width) + 1
        return float(seen @ np.log(counts / counts.sum()))

    return max(known, key=lambda site: likelihood(known[site]))
