"""`fedcore requests …`: requests and grants, for the scientist who asks and for the data owner who decides."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Annotated, Any

import typer
from rich.table import Table

from fedcore.client import terminal
from fedcore.client.session import Session
from fedcore.client.terminal import add_row, console, shown, told_in_one_line
from fedcore.wire.spec import in_millionths

app = typer.Typer(help="Your requests and grants; for data owners also those for their data.")

RequestId = Annotated[str, typer.Argument(help="A request's digest, or its first characters.")]
Reason = Annotated[str, typer.Option(help="The other side reads it.")]
Protocols = Annotated[
    list[str] | None, typer.Option("--protocol", help="A protocol that stays allowed; once for each.")
]
Backends = Annotated[
    list[str] | None, typer.Option("--backend", help="A backend that stays allowed; once for each.")
]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="A model type that stays allowed; once for each.")
]
Epsilon = Annotated[float | None, typer.Option(help="At most this epsilon in all runs together.")]
Releases = Annotated[int | None, typer.Option(help="At most this many runs.")]
MinimumOwners = Annotated[int | None, typer.Option(help="At least this many owners in each run.")]
Until = Annotated[str | None, typer.Option(help="The last day, as 2027-12-31 (UTC).")]
NoDownload = Annotated[bool, typer.Option("--no-download", help="No download of the merged dataset.")]

LIMITS = (
    ("protocols", "protocols", ", ".join),
    ("backends", "backends", ", ".join),
    ("model types", "models", ", ".join),
    ("runs, at most", "releases", str),
    ("owners in each run, at least", "minimum_owners", str),
    ("epsilon of all runs", "epsilon_micro", lambda micro: shown_epsilon(micro)),
    ("until", "expires_at", lambda moment: str(moment)[:16]),
    ("download of the merged dataset", "download", lambda allowed: "yes" if allowed else "no"),
)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a command of the group."""
    return app.command()(told_in_one_line(function))


@app.callback(invoke_without_command=True)
def listed(context: typer.Context) -> None:
    """List your access requests and their states."""
    if context.invoked_subcommand is None:
        told_in_one_line(_list)()


def _list() -> None:
    columns = ("request", "dataset", "who asks", "state", "at the host", "releases", "reason")
    table = Table(*columns, title="Access requests")
    for item in terminal.open_session().requests():
        grant = item["grant"] or {"releases_used": 0, "releases": item["releases"]}
        at_host = (grant.get("standing") or "not answered yet").replace("_", " ") if item["grant"] else ""
        add_row(
            table,
            item["digest"][:12],
            f"{item['host_name']}/{item['dataset']}",
            item["requested_by"],
            "expired" if item["expired"] else item["state"].replace("_", " "),
            at_host,
            f"{grant['releases_used']} of {grant['releases']}",
            item.get("decision_reason") or "",
        )
    console.print(table)


@command
def show(request: RequestId) -> None:
    """Show a request: what was asked and granted, what was said, and what you may do about it."""
    item = _found(terminal.open_session(), request)
    state = "expired" if item["expired"] else item["state"].replace("_", " ")
    console.print(
        f"[bold]{shown(item['host_name'])}/{shown(item['dataset'])}[/], {shown(state)}", highlight=False
    )
    asked = f"asked by {item['requested_by']} of {item['organisation']} for {item['purpose']}"
    console.print(shown(asked))
    console.print(f"request {shown(item['digest'])}", highlight=False, soft_wrap=True)
    columns = [("asked", item), ("first approval", item["first_approval"]), ("granted", item["grant"])]
    given = [(name, limits) for name, limits in columns if limits]
    table = Table("limit", *(name for name, _limits in given))
    for label, name, text in LIMITS:
        add_row(table, label, *(text(limits[name]) for _heading, limits in given))
    console.print(table)
    for entry in item["thread"]:
        said = f"{shown(entry['person'])} ({shown(entry['said'])})"
        words = f": {shown(entry['text'])}" if entry["text"] else ""
        console.print(f"{shown(entry['at'][:16])}  {said}{words}", highlight=False)
    console.print(f"You may: {shown(', '.join(item['may']) or 'only read')}", highlight=False)


@command
def answer(request: RequestId, text: Annotated[str, typer.Argument(help="The owner reads it.")]) -> None:
    """Answer what an owner asked about your request."""
    _decide(request, "answer", text=text)


@command
def withdraw(request: RequestId, reason: Reason = "") -> None:
    """Take your request back, or give its grant back."""
    _decide(request, "withdraw", reason=reason)


@command
def renew(
    request: RequestId,
    days: Annotated[int, typer.Option(help="For how many days from now.")] = 30,
    releases: Annotated[int | None, typer.Option(help="How many runs; as many as before.")] = None,
    reason: Annotated[str, typer.Option(help="For the owner to read.")] = "",
) -> None:
    """Ask for a grant again: the same, for another period and number of runs."""
    session = terminal.open_session()
    digest = session.renew(_found(session, request), days=days, releases=releases, reason=reason)
    console.print(f"Asked again: request {digest}", highlight=False, soft_wrap=True)


@command
def approve(
    request: RequestId,
    protocols: Protocols = None,
    backends: Backends = None,
    models: Models = None,
    epsilon: Epsilon = None,
    releases: Releases = None,
    minimum_owners: MinimumOwners = None,
    until: Until = None,
    no_download: NoDownload = False,
    reason: Reason = "",
) -> None:
    """Data owners: approve a request, within limits that you may lower."""
    limits = _limits(protocols, backends, models, epsilon, releases, minimum_owners, until, no_download)
    _decide(request, "approve", reason=reason, **limits)


@command
def tighten(
    request: RequestId,
    reason: Reason,
    protocols: Protocols = None,
    backends: Backends = None,
    models: Models = None,
    epsilon: Epsilon = None,
    releases: Releases = None,
    minimum_owners: MinimumOwners = None,
    until: Until = None,
    no_download: NoDownload = False,
) -> None:
    """Data owners: lower limits of a grant, at once."""
    limits = _limits(protocols, backends, models, epsilon, releases, minimum_owners, until, no_download)
    _decide(request, "tighten", reason=reason, **limits)


@command
def ask(request: RequestId, text: Annotated[str, typer.Argument(help="The scientist reads it.")]) -> None:
    """Data owners: ask the scientist something about a request."""
    _decide(request, "ask", text=text)


@command
def refuse(request: RequestId, reason: Reason) -> None:
    """Data owners: refuse a request."""
    _decide(request, "refuse", reason=reason)


@command
def revoke(request: RequestId, reason: Reason) -> None:
    """Data owners: end a grant at once."""
    _decide(request, "revoke", reason=reason)


def shown_epsilon(micro: Any) -> str:
    """An epsilon as people read it."""
    return f"{micro / 1_000_000:g}" if isinstance(micro, int) else str(micro)


def _decide(start: str, decision: str, **terms: Any) -> None:
    session = terminal.open_session()
    item = session.decide(_found(session, start)["digest"], decision, **terms)
    console.print(f"The request is {shown(item['state'].replace('_', ' '))}.")


def _found(session: Session, start: str) -> dict[str, Any]:
    found = [item["digest"] for item in session.requests() if item["digest"].startswith(start)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} requests begin with {start!r}: give more of the digest.")
    return session.request(found[0])


def _limits(
    protocols: list[str] | None,
    backends: list[str] | None,
    models: list[str] | None,
    epsilon: float | None,
    releases: int | None,
    minimum_owners: int | None,
    until: str | None,
    no_download: bool,
) -> dict[str, Any]:
    """The limits that were named; the others stay as they are."""
    named = {
        "protocols": protocols or None,
        "backends": backends or None,
        "models": models or None,
        "epsilon_micro": None if epsilon is None else in_millionths(epsilon),
        "releases": releases,
        "minimum_owners": minimum_owners,
        "expires_at": None if until is None else _end_of(until),
        "download": False if no_download else None,
    }
    return {name: value for name, value in named.items() if value is not None}


def _end_of(day: str) -> str:
    try:
        return datetime.combine(datetime.fromisoformat(day).date(), time(23, 59, 59), UTC).isoformat()
    except ValueError:
        raise ValueError(f"{day!r} is no day such as 2027-12-31.") from None
