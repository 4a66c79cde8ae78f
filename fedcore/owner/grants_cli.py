"""`fedcore-owner grants`: what is granted on this host's data, and the last word on it. Works while the host runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from fedcore.owner.console import HomeOption, add_row, say, show_table, table, told_plainly
from fedcore.owner.deciding import Governed, Governing
from fedcore.owner.grant_texts import (
    limits_in_words,
    paragraphs,
    scientist_of,
    stand_under,
    standing_in_words,
)
from fedcore.owner.grants import GrantStore, this_user
from fedcore.owner.held_grant import GrantError, HeldGrant, short
from fedcore.owner.home import DEFAULT_HOME, Home
from fedcore.owner.journal import Journal
from fedcore.owner.standing import Stand
from fedcore.wire.access import Standing
from fedcore.wire.keys import fingerprint
from fedcore.wire.spec import in_millionths

app = typer.Typer(help="What is granted on this host's data, and the last word on it.", no_args_is_help=True)

Digits = Annotated[str, typer.Argument(help="The grant: enough first digits of what `grants list` shows.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stays on this host.")]
Releases = Annotated[int | None, typer.Option("--releases", help="At most so many runs.")]
Until = Annotated[str | None, typer.Option("--until", help="Until the end of this day (UTC), as 2027-12-31.")]
Epsilon = Annotated[
    float | None, typer.Option("--epsilon", help="At most so much epsilon in all runs together.")
]
Owners = Annotated[int | None, typer.Option("--minimum-owners", help="At least so many owners in each run.")]
Protocols = Annotated[str | None, typer.Option("--protocols", help="Only these protocols: local,pooled.")]
Backends = Annotated[str | None, typer.Option("--backends", help="Only these encryption backends: a,b.")]
Models = Annotated[str | None, typer.Option("--models", help="Only these model types: a,b.")]
NoDownload = Annotated[bool, typer.Option("--no-download", help="Without leave to download rows.")]


@app.command("list")
def list_grants(home: HomeOption = DEFAULT_HOME) -> None:
    """List every grant with its standing, who asked, its limits, and what exceeds which ceiling."""
    with told_plainly(), _opened(home) as (grants, place):
        governed, now = Governing(place).governed(), time.time()
        found = table("grant", "standing", "scientist", "dataset", "limits", "why")
        for held in grants.all():
            stand = stand_under(governed, held)
            add_row(
                found,
                short(held.digest),
                standing_in_words(held, stand, now),
                scientist_of(governed, held),
                held.request.dataset.name,
                limits_in_words(held.limits),
                "; ".join(stand.why),
            )
        if found.row_count:
            show_table(found)
        else:
            say("No grant is known here yet. They arrive when a request is approved at the coordinator.")


@app.command()
def show(grant: Digits, home: HomeOption = DEFAULT_HOME) -> None:
    """Say in plain words what would run under a grant, what it shows, and what cannot be called back."""
    with told_plainly(), _opened(home) as (grants, place):
        held, governed = grants.beginning_with(grant), Governing(place).governed()
        say(f"Grant {held.digest}")
        for paragraph in paragraphs(governed, held, stand_under(governed, held), time.time()):
            say()
            say(paragraph.title)
            for line in paragraph.lines:
                say(line, indent=2)


@app.command()
def confirm(
    grant: Digits,
    releases: Releases = None,
    until: Until = None,
    epsilon: Epsilon = None,
    minimum_owners: Owners = None,
    protocols: Protocols = None,
    backends: Backends = None,
    models: Models = None,
    no_download: NoDownload = False,
    reason: Reason = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Let a grant take effect that goes beyond the ceilings, perhaps with narrower limits."""
    with told_plainly(), _opened(home) as (grants, place):
        held, governed = grants.beginning_with(grant), Governing(place).governed()
        changes = _changes(releases, until, epsilon, minimum_owners, protocols, backends, models, no_download)
        _check_possible(governed, held)
        limits = held.narrowed(**changes) if changes else None
        held = grants.confirm(held.digest, this_user(), limits, reason)
        _say(held, stand_under(governed, held))


@app.command()
def tighten(
    grant: Digits,
    releases: Releases = None,
    until: Until = None,
    epsilon: Epsilon = None,
    minimum_owners: Owners = None,
    protocols: Protocols = None,
    backends: Backends = None,
    models: Models = None,
    no_download: NoDownload = False,
    reason: Reason = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Narrow a grant on this host, from the next order on. It is never widened again."""
    with told_plainly(), _opened(home) as (grants, _place):
        held = grants.beginning_with(grant)
        changes = _changes(releases, until, epsilon, minimum_owners, protocols, backends, models, no_download)
        if not changes:
            raise GrantError("Say what to narrow, such as --releases 2 or --until 2027-12-31.")
        held = grants.tighten(held.digest, this_user(), held.narrowed(**changes), reason)
        say(f"Grant {short(held.digest)} goes as far as: {limits_in_words(held.limits)}.")


@app.command()
def refuse(
    grant: Digits,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays on this host.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Refuse a grant, for good. The scientist may ask anew."""
    with told_plainly(), _opened(home) as (grants, _place):
        held = grants.refuse(grants.beginning_with(grant).digest, this_user(), reason)
        say(f"Grant {short(held.digest)} is refused: nothing runs under it.")


@app.command()
def revoke(grant: Digits, reason: Reason = "", home: HomeOption = DEFAULT_HOME) -> None:
    """Revoke a grant at once and for good: the next order is refused, and what is under way does not leave."""
    with told_plainly(), _opened(home) as (grants, _place):
        held = grants.revoke(grants.beginning_with(grant).digest, this_user(), reason)
        say(
            f"Grant {short(held.digest)} is revoked: nothing more leaves this host under it. What was handed over "
            "before cannot be called back.",
        )


@contextmanager
def _opened(home: Any) -> Iterator[tuple[GrantStore, Home]]:
    place = Home(home)
    place.check()
    with Journal(place.journal_path) as journal, GrantStore(place.grants_path, journal) as grants:
        yield grants, place


def _changes(
    releases: int | None,
    until: str | None,
    epsilon: float | None,
    minimum_owners: int | None,
    protocols: str | None,
    backends: str | None,
    models: str | None,
    no_download: bool,
) -> dict[str, Any]:
    """The limits that were given, by their names."""
    given = {
        "releases": releases,
        "expires_at": None if until is None else _end_of(until),
        "epsilon_micro": None if epsilon is None else in_millionths(epsilon),
        "minimum_owners": minimum_owners,
        "protocols": _names(protocols),
        "backends": _names(backends),
        "models": _names(models),
        "download": False if no_download else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def _end_of(day: str) -> int:
    try:
        start = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise GrantError(f"{day!r} is no day. Write it as 2027-12-31.") from None
    return int((start + timedelta(days=1)).timestamp())


def _check_possible(governed: Governed, held: HeldGrant) -> None:
    """Nobody confirms what the dataset's own settings never allow, or a key that the policy does not name."""
    stand = stand_under(governed, held)
    if stand.standing is Standing.REFUSED and not held.is_over:
        raise GrantError(
            f"Nothing could run under grant {short(held.digest)}, whatever is confirmed: {'; '.join(stand.why)}. "
            "Change owner.toml first, or refuse the grant."
        )
    if governed.policy.scientist(held.signed.signer) is None:
        raise GrantError(
            f"Grant {short(held.digest)} is signed with a key that owner.toml does not name, {held.signed.signer} "
            f"({fingerprint(held.signed.signer)}). Compare the fingerprint with the scientist, add the key under "
            "[[scientists]], and confirm then."
        )


def _say(held: HeldGrant, stand: Stand) -> None:
    waits = "" if stand.standing is Standing.IN_FORCE else f" It still waits: {'; '.join(stand.why)}."
    say(
        f"Grant {short(held.digest)} is confirmed, as far as: {limits_in_words(held.limits)}.{waits}",
    )
