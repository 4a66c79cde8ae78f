"""The matrix: every address, method, person and row is tried, and everything unexpected is said at once.

A row of the table says who may do something; whoever it does not name is refused and cannot tell a row that is
hidden from one that does not exist. How a refusal looks is the same for a whole part of the site: see `Surface`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Final

from tests.coordinator.permissions.addresses import address_of
from tests.coordinator.permissions.asking import Answer, Asking, Body, without_templates
from tests.coordinator.permissions.things import SEEN
from tests.coordinator.permissions.who import EVERYBODY, HOSTS, LOGS_IN, NONE, WITH_ROLE, Who
from tests.coordinator.permissions.world import Thing, World

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SOME: Final = frozenset(
    {"visitor", "north", "rosa", "eve", "sam", "olga", "hana", "anna", "paul", "ada", "arno", "root"}
)
"""One of every kind: whom to ask where nobody may, or where a page does not look at the method."""

Send = Callable[[World, str, Thing], Body]


class Verdict(StrEnum):
    """What an answer means, whatever its status is called."""

    DONE = "done"
    REFUSED = "refused"
    NOTHING_THERE = "nothing there"
    LOG_IN = "log in first"
    NO_METHOD = "no such method"
    FAILED = "failed"


@dataclass(frozen=True)
class Surface:
    """A part of the site that refuses in one manner. `inside` are those who get further than the door."""

    inside: Who
    in_browser: bool = False
    options: bool = False
    """Whether OPTIONS describes the address to those inside."""


API: Final = Surface(LOGS_IN, options=True)
PUBLIC: Final = Surface(EVERYBODY, options=True)
FOR_HOSTS: Final = Surface(frozenset({"north", "south", "lab"}))
ADMIN: Final = Surface(WITH_ROLE, in_browser=True)
OPEN_PAGE: Final = Surface(EVERYBODY, in_browser=True)


@dataclass(frozen=True)
class Rule:
    """Who may do one thing, for each row by name (`""`: for every row, or where there is none).

    `told` see the row, so that a refusal may tell that it is there; `idle` get an answer, and nothing happens.
    `lists` names the rows whose marks the answer shows, to whom, by kind.
    """

    may: Mapping[str, Who]
    told: Mapping[str, Who] = field(default_factory=dict)
    idle: Mapping[str, Who] = field(default_factory=dict)
    writes: bool = False
    send: Send | None = None
    lists: tuple[str, Mapping[str, Who], Callable[[Thing], str]] | None = None

    def allowed(self, thing: Thing) -> Who:
        return _named(self.may, thing)

    def reads(self, thing: Thing) -> Who:
        """Whoever is answered though nothing changes, or may learn that the row is there."""
        return _named(self.told, thing) | _named(self.idle, thing)


@dataclass(frozen=True)
class Row:
    """One address of the table."""

    pattern: str
    surface: Surface
    methods: Mapping[str, Rule | None]
    """The rule for each method; HEAD has that of GET, but where it is None."""
    kind: str = "nothing"
    only: Who = EVERYBODY
    """Whom to ask, where asking is slow and the answer is the same for all."""
    parameters: Callable[[World, Thing], dict[str, str]] = lambda world, thing: {}
    """What stands in the address beside the row's key."""

    def rule(self, method: str) -> Rule | None:
        """The rule for this method. Pages of the admin do not look at methods but for POST."""
        if method == "HEAD" and not self.surface.in_browser and "HEAD" not in self.methods:
            return self.methods.get("GET")
        return self.methods.get(method)


class Matrix:
    """Tries rows of the table on a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asking = Asking(world)
        self.tried = 0

    def complaints(self, rows: Iterable[Row]) -> list[str]:
        """Everything that is otherwise than the rows say."""
        return [found for row in rows for found in self._of_row(row)]

    def _of_row(self, row: Row) -> Iterator[str]:
        for method in METHODS:
            rule = row.rule(method)
            if rule is None:
                yield from self._of_other_method(row, method)
                continue
            with nullcontext() if method == "GET" else without_templates():
                for who in sorted(row.only & self._asked(row, method, rule)):
                    yield from self._of_person(row, method, rule, who)

    @staticmethod
    def _asked(row: Row, method: str, rule: Rule) -> Who:
        """Everybody, but where nobody may, and to look at a page of the admin: there some of those who may not."""
        named = frozenset[str]().union(*rule.may.values(), *rule.told.values(), *rule.idle.values())
        looks = row.surface.in_browser and method == "GET"
        if not any(rule.may.values()):
            return SOME
        return named | SOME if looks else EVERYBODY

    def _of_person(self, row: Row, method: str, rule: Rule, who: str) -> Iterator[str]:
        *there, missing = self.world.of(row.kind)
        if who not in row.surface.inside or who not in SOME:
            # The door does not depend on the row; and what is hidden from many is asked for by some of them.
            hidden = [thing for thing in there if who not in rule.allowed(thing) | rule.reads(thing)]
            there = [thing for thing in there if thing not in hidden[1:]]
        compared = self._ask(row, method, rule, who, missing)
        for thing in [*there, missing]:
            answer = compared if thing is missing else self._ask(row, method, rule, who, thing)
            where = f"{method} {row.pattern} of {row.kind} {thing.name!r} by {who}"
            yield from (f"{where}: {wrong}" for wrong in self._wrong(row, rule, who, thing, answer))
            if method == "GET" and who not in HOSTS:
                yield from (f"{where}: shows {word}" for word in self._leaked(who, thing, answer))
            if not thing.is_missing and who not in rule.allowed(thing) | rule.reads(thing):
                yield from (f"{where}: {wrong}" for wrong in _differences(answer, thing, compared, missing))

    def _ask(self, row: Row, method: str, rule: Rule | None, who: str, thing: Thing) -> Answer:
        self.tried += 1
        body = rule.send(self.world, who, thing) if rule and rule.send else Body()
        address = address_of(row.pattern, thing.key, **row.parameters(self.world, thing))
        return self.asking.ask(who, method, address, body, row.surface.in_browser)

    def _wrong(self, row: Row, rule: Rule, who: str, thing: Thing, answer: Answer) -> Iterator[str]:
        verdict = verdict_on(answer, row.surface)
        if verdict is Verdict.FAILED:
            yield f"failed with {answer.status} {answer.error}"
        elif who in rule.allowed(thing):
            if verdict is not Verdict.DONE:
                yield f"should be allowed, and is {verdict} ({answer.status}) {answer.content[:300]!r}"
            elif rule.writes and not answer.written:
                yield f"should change something, and does not ({answer.status})"
            elif not rule.writes and answer.written:
                yield f"reads only, and has changed {sorted(answer.written)}"
            elif rule.lists and answer.content:
                yield from _wrong_list(rule, who, self.world, answer)
            return
        elif answer.written:
            yield f"may not, and has changed {sorted(answer.written)}"
        elif who in _named(rule.idle, thing):
            return
        elif verdict is Verdict.DONE:
            yield f"may not, and is answered {answer.status}"
        elif who not in row.surface.inside and verdict is not Verdict.LOG_IN:
            yield f"should be told to log in, and is {verdict} ({answer.status})"

    def _leaked(self, who: str, thing: Thing, answer: Answer) -> list[str]:
        """Words of rows that this person may not see."""
        return [
            word
            for word, seen_by in self.words.items()
            if who not in seen_by and word.encode() in answer.content and word not in thing.key
        ]

    @cached_property
    def words(self) -> dict[str, Who]:
        return {
            thing.word: SEEN[kind][name]
            for kind, named in self.world.things.items()
            for name, thing in named.items()
            if thing.word and SEEN[kind][name] != WITH_ROLE
        }

    def _of_other_method(self, row: Row, method: str) -> Iterator[str]:
        """A method that the row does not name does nothing, for anybody, whatever the row."""
        thing = self.world.of(row.kind)[0]
        reads = row.methods.get("GET")
        asked = row.only & SOME if row.surface.in_browser else row.only
        with without_templates():
            for who in sorted(asked):
                answer = self._ask(row, method, None, who, thing)
                verdict, where = verdict_on(answer, row.surface), f"{method} {row.pattern} by {who}"
                if verdict is Verdict.FAILED:
                    yield f"{where}: failed with {answer.status} {answer.error}"
                if answer.written:
                    yield f"{where}: has changed {sorted(answer.written)}"
                if verdict is Verdict.DONE and not self._may_be_done(row, method, who, reads, thing):
                    yield f"{where}: is no method of this address, and is answered {answer.status}"

    @staticmethod
    def _may_be_done(row: Row, method: str, who: str, reads: Rule | None, thing: Thing) -> bool:
        """OPTIONS describes an address of the API; pages of the admin take other methods for GET."""
        if method == "OPTIONS" and row.surface.options and who in row.surface.inside:
            return True
        if not row.surface.in_browser or reads is None:
            return False
        return who in reads.allowed(thing) | reads.reads(thing)


def _named(named: Mapping[str, Who], thing: Thing) -> Who:
    return named.get("" if thing.is_missing else thing.name, named.get("", NONE))


def verdict_on(answer: Answer, surface: Surface) -> Verdict:
    if answer.status >= 500 or answer.error:
        return Verdict.FAILED
    if answer.status == 405:
        return Verdict.NO_METHOD
    if answer.status == 401 or answer.location.startswith("/admin/login/"):
        return Verdict.LOG_IN
    if answer.status == 404 or (surface is ADMIN and answer.location == "/admin/" and not answer.written):
        return Verdict.NOTHING_THERE
    return Verdict.REFUSED if answer.status >= 400 else Verdict.DONE


def _differences(answer: Answer, thing: Thing, compared: Answer, missing: Thing) -> Iterator[str]:
    """How a row that one may not see differs from one that does not exist."""
    names = ("status", "location", "headers", "text", "queries")
    pairs = zip(names, answer.masked(thing.key), compared.masked(missing.key), strict=True)
    differences = [f"{name} {one!r:.200}, not {other!r:.200}" for name, one, other in pairs if one != other]
    if differences:
        yield "can be told from a missing one: " + "; ".join(differences)


def _wrong_list(rule: Rule, who: str, world: World, answer: Answer) -> Iterator[str]:
    assert rule.lists is not None
    kind, seen, mark = rule.lists
    for name in seen:
        thing = world.things[kind][name]
        shown = mark(thing).encode() in answer.content
        if shown != (who in seen[thing.name]):
            yield f"{'shows' if shown else 'does not show'} {kind} {thing.name!r}"


def without_a_row(patterns: Iterable[str], rows: Iterable[Row]) -> list[str]:
    """Addresses that the table leaves out, and rows that no address has."""
    found, known = list(patterns), [row.pattern for row in rows]
    missing = (f"{pattern}: the table has no row for it" for pattern in found if pattern not in known)
    gone = (
        f"{pattern}: the table has a row, and there is no such address"
        for pattern in known
        if pattern not in found
    )
    twice = (
        f"{pattern}: the table has it twice" for pattern in sorted(set(known)) if known.count(pattern) > 1
    )
    return [*missing, *gone, *twice]
