"""Seeded draws and a small text grammar: the vocabulary is data, this turns it into random text.

A grammar is a mapping from a rule's name to its alternatives. An alternative is text with slots:

* ``{rule}`` is replaced by a random alternative of that rule, as it is;
* ``{?rule}`` likewise, then written the way a browser writes a query value (percent-encoding, ``+`` for a
  space, now and then encoded twice as in a link inside a link).

An alternative may carry a weight: ``(3, "text")``. Only lower-case names in braces are slots.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
Alternatives = Sequence["str | tuple[int, str]"]

_SLOT = re.compile(r"\{(\??)([a-z_0-9]+)\}")
_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def _table(safe: str, space: str) -> dict[int, str]:
    """A table for `str.translate` that percent-encodes every ASCII character outside `safe`."""
    kept = set(_UNRESERVED + safe)
    return {code: f"%{code:02X}" for code in range(128) if chr(code) not in kept} | {32: space}


# Browsers leave more characters alone in a query than form encoders do; both occur in real logs.
AS_BROWSER = _table("!'()*,;:@/?$=|", "%20")
AS_FORM = _table("*", "+")
AS_COMPONENT = _table("", "%20")
AS_SCRIPT = _table("!'()*,;:@/?$=|<>[]{}`^", "+")


class Draw:
    """Random draws that are the same for a seed on every platform and Python version.

    Built on `random.Random(seed).random` alone, the one method whose sequence Python promises to keep. Not
    cryptographic: who sees enough of the output can predict the rest.
    """

    __slots__ = ("unit",)

    def __init__(self, seed: int) -> None:
        self.unit = random.Random(seed).random  # noqa: S311

    def pick(self, pool: Sequence[T]) -> T:
        """One element of `pool`, each equally likely."""
        return pool[int(self.unit() * len(pool))]

    def number(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.unit() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.unit() < probability

    def sample(self, size: int, count: int) -> list[int]:
        """`count` different whole numbers below `size`, in random order."""
        numbers = list(range(size))
        for place in range(count):
            other = place + int(self.unit() * (size - place))
            numbers[place], numbers[other] = numbers[other], numbers[place]
        return numbers[:count]


def query_value(text: str, draw: Draw) -> str:
    """`text` as an ordinary visitor's browser or script writes it into a query."""
    dice = draw.unit()
    if dice < 0.48:
        return text.translate(AS_FORM)
    if dice < 0.76:
        return text.translate(AS_BROWSER)
    if dice < 0.90:
        return text.translate(AS_COMPONENT)
    if dice < 0.96:
        return text.translate(AS_SCRIPT)
    return text.translate(AS_COMPONENT).replace("%", "%25")


class _Rule:
    """The compiled alternatives of one rule: plain text, or text pieces and slots in order."""

    __slots__ = ("alternatives",)

    def __init__(self) -> None:
        self.alternatives: list[str | tuple[str | _Slot, ...]] = []


class _Slot:
    __slots__ = ("encoded", "rule")

    def __init__(self, rule: _Rule, encoded: bool) -> None:
        self.rule = rule
        self.encoded = encoded


class Grammar:
    """Expands rules of `rules` with draws of `draw`.

    Raises `KeyError`, naming the rule and the slot, when a slot refers to a rule that is not there.
    """

    def __init__(self, rules: Mapping[str, Alternatives], draw: Draw) -> None:
        self._draw = draw
        self._rules = {name: _Rule() for name in rules}
        for name, alternatives in rules.items():
            for entry in alternatives:
                weight, text = (1, entry) if isinstance(entry, str) else entry
                self._rules[name].alternatives.extend([self._compile(name, text)] * weight)

    def _compile(self, name: str, text: str) -> str | tuple[str | _Slot, ...]:
        pieces: list[str | _Slot] = []
        end = 0
        for slot in _SLOT.finditer(text):
            if slot[2] not in self._rules:
                raise KeyError(f"Rule {name!r} uses the slot {slot[0]}, but no rule has that name.")
            if slot.start() > end:
                pieces.append(text[end : slot.start()])
            pieces.append(_Slot(self._rules[slot[2]], slot[1] == "?"))
            end = slot.end()
        if not pieces:
            return text
        if end < len(text):
            pieces.append(text[end:])
        return tuple(pieces)

    def expand(self, name: str) -> str:
        """A random text of the rule `name`."""
        return self._expand(self._rules[name].alternatives)

    def _expand(self, alternatives: list[str | tuple[str | _Slot, ...]]) -> str:
        chosen = alternatives[int(self._draw.unit() * len(alternatives))]
        if isinstance(chosen, str):
            return chosen
        texts: list[str] = []
        for piece in chosen:
            if isinstance(piece, str):
                texts.append(piece)
                continue
            text = self._expand(piece.rule.alternatives)
            texts.append(query_value(text, self._draw) if piece.encoded else text)
        return "".join(texts)
