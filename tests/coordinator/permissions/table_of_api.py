"""The table, first part: the REST API and the endpoints of hosts. One row for each address.

Read a row as: at this address, by this method, these may do it, for this row of the world; `told` are refused with
a reason; for all others there is nothing there, and whoever is outside is told to log in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tests.coordinator.permissions import sent
from tests.coordinator.permissions.matrix import API, FOR_HOSTS, OPEN_PAGE, PUBLIC, Row, Rule, Send
from tests.coordinator.permissions.things import CATALOGUE, SEEN
from tests.coordinator.permissions.who import (
    EVERY_PERSON,
    EVERYBODY,
    HOSTS,
    INACTIVE,
    LOGS_IN,
    NONE,
    SCIENTISTS,
    Who,
    who,
)
from tests.coordinator.permissions.world import Thing

OLGA_AND_DORA: Final = who("olga", "dora")
DECIDE_WAITING: Final = {"waiting": OLGA_AND_DORA, "doras": who("olga")}
"""Data owners of the hospital decide, and nobody about the own request."""
DECIDE_GRANTED: Final = {"granted": OLGA_AND_DORA, "elsewhere": who("paul"), "eves": who("paul")}

OWN: Final = {**dict.fromkeys(SEEN["runs"], who("sam")), "eves": who("eve")}
OWN_TRAINED: Final = {"evaluated": who("sam"), "finished": who("sam")}
"""Runs by their scientist, and those of which there is a model."""

A_FEW: Final = who("visitor", "eve", "north", "root")


def reads(may: Who | Mapping[str, Who]) -> Rule:
    return Rule(_for_every_row(may))


def sees(kind: str) -> Rule:
    """Whoever sees the row."""
    return Rule(SEEN[kind])


def lists(
    may: Who, kind: str, seen: Mapping[str, Who], mark: Callable[[Thing], str] = lambda thing: thing.key
) -> Rule:
    """A list that `may` open, with the rows that each of them sees."""
    return Rule({"": may}, lists=(kind, seen, mark))


def does(
    send: Send | None,
    may: Who | Mapping[str, Who],
    told: Who | Mapping[str, Who] = NONE,
    idle: Who | Mapping[str, Who] = NONE,
) -> Rule:
    """Something is changed."""
    return Rule(_for_every_row(may), _for_every_row(told), _for_every_row(idle), writes=True, send=send)


def _for_every_row(named: Who | Mapping[str, Who]) -> Mapping[str, Who]:
    return named if isinstance(named, Mapping) else {"": named}


API_ROWS: Final = [
    # -- for everybody
    Row("", OPEN_PAGE, {"GET": reads(EVERYBODY), "POST": reads(EVERYBODY)}),
    Row("api/coordinator", PUBLIC, {"GET": reads(EVERYBODY)}),
    Row("api/health", PUBLIC, {"GET": reads(EVERYBODY)}),
    Row("api/schema", PUBLIC, {"GET": reads(EVERYBODY)}, only=A_FEW),
    Row("api/docs", PUBLIC, {"GET": reads(EVERYBODY)}, only=A_FEW),
    Row("api/login", PUBLIC, {"POST": does(sent.login, LOGS_IN)}),
    # -- whoever has a token
    Row("api/logout", API, {"POST": does(None, LOGS_IN)}),
    Row("api/me", API, {"GET": reads(LOGS_IN)}),
    Row("api/keys", API, {"GET": reads(LOGS_IN), "POST": does(sent.new_key, LOGS_IN)}),
    Row("api/plugins", API, {"GET": reads(LOGS_IN)}),
    Row(
        "api/datasets",
        API,
        {"GET": lists(LOGS_IN, "datasets", CATALOGUE["datasets"], lambda thing: f'"{thing.word}"')},
    ),
    Row(
        "api/hosts",
        API,
        {
            "GET": lists(
                LOGS_IN, "hosts", CATALOGUE["hosts"], lambda thing: f'"name":"{thing.word or thing.name}"'
            )
        },
    ),
    # -- requests and grants
    Row(
        "api/requests",
        API,
        {
            "GET": lists(LOGS_IN, "requests", SEEN["requests"]),
            "POST": does(sent.signed_request, SCIENTISTS, told=LOGS_IN),
        },
    ),
    Row("api/requests/<digest:digest>", API, {"GET": sees("requests")}, "requests"),
    Row(
        "api/requests/<digest:digest>/approve",
        API,
        {"POST": does(sent.approval, DECIDE_WAITING, told=SEEN["requests"])},
        "requests",
    ),
    Row(
        "api/requests/<digest:digest>/refuse",
        API,
        {"POST": does(sent.reason, DECIDE_WAITING, told=SEEN["requests"])},
        "requests",
    ),
    Row(
        "api/requests/<digest:digest>/revoke",
        API,
        {"POST": does(sent.reason, DECIDE_GRANTED, told=SEEN["requests"])},
        "requests",
    ),
]

RUN_ROWS: Final = [
    Row(
        "api/runs",
        API,
        {
            "GET": lists(LOGS_IN, "runs", SEEN["runs"]),
            "POST": does(sent.signed_spec, who("sam"), told=LOGS_IN),
        },
    ),
    Row("api/runs/<digest:run_id>", API, {"GET": sees("runs")}, "runs"),
    Row("api/runs/<digest:run_id>/wait", API, {"GET": sees("runs"), "HEAD": None}, "runs"),
    Row(
        "api/runs/<digest:run_id>/report",
        API,
        {
            "GET": Rule(
                {"finished": SEEN["runs"]["finished"], "eves": SEEN["runs"]["eves"]},
                told=SEEN["runs"],
            )
        },
        "runs",
    ),
    Row("api/runs/<digest:run_id>/model", API, {"GET": Rule(OWN_TRAINED, told=OWN)}, "runs"),
    Row("api/runs/<digest:run_id>/dataset", API, {"GET": Rule(OWN_TRAINED, told=OWN)}, "runs"),
    Row(
        "api/runs/<digest:run_id>/cancel",
        API,
        {"POST": does(None, {"running": who("sam"), "evaluated": who("sam")}, told=OWN)},
        "runs",
    ),
]

HOST_ROWS: Final = [
    Row(
        "api/host/orders",
        FOR_HOSTS,
        {"GET": lists(HOSTS, "orders", SEEN["orders"]), "HEAD": None},
    ),
    Row("api/host/reports", FOR_HOSTS, {"POST": does(sent.report, SEEN["orders"])}, "orders"),
    Row("api/host/announcements", FOR_HOSTS, {"POST": does(sent.announcement, HOSTS)}),
    Row(
        "api/host/artefacts/<order:order_id>/<digest:digest>",
        FOR_HOSTS,
        {
            "HEAD": Rule({"norths": who("north")}, told=SEEN["orders"]),
            "GET": Rule({"to evaluate": who("north")}, told=SEEN["orders"]),
            "PATCH": does(sent.chunk, {"norths": who("north"), "souths": who("south")}, told=SEEN["orders"]),
        },
        "orders",
        parameters=lambda world, thing: {
            "digest": world.model if thing.name == "to evaluate" else world.digest
        },
    ),
]

assert EVERY_PERSON - INACTIVE == LOGS_IN
