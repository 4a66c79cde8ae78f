"""Labelled Apache access logs, made up from a seed: for the demonstration, the documentation and the tests.

A line is in Apache's combined log format with one more quoted field, the label: ``-`` for benign requests,
else a key of `ATTACK_KINDS`::

    192.0.2.7 - anna [05/Jan/2026:08:00:03 +0000] "GET /search?q=lamp HTTP/1.1" 200 5120 "-" "curl/8.5.0" "-"

**What it stands for, and what not.** The requests exercise the pipeline: parsing, decoding, features,
imbalance, several owners whose traffic overlaps without being equal. They are drawn from a grammar, so a
model's scores on them say nothing about real traffic, and no detector should be chosen, tuned or trusted on
their account. Known simplifications: time has no rhythm of day and week, request bodies do not appear (nor
do they in Apache's log), attacks do not go on from what earlier ones found, the vocabulary is English and
small, no field contains a quote or a backslash, and every label is right.

Attacks share paths, parameters, encodings, agents, addresses and statuses with benign traffic, and benign
visitors search for SQL, shell and names with apostrophes, so that no rule on one word or one character
reaches an F1 of 0.8 with the default kinds and up to a fifth of attacks. Addresses are those reserved for
documentation and private networks; hosts are reserved names.

The same arguments give the same bytes on every platform and Python version, and fewer rows are the
beginning of more rows. The draws are not cryptographic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice

from .generator_attacks import ATTACK_KINDS, DEFAULT_KINDS
from .generator_grammar import Draw
from .generator_sites import SITES
from .generator_visitors import Crowd, Exchange, Gang

__all__ = ["ATTACK_KINDS", "BENIGN", "DEFAULT_KINDS", "DEFAULT_START", "SITES", "generate"]

BENIGN = "-"
DEFAULT_START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)

_BLOCK = 1024
_BURST = 16
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def generate(
    rows: int,
    seed: int,
    *,
    attack_share: float = 0.04,
    kinds: Mapping[str, float] | None = None,
    site: str = "shop",
    start: datetime | None = None,
) -> Iterator[str]:
    """Yield `rows` labelled log lines without line ends, in order of time, in constant memory.

    `attack_share` is the share of attacks, 0 to 1, kept within each 1,024 lines. `kinds` gives relative
    weights of the keys of `ATTACK_KINDS`; a kind left out does not occur. Floods come in bursts, so that a
    short log may have none. `site` is a key of `SITES`. `start` is the time of the first line, UTC unless it
    says otherwise.

    Raises `ValueError`, before the first line, for arguments outside these bounds.
    """
    weights = _weights(DEFAULT_KINDS if kinds is None else kinds)
    if rows < 0:
        raise ValueError(f"rows must be 0 or more, not {rows}.")
    if not 0 <= attack_share <= 1:
        raise ValueError(f"attack_share must be from 0 to 1, not {attack_share}.")
    if site not in SITES:
        raise ValueError(f"No site is called {site!r}. Choose one of: {', '.join(SITES)}.")
    begin = DEFAULT_START if start is None else start
    if begin.tzinfo is None:
        begin = begin.replace(tzinfo=UTC)
    return islice(_lines(Draw(seed), attack_share, weights, site, begin), rows)


def _weights(kinds: Mapping[str, float]) -> dict[str, float]:
    """The weights of `kinds` in the order of `ATTACK_KINDS`, scaled to the sum 1."""
    unknown = sorted(set(kinds) - set(ATTACK_KINDS))
    if unknown:
        raise ValueError(f"No attack kind is called {unknown[0]!r}. Choose from: {', '.join(ATTACK_KINDS)}.")
    for kind, weight in kinds.items():
        if not 0 <= weight < float("inf"):
            raise ValueError(f"The weight of kind {kind!r} must be a number of 0 or more, not {weight}.")
    total = sum(kinds.values())
    if total <= 0:
        raise ValueError("At least one kind of attack needs a weight above 0.")
    return {kind: kinds[kind] / total for kind in ATTACK_KINDS if kinds.get(kind, 0) > 0}


def _lines(
    draw: Draw, attack_share: float, weights: dict[str, float], site: str, begin: datetime
) -> Iterator[str]:
    crowd = Crowd(SITES[site], draw)
    gang = Gang(SITES[site], draw)
    clock = _Clock(begin)
    for kind in _plan(draw, attack_share, weights, gang):
        exchange = crowd.next_exchange() if kind == BENIGN else gang.next_exchange(kind)
        yield _line(exchange, clock.now, kind)
        # About three requests a second; a flood's come at once.
        if kind != "flood" and draw.unit() < 0.35:
            clock.advance(1)


def _plan(draw: Draw, attack_share: float, weights: dict[str, float], gang: Gang) -> Iterator[str]:
    """The label of each line to come, block by block, without end.

    Floods are gathered into some of the blocks, in place of other kinds, so that the share of attacks stays
    the same everywhere while the floods' own share holds on average.
    """
    flood = weights.get("flood", 0.0)
    other = {kind: weight for kind, weight in weights.items() if kind != "flood"}
    spread = max(flood, min(1.0, _BLOCK * attack_share * flood / _BURST))
    due = draw.unit()
    owed = draw.unit()
    while True:
        owed += _BLOCK * attack_share
        attacks = int(owed)
        owed -= attacks
        due += spread
        floods = 0
        if due >= 1:
            due -= 1
            floods = min(attacks, int(attacks * flood / spread + draw.unit()))
        yield from _block(draw, attacks - floods, floods, other, gang)


def _block(draw: Draw, attacks: int, floods: int, other: dict[str, float], gang: Gang) -> Iterator[str]:
    """The labels of one block: `floods` in a dense stretch, `attacks` of the other kinds anywhere else."""
    labels = [BENIGN] * _BLOCK
    if floods:
        gang.begin_flood()
        stretch = min(_BLOCK, floods * 3 // 2)
        first = draw.number(0, _BLOCK - stretch)
        for place in draw.sample(stretch, floods):
            labels[first + place] = "flood"
    free = [place for place in range(_BLOCK) if labels[place] == BENIGN]
    for place in draw.sample(len(free), attacks):
        labels[free[place]] = _weighted(draw, other)
    return iter(labels)


def _weighted(draw: Draw, weights: dict[str, float]) -> str:
    left = draw.unit() * sum(weights.values())
    for kind, weight in weights.items():
        left -= weight
        if left < 0:
            return kind
    return next(reversed(weights))


class _Clock:
    """The time of the log, in Apache's notation."""

    def __init__(self, begin: datetime) -> None:
        self._moment = begin
        self._zone = begin.strftime("%z")[:5]
        self.now = self._written()

    def advance(self, seconds: int) -> None:
        self._moment += timedelta(seconds=seconds)
        self.now = self._written()

    def _written(self) -> str:
        # Months by hand: strftime's %b speaks the language of the machine.
        at = self._moment
        day = f"{at.day:02}/{_MONTHS[at.month - 1]}/{at.year:04}"
        return f"{day}:{at.hour:02}:{at.minute:02}:{at.second:02} {self._zone}"


def _line(exchange: Exchange, time: str, label: str) -> str:
    return (
        f'{exchange.address} - {exchange.user} [{time}] "{exchange.request}" '
        f'{exchange.status} {exchange.size} "{exchange.referrer}" "{exchange.agent}" "{label}"'
    )
