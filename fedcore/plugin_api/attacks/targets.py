"""Of whom an attacker of linkage knows what: persons with date and hour, else some tokens of a row."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.values import Pseudonyms, Records, Text

MOST_TARGETS: Final = 200
KNOWN_TOKENS: Final = 5
_TO_THE_HOUR: Final = re.compile(rb"[^:T ]*[:T ]\d\d")
_NOBODY: Final = frozenset({b"", b"-"})


@dataclass(frozen=True)
class Facts:
    """What is known of each target, in words (`what`); whose row each is (bool of shape (targets, rows)).

    It is known as `tokens`, or as two `fillings` of the columns that a pipeline takes: what is around the facts differs
    between the two, so that tokens which both have are tokens of the facts.
    """

    what: str
    truly: NDArray[np.bool_]
    fillings: tuple[Records, Records] | None = None
    tokens: Pseudonyms | None = None

    def known(self, tokens_of: Callable[[Records], Pseudonyms]) -> Pseudonyms:
        """The tokens that the attacker knows of each target."""
        if self.fillings is None:
            assert self.tokens is not None
            return self.tokens
        return _in_both(*map(tokens_of, self.fillings))

    @classmethod
    def of_tokens(cls, rows: Pseudonyms, seed: int) -> Facts:
        """Some tokens of each of some rows, drawn at random."""
        rng = np.random.default_rng(seed)
        having = np.flatnonzero(np.diff(rows.offsets) > 0)
        targets = rng.permutation(having)[:MOST_TARGETS]
        sets = [
            set(rows.codes[rows.offsets[row] : rows.offsets[row + 1]].tolist()) for row in range(len(rows))
        ]
        chosen = [rng.permutation(sorted(sets[row]))[:KNOWN_TOKENS] for row in targets]
        truly = np.array(
            [[sets[row].issuperset(known.tolist()) for row in range(len(rows))] for known in chosen]
        )
        offsets = np.cumsum([0, *(len(known) for known in chosen)]).astype(np.int64)
        codes = np.concatenate(chosen).astype(np.int32) if chosen else np.empty(0, np.int32)
        return cls(f"{KNOWN_TOKENS} tokens", truly, tokens=Pseudonyms(codes, offsets, rows.ids))


def facts_of(records: Records, person: Sequence[str], moment: str | None, seed: int) -> Facts | None:
    """Person, date and hour of some rows; None where no column says who, or no row has a person."""
    told = {name: list(records.columns[name]) for name in person}
    somebody = np.flatnonzero([not _NOBODY.intersection(who) for who in zip(*told.values(), strict=True)])
    if not len(somebody):
        return None
    if moment is not None:
        told[moment] = [_hour(text) for text in records.columns[moment]]
    targets = np.random.default_rng(seed).permutation(somebody)[:MOST_TARGETS]
    numbers: dict[tuple[bytes, ...], int] = {}
    of_row = np.array([numbers.setdefault(fact, len(numbers)) for fact in zip(*told.values(), strict=True)])
    known = {name: [texts[row] for row in targets] for name, texts in told.items()}
    filled = {
        name: [text + b":59" for text in texts] if name == moment else texts for name, texts in known.items()
    }
    what = ", ".join(person) + (", date and hour" if moment else "")
    return Facts(
        what,
        of_row[targets][:, None] == of_row[None, :],
        fillings=(_filling(records, known, b""), _filling(records, filled, b"/")),
    )


def _filling(records: Records, known: Mapping[str, list[bytes]], around: bytes) -> Records:
    """Records with the columns of `records`: what is known, and `around` in all others."""
    rows = len(next(iter(known.values())))
    return Records({name: Text.from_rows(known.get(name, [around] * rows)) for name in records.columns})


def _hour(text: bytes) -> bytes:
    found = _TO_THE_HOUR.match(text)
    return found.group() if found else text


def _in_both(one: Pseudonyms, other: Pseudonyms) -> Pseudonyms:
    """Of each row of `one` the tokens that the same row of `other` has too."""
    mine, theirs = (
        np.stack(
            [np.repeat(np.arange(len(rows)).astype(np.uint64), np.diff(rows.offsets)), rows.ids[rows.codes]],
            axis=1,
        )
        for rows in (one, other)
    )
    there = set(map(tuple, theirs.tolist()))
    keep = np.array([pair in there for pair in map(tuple, mine.tolist())], np.bool_)
    kept = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])
    return Pseudonyms(one.codes[keep], kept[one.offsets], one.ids)
