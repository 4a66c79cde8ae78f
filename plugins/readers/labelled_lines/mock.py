"""Requests that are made up from a short grammar, to develop a pipeline on.

A model learns to tell them apart, and how well it does says nothing about real requests. Benign requests use some
of the attacks' words, so that no single word decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

_PAGES: Final = (
    "index",
    "catalogue/item",
    "search",
    "news/archive",
    "account/orders",
    "help",
    "cart",
    "static/app",
)
_SUFFIXES: Final = ("", ".php", ".html", ".jsp")
_NAMES: Final = ("id", "q", "page", "user", "file", "lang", "sort")
_WORDS: Final = (
    "lamp",
    "oak+table",
    "union+station",
    "select+a+size",
    "o%27neill",
    "script+font",
    "red",
    "sale",
    "en",
)
_ATTACKS: Final = (
    "{n}%27+or+%27{n}%27=%27{n}",
    "{n}+union+select+{w},{n}+from+users--",
    "{n};drop+table+{w}--",
    "<script>alert({n})</script>",
    "%3Cimg+src=x+onerror=alert({n})%3E",
    "../../../../etc/passwd%00{w}",
    "..%2f..%2f..%2fboot.ini",
    "http://192.0.2.{n}/{w}.txt?",
    "{w};cat+/etc/shadow",
    "|/bin/id+{n}",
)


class _Draw:
    """Draws that are the same for a seed: of `PCG64` whose stream numpy keeps, only raw numbers are used."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def number(self, below: int) -> int:
        return int(self._bits.random_raw()) % below

    def pick(self, pool: Sequence[str]) -> str:
        return pool[self.number(len(pool))]


def benign_requests(rows: int, seed: int) -> Iterator[str]:
    """`rows` requests of visitors."""
    draw = _Draw(2 * seed)
    for _ in range(rows):
        pairs = [
            f"{draw.pick(_NAMES)}={draw.pick(_WORDS) if draw.number(2) else draw.number(1000)}"
            for _ in range(draw.number(4))
        ]
        yield _page(draw) + ("?" if pairs else "") + "&".join(pairs)


def attack_requests(rows: int, seed: int) -> Iterator[str]:
    """`rows` requests of attackers, who put something into one parameter."""
    draw = _Draw(2 * seed + 1)
    for _ in range(rows):
        planted = draw.pick(_ATTACKS).format(n=draw.number(250), w=draw.pick(_WORDS))
        before = f"{draw.pick(_NAMES)}={draw.pick(_WORDS)}&" if draw.number(2) else ""
        yield f"{_page(draw)}?{before}{draw.pick(_NAMES)}={planted}"


def _page(draw: _Draw) -> str:
    return f"/{draw.pick(_PAGES)}{draw.pick(_SUFFIXES)}"
