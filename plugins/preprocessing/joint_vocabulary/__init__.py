"""One vocabulary over all owners, the most frequent token first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from fedcore.plugin_api import (
    FittedStep,
    Indices,
    InvalidOptions,
    Options,
    Pseudonyms,
    State,
    Summary,
    ValueKind,
)


class JointVocabularyOptions(Options):
    minimum_count: Annotated[
        int,
        Field(
            ge=1, le=1_000_000_000, description="Tokens that all owners together have less often are left out"
        ),
    ] = 2
    maximum_size: Annotated[
        int, Field(ge=1, le=4_194_304, description="The most tokens; the most frequent ones stay")
    ] = 65_536


class JointVocabulary(FittedStep[JointVocabularyOptions]):
    """Tokens become their rank by frequency over all owners' training rows, from 1.

    Equal counts are ranked by first appearance, over the owners in the order of the run. Tokens that the vocabulary
    does not have are left out. The state has `ids` (uint64, rising) and `ranks` (int32), of one length.
    """

    name = "joint_vocabulary"
    version = "1"
    summary = "Numbers tokens by how frequent they are over all owners."
    Options = JointVocabularyOptions
    takes = ValueKind.PSEUDONYMS
    gives = ValueKind.INDICES

    def summarise(self, value: Pseudonyms, so_far: Sequence[Summary]) -> Summary:
        """How often each token occurs."""
        counts = np.bincount(value.codes, minlength=len(value.ids)).astype(np.int64)
        # Adding merges the counts of two tokens with one number, which 64 bits make all but impossible.
        return Summary.add([Summary(value.ids, counts)])

    def finish(self, sums: Sequence[Summary]) -> State:
        """The vocabulary. Raises `InvalidOptions` if no token is frequent enough."""
        counted = sums[0]
        frequent = np.flatnonzero(counted.counts >= self.options.minimum_count)
        if not len(frequent):
            raise InvalidOptions(
                self.name,
                {"minimum_count": f"no token occurs {self.options.minimum_count} times or more; choose less"},
            )
        ranked = frequent[np.argsort(-counted.counts[frequent], kind="stable")][: self.options.maximum_size]
        by_id = np.argsort(counted.keys[ranked])
        return {"ids": counted.keys[ranked][by_id], "ranks": (by_id + 1).astype(np.int32)}

    def apply_fitted(self, value: Pseudonyms, state: State) -> Indices:
        ids, ranks = state["ids"], state["ranks"]
        places = np.minimum(np.searchsorted(ids, value.ids), len(ids) - 1)
        rank_of = np.where(ids[places] == value.ids, ranks[places], np.int32(0)).astype(np.int32)
        numbers = rank_of[value.codes]
        known = numbers > 0
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(known, dtype=np.int64)])
        return Indices(numbers[known], before[value.offsets], len(ids))
