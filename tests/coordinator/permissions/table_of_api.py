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
from tests.coordinator.permissions.world import Thing, World

OLGA_AND_DORA: Final = who("olga", "dora")
UNDECIDED: Final = {
    **dict.fromkeys(("waiting", "asked back", "renewal"), OLGA_AND_DORA),
    "doras": who("olga"),
}
"""Data owners of the hospital decide, and nobody about the own request."""
GRANTED: Final = {"granted": OLGA_AND_DORA, "elsewhere": who("paul"), "eves": who("paul")}
OWN_REQUESTS: Final = {
    **dict.fromkeys(("waiting", "asked back", "renewal", "granted", "elsewhere"), who("sam")),
    "eves": who("eve"),
    "doras": who("dora"),
}
"""Requests that are not over, by whoever asked."""
DECISIONS: Final[dict[str, tuple[Send, Mapping[str, Who]]]] = {
    "approve": (sent.approval, UNDECIDED),
    "renew": (sent.reason, {"renewal": OLGA_AND_DORA}),
    "refuse": (sent.reason, UNDECIDED),
    "ask": (sent.text, UNDECIDED),
    "answer": (sent.text, {"asked back": who("sam")}),
    "tighten": (sent.tightening, GRANTED),
    "revoke": (sent.reason, GRANTED),
    "withdraw": (sent.reason, OWN_REQUESTS),
}
"""What can be done about a request, with what is sent to the API, and who may do it now."""
TRY_AGAIN: Final = {
    **dict.fromkeys(
        ("waiting", "asked back", "renewal", "granted", "revoked", "refused"), OLGA_AND_DORA | who("sam")
    ),
    **dict.fromkeys(("elsewhere",), who("paul", "sam")),
    "eves": who("paul", "eve"),
    "doras": OLGA_AND_DORA,
}

OWN: Final = {**dict.fromkeys(SEEN["runs"], who("sam")), "eves": who("eve")}
OWN_TRAINED: Final = {"evaluated": who("sam"), "finished": who("sam")}
"""Runs by their scientist, and those of which there is a model."""

TOLD_TO_HOSTS: Final = {
    **dict.fromkeys(("granted", "revoked"), who("north")),
    **dict.fromkeys(("elsewhere", "eves"), who("south")),
}
"""Grants that hosts hear of, and say how they stand there."""

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


def names_of_dataset(world: World, thing: Thing) -> dict[str, str]:
    return world.names.get(thing.name, {"host": "north", "name": "missing"})


API_ROWS: Final = [
    # -- for everybody
    Row("", OPEN_PAGE, {"GET": reads(EVERYBODY), "POST": reads(EVERYBODY)}),
    Row("api/coordinator", PUBLIC, {"GET": reads(EVERYBODY)}),
    Row("api/health", PUBLIC, {"GET": reads(EVERYBODY)}),
    Row("api/schema", API, {"GET": reads(LOGS_IN)}, only=A_FEW),
    Row("api/docs", API, {"GET": reads(LOGS_IN)}, only=A_FEW),
    Row("api/login", PUBLIC, {"POST": does(sent.login, LOGS_IN)}),
    # -- whoever has a token
    Row("api/logout", API, {"POST": does(None, LOGS_IN)}),
    Row("api/me", API, {"GET": reads(LOGS_IN)}),
    Row("api/keys", API, {"GET": reads(LOGS_IN), "POST": does(sent.new_key, LOGS_IN)}),
    Row("api/tokens", API, {"GET": lists(LOGS_IN, "tokens", SEEN["tokens"])}),
    Row("api/tokens/<token:name>", API, {"DELETE": does(None, SEEN["tokens"])}, "tokens"),
    Row(
        "api/audit",
        API,
        {"GET": lists(LOGS_IN, "entries", SEEN["entries"], lambda thing: f'"serial":{thing.key},')},
    ),
    Row("api/audit/head", API, {"GET": reads(LOGS_IN)}),
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
    Row(
        "api/datasets/<name:host>/<name:name>",
        API,
        {"GET": sees("datasets")},
        "datasets",
        parameters=names_of_dataset,
    ),
    Row(
        "api/datasets/<name:host>/<name:name>/mock",
        API,
        {"GET": sees("datasets")},
        "datasets",
        parameters=names_of_dataset,
    ),
    # -- requests and grants
    Row(
        "api/requests",
        API,
        {
            "GET": lists(LOGS_IN, "requests", SEEN["requests"], lambda thing: f'"digest":"{thing.key}"'),
            "POST": does(sent.signed_request, SCIENTISTS, told=LOGS_IN),
        },
    ),
    Row("api/requests/<digest:digest>", API, {"GET": sees("requests")}, "requests"),
    *(
        Row(
            f"api/requests/<digest:digest>/{decision}",
            API,
            {"POST": does(send, may, told=SEEN["requests"])},
            "requests",
        )
        for decision, (send, may) in DECISIONS.items()
    ),
    # -- trying on made-up rows
    Row(
        "api/requests/<digest:digest>/dry-run",
        API,
        {"POST": does(None, TRY_AGAIN, told=SEEN["requests"])},
        "requests",
    ),
    Row("api/dry-runs", API, {"POST": does(sent.plan_to_try, SCIENTISTS, told=LOGS_IN)}),
    Row("api/dry-runs/<dry_run:dry_run>", API, {"GET": sees("dry runs")}, "dry runs"),
    # -- one's own notices
    Row("api/notices", API, {"GET": lists(LOGS_IN, "notices", SEEN["notices"], lambda thing: thing.word)}),
    Row("api/notices/read", API, {"POST": does(sent.nothing_in_json, LOGS_IN)}),
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
    Row("api/runs/<digest:run_id>/rights", API, {"GET": sees("runs")}, "runs"),
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
    Row(
        "api/host/grants",
        FOR_HOSTS,
        {"GET": lists(HOSTS, "requests", TOLD_TO_HOSTS, lambda thing: thing.word), "HEAD": None},
    ),
    Row("api/host/standings", FOR_HOSTS, {"POST": does(sent.standing, TOLD_TO_HOSTS)}, "grants"),
    Row("api/host/mocks", FOR_HOSTS, {"GET": lists(HOSTS, "mocks", SEEN["mocks"]), "HEAD": None}),
    Row("api/host/mocks/<digest:digest>", FOR_HOSTS, {"PUT": does(sent.mock, SEEN["mocks"])}, "mocks"),
    Row("api/host/reports", FOR_HOSTS, {"POST": does(sent.report, SEEN["orders"])}, "orders"),
    Row("api/host/announcements", FOR_HOSTS, {"POST": does(sent.announcement, HOSTS)}),
    Row("api/host/heads", FOR_HOSTS, {"POST": does(sent.head, HOSTS)}),
    Row("api/host/head-receipts", FOR_HOSTS, {"POST": does(sent.head_receipt, NONE, idle=HOSTS)}),
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
