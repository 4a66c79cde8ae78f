"""The encryption backend's place in a pipeline, with or without the rule on rare tokens.

Without the rule each block is protected on its own. With it (a backend's option `minimum_count` above 1) the step
is fitted: a block cannot know how often a token occurs elsewhere, and equal tokens have to get equal numbers at
every owner, so the rows that have a token are counted over the training rows of all owners first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.backends import TokenBackend
from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.plugin_api.steps import FittedStep, PreprocessingStep, State, Summary
from fedcore.plugin_api.values import Pseudonyms, Text, Tokens, ValueKind

PROTECT: Final = "protect"
"""The name of the step that the run's encryption backend takes."""

RARE: Final = b"\0rare"
"""The spelling whose number all rare tokens get. Whoever does not hold the key cannot tell it from other numbers."""


class Protect(PreprocessingStep[Any]):
    """The backend's place in a pipeline."""

    name = PROTECT
    version = "1"
    summary = "Tokens as the encryption backend protects them."
    takes = ValueKind.TOKENS
    gives = ValueKind.PSEUDONYMS

    def __init__(self, backend: TokenBackend[Any], key: bytes | None) -> None:
        super().__init__()
        self._backend = backend
        self._key = key

    def apply(self, value: Any) -> Any:
        return self._backend.protect(value, self._key)


class ProtectFrequent(FittedStep[Any]):
    """As `Protect`; tokens in fewer training rows than the backend's `minimum_count` become one common token.

    Only protected numbers are counted, and a row counts once however often it repeats a token. Rows that come later
    (held out, or scored) keep the numbers of the tokens that were frequent in training, and no others. The state has
    `kept` (uint64, rising).
    """

    name = PROTECT
    version = "1"
    summary = "Tokens as the encryption backend protects them, rare ones as one."
    takes = ValueKind.TOKENS
    gives = ValueKind.PSEUDONYMS

    def __init__(self, backend: TokenBackend[Any], key: bytes | None) -> None:
        super().__init__()
        self._backend = backend
        self._key = key

    def summarise(self, value: Tokens, so_far: Sequence[Summary]) -> Summary:
        """In how many rows each token is."""
        protected = self._backend.protect(value, self._key)
        # Adding merges the counts of two tokens with one number, which 64 bits make all but impossible.
        return Summary.add([Summary(protected.ids, rows_with(protected))])

    def finish(self, sums: Sequence[Summary]) -> State:
        """The numbers that stay. Raises `InvalidOptions` if no token is in enough rows."""
        least = self._backend.minimum_count
        kept = np.sort(sums[0].keys[sums[0].counts >= least])
        if not len(kept):
            raise InvalidOptions(
                self._backend.name, {"minimum_count": f"no token is in {least} rows or more; choose less"}
            )
        return {"kept": kept}

    def apply_fitted(self, value: Tokens, state: State) -> Pseudonyms:
        protected = self._backend.protect(value, self._key)
        common = self._backend.protect(_one_token(RARE), self._key).ids[0]
        return merged_but(protected, np.isin(protected.ids, state["kept"]), common)


def rows_with(value: Pseudonyms | Tokens) -> NDArray[np.int64]:
    """The number of rows that have each token: int64 of shape (distinct tokens,)."""
    distinct = len(value.ids) if isinstance(value, Pseudonyms) else len(value.spellings)
    rows = np.repeat(np.arange(len(value)), np.diff(value.offsets))
    pairs = np.unique(rows * max(distinct, 1) + value.codes)
    return np.bincount(pairs % max(distinct, 1), minlength=distinct).astype(np.int64)


def merged_but(value: Pseudonyms, keep: NDArray[np.bool_], common: np.uint64) -> Pseudonyms:
    """The same rows, where every token outside `keep` (bool of shape (distinct tokens,)) has the number `common`."""
    merged = np.flatnonzero(~keep)
    if not len(merged):
        return value
    # The first of them in the order of appearance stands for all, so the order of codes stays what it was.
    stays = keep.copy()
    stays[merged[0]] = True
    codes = np.cumsum(stays, dtype=np.int32) - np.int32(1)
    codes[merged] = codes[merged[0]]
    ids = value.ids.copy()
    ids[merged[0]] = common
    return Pseudonyms(codes[value.codes], value.offsets, ids[stays])


def _one_token(spelling: bytes) -> Tokens:
    return Tokens(np.zeros(1, np.int32), np.array([0, 1], np.int64), Text.from_rows([spelling]))
