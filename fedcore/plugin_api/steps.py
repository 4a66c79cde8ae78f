"""Preprocessing steps: pure functions from one kind of value to another."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.plugins import Plugin, SomeOptions
from fedcore.plugin_api.values import ValueKind

State = Mapping[str, NDArray[Any]]
"""What a fitted step has learnt: named arrays of fixed dtype, the same bytes at every owner."""


class PreprocessingStep(Plugin[SomeOptions]):
    """A step. It declares the kind of value that it `takes` and `gives`, and keeps rows and their order."""

    takes: ClassVar[ValueKind]
    gives: ClassVar[ValueKind]
    shows_characters: ClassVar[bool] = False
    """Whether its tokens are pieces of words, so that merely renaming them hides little: then an owner's
    policy must allow the step by name for a backend that renames."""

    @abstractmethod
    def apply(self, value: Any) -> Any:
        """The value after this step. It never changes `value`."""


@dataclass(frozen=True)
class Summary:
    """Integer counts that are added over shards and owners: `counts[i]` (int64) belongs to `keys[i]` (uint64).

    Keys are distinct and in the order of their first appearance, which decides between equal counts.
    """

    keys: NDArray[np.uint64]
    counts: NDArray[np.int64]

    @staticmethod
    def add(parts: Sequence[Summary]) -> Summary:
        """The sum: every key once, in the order of first appearance over the parts in their order."""
        keys = np.concatenate([part.keys for part in parts]) if parts else np.empty(0, np.uint64)
        counts = np.concatenate([part.counts for part in parts]) if parts else np.empty(0, np.int64)
        distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        sums = np.zeros(len(distinct), np.int64)
        np.add.at(sums, inverse, counts)
        order = np.argsort(first, kind="stable")
        return Summary(distinct[order], sums[order])


class FittedStep(PreprocessingStep[SomeOptions]):
    """A step that is fitted over all owners' training rows, in one or more rounds.

    In each round every worker calls `summarise` on its rows; the integer summaries are added over shards and
    owners; every owner receives the same sum. After the last round each owner calls `finish` itself, and
    the owners compare the digest of the state before anything is prepared with it.
    """

    rounds: ClassVar[int] = 1

    @abstractmethod
    def summarise(self, value: Any, so_far: Sequence[Summary]) -> Summary:
        """The summary of one block of rows; `so_far` holds the sums of the earlier rounds."""

    @abstractmethod
    def finish(self, sums: Sequence[Summary]) -> State:
        """The state from the sums of all rounds. The same sums must give the same bytes everywhere."""

    @abstractmethod
    def apply_fitted(self, value: Any, state: State) -> Any:
        """The value after this step, with the state that `finish` gave."""

    def apply(self, value: Any) -> Any:
        raise TypeError(f"Step {self.name!r} is fitted: call apply_fitted with its state.")
