"""Who sends the requests: visitors with an address, a name, an agent and a last page, and what comes next."""

from __future__ import annotations

from dataclasses import dataclass

from .generator_attacks import ATTACK_RULES, CARRIERS, disguise
from .generator_grammar import Draw, Grammar
from .generator_sites import Site

_KIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
_APPLE_KIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
_VERSIONS = range(118, 134)
_RELEASES = range(15, 19)
BROWSERS: tuple[str, ...] = (
    *(f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_KIT} Chrome/{v}.0.0.0 Safari/537.36" for v in _VERSIONS),
    *(f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{v}.0) Gecko/20100101 Firefox/{v}.0" for v in _VERSIONS),
    *(f"Mozilla/5.0 (X11; Linux x86_64; rv:{v}.0) Gecko/20100101 Firefox/{v}.0" for v in _VERSIONS),
    *(
        f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_APPLE_KIT} Version/{v}.1 Safari/605.1.15"
        for v in _RELEASES
    ),
    *(
        f"Mozilla/5.0 (iPhone; CPU iPhone OS {v}_2 like Mac OS X) {_APPLE_KIT} Mobile/15E148"
        for v in _RELEASES
    ),
)
# fmt: off
PROGRAMS = (
    "curl/8.5.0", "curl/7.88.1", "python-requests/2.31.0", "python-requests/2.32.3", "Go-http-client/1.1",
    "Wget/1.21.4", "Java/17.0.9", "okhttp/4.12.0", "-", "ExampleBot/2.1 (+https://bot.example.org/about)",
    "HealthCheck/1.4",
)
SCANNERS = (
    "sqlmap/1.8.2#stable", "Mozilla/5.00 (Nikto/2.5.0)", "Nuclei - Open-source project",
    "gobuster/3.6", "Mozilla/5.0 zgrab/0.x", "ffuf/2.1.0", "masscan/1.3", "WPScan v3.8.25", "curl/8.5.0",
    "python-requests/2.31.0", "-",
)
# fmt: on
_DOCUMENTATION = ("192.0.2", "198.51.100", "203.0.113")
_ENTRANCES = ("https://www.example.org/", "https://search.example.net/find", "https://news.example.com/today")

_OK = ("200",) * 176 + ("304",) * 9 + ("404",) * 7 + ("301",) * 3 + ("302",) * 2 + ("500", "403", "400")
_FILE = ("200",) * 70 + ("304",) * 26 + ("404",) * 4
_MOVED = ("302",) * 15 + ("301",) * 3 + ("200",) * 2 + ("404",)
_POSTED = ("302",) * 9 + ("200",) * 9 + ("500", "403")
_ABSENT = ("404",) * 12 + ("301", "302", "200", "400", "403")
_ATTACKED = ("200",) * 9 + ("404",) * 4 + ("500",) * 3 + ("403",) * 3 + ("302",) * 2 + ("400",)


@dataclass(frozen=True, slots=True)
class _Habit:
    """One sort of ordinary request: how often, method, grammar rule, answers, and whether it is a page."""

    weight: int
    method: str
    rule: str
    statuses: tuple[str, ...]
    page: bool


_HABITS = (
    _Habit(18, "GET", "asset", _FILE, False),
    _Habit(26, "GET", "view", _OK, True),
    _Habit(22, "GET", "search", _OK, True),
    _Habit(9, "GET", "listing", _OK, False),
    _Habit(8, "GET", "redirect", _MOVED, False),
    _Habit(8, "GET", "document", _OK, True),
    _Habit(3, "POST", "search", _OK, True),
    _Habit(6, "POST", "form", _POSTED, True),
    _Habit(2, "GET", "wrong", _ABSENT, False),
    _Habit(1, "HEAD", "view", _OK, False),
)
_HABIT_POOL = tuple(habit for habit in _HABITS for _ in range(habit.weight))


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer: everything of a log line but the time and the label."""

    address: str
    user: str
    request: str
    status: str
    size: str
    referrer: str
    agent: str


class _Visitor:
    __slots__ = ("address", "agent", "page", "referred", "user")

    def __init__(self, address: str, user: str, agent: str, page: str, referred: bool) -> None:
        self.address = address
        self.user = user
        self.agent = agent
        self.page = page
        self.referred = referred


def _size(status: str, draw: Draw) -> str:
    if status == "304":
        return "-"
    if status in ("301", "302"):
        return str(draw.number(180, 420))
    return str(int(220 + 60_000 * draw.unit() ** 3))


class Crowd:
    """A fixed number of visitors at a time; each keeps address, name and agent while it stays."""

    def __init__(self, site: Site, draw: Draw, size: int = 96) -> None:
        self._site = site
        self._draw = draw
        self._grammar = Grammar(site.rules(), draw)
        self._origin = f"https://{site.host}"
        self._visitors = [self._arrive() for _ in range(size)]

    def next_exchange(self) -> Exchange:
        """What one of the visitors asks for next."""
        draw = self._draw
        place = int(draw.unit() * len(self._visitors))
        if draw.unit() < 0.06:
            self._visitors[place] = self._arrive()
        visitor = self._visitors[place]
        habit = draw.pick(_HABIT_POOL)
        target = self._grammar.expand(habit.rule)
        status = draw.pick(habit.statuses)
        referrer = visitor.page
        if habit.page and visitor.referred:
            visitor.page = self._origin + target
        request = f"{habit.method} {target} HTTP/1.1"
        size = _size(status, draw)
        return Exchange(visitor.address, visitor.user, request, status, size, referrer, visitor.agent)

    def _arrive(self) -> _Visitor:
        draw = self._draw
        if draw.chance(0.16):
            return _Visitor(address(self._site, draw), "-", draw.pick(PROGRAMS), "-", False)
        user = self._person() if draw.chance(0.3) else "-"
        page = draw.pick(_ENTRANCES) if draw.chance(0.6) else "-"
        return _Visitor(address(self._site, draw), user, draw.pick(BROWSERS), page, draw.chance(0.9))

    def _person(self) -> str:
        draw = self._draw
        name = draw.pick(self._site.people)
        return name.replace("{n}", str(draw.number(1, 400))).replace("{digit}", str(draw.number(1, 9)))


class Gang:
    """A few attackers at a time, with scanners' or browsers' agents, and the bursts of floods."""

    def __init__(self, site: Site, draw: Draw, size: int = 14) -> None:
        self._site = site
        self._draw = draw
        self._grammar = Grammar({**site.rules(), **ATTACK_RULES}, draw)
        self._origin = f"https://{site.host}/"
        self._attackers = [self._arrive() for _ in range(size)]
        self._flooders = self._attackers[:3]

    def begin_flood(self) -> None:
        """Choose the few addresses that the next burst comes from."""
        self._flooders = [self._arrive() for _ in range(self._draw.number(2, 4))]

    def next_exchange(self, kind: str) -> Exchange:
        """The next request of the attack kind `kind`, failed or successful."""
        draw = self._draw
        attacker = self._attacker(kind)
        target = self._target(kind)
        method = "POST" if draw.chance(0.22) else "GET"
        if kind == "flood":
            method = "GET"
        elif target.endswith(":443"):
            method = "CONNECT"
        status = draw.pick(_OK if kind == "flood" else _ATTACKED)
        referrer = self._origin if attacker.referred else attacker.page
        request = f"{method} {target} HTTP/1.1"
        size = _size(status, draw)
        return Exchange(attacker.address, attacker.user, request, status, size, referrer, attacker.agent)

    def _attacker(self, kind: str) -> _Visitor:
        draw = self._draw
        if kind == "flood":
            return draw.pick(self._flooders)
        place = int(draw.unit() * len(self._attackers))
        if draw.unit() < 0.12:
            self._attackers[place] = self._arrive()
        return self._attackers[place]

    def _target(self, kind: str) -> str:
        place, rule = self._draw.pick(CARRIERS[kind])
        text = self._grammar.expand(rule)
        if not place:
            return text.replace("\\", "%5C")
        tail = self._grammar.expand("tail")
        return f"/{self._grammar.expand(place)}{disguise(text, self._draw)}{tail}"

    def _arrive(self) -> _Visitor:
        draw = self._draw
        user = "admin" if draw.chance(0.06) else "-"
        if draw.chance(0.35):
            return _Visitor(address(self._site, draw), user, draw.pick(SCANNERS), "-", False)
        page = draw.pick(_ENTRANCES) if draw.chance(0.4) else "-"
        return _Visitor(address(self._site, draw), user, draw.pick(BROWSERS), page, draw.chance(0.4))


def address(site: Site, draw: Draw) -> str:
    """An address of the documentation ranges (RFC 5737), or of the site's private network."""
    if draw.chance(0.45):
        return f"10.{site.network}.{draw.number(0, 31)}.{draw.number(1, 254)}"
    return f"{draw.pick(_DOCUMENTATION)}.{draw.number(1, 254)}"
