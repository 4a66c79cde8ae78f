"""`fedcore-owner journal`: read what this host has recorded, and check that nobody has altered it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fedcore.owner.console import HomeOption, add_row, say, show_table, table, told_plainly
from fedcore.owner.home import DEFAULT_HOME, Home, HomeError
from fedcore.owner.journal import Journal
from fedcore.owner.journal_checks import unrecorded_releases

app = typer.Typer(
    help="The record of every order, decision and release of this host.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def show(
    home: HomeOption = DEFAULT_HOME,
    last: Annotated[int, typer.Option(min=1, help="How many of the newest entries.")] = 50,
    run: Annotated[str, typer.Option(help="Only entries that name this run; its first digits suffice.")] = "",
) -> None:
    """Show the newest entries, oldest of them first."""
    place = Home(home)
    with told_plainly():
        place.check()
        with Journal(_existing(place)) as journal:
            found = [
                entry for entry in journal.entries() if not run or f'"run":"{run.lower()}' in entry.content
            ]
        shown = table("entry", "time", "kind", "content")
        for entry in found[-last:]:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.at))
            add_row(shown, str(entry.serial), at, entry.kind, entry.content)
        show_table(shown)


@app.command()
def verify(
    home: HomeOption = DEFAULT_HOME,
    head: Annotated[
        str | None,
        typer.Option(help="The digest of an entry, noted down elsewhere, that must still be on the chain."),
    ] = None,
) -> None:
    """Check the whole chain, and print its head: note it down somewhere else. The status is 1 if it is broken."""
    place = Home(home)
    with told_plainly():
        place.check()
        with Journal(_existing(place)) as journal:
            count = journal.verify(head)
            missing = unrecorded_releases(place, journal) if place.state_path.exists() else []
            if missing:
                raise HomeError(
                    f"The journal has no entry on {len(missing)} answers that have left this host, such as that to "
                    f"order {missing[0]}. Its end was cut off: keep a copy for an inquiry, and "
                    "compare it with a backup."
                )
            say(f"{count} entries, and the chain holds.")
            say(f"head: {journal.head}")


def _existing(place: Home) -> Path:
    if not place.journal_path.exists():
        raise HomeError(f"There is no journal {place.journal_path} yet: this host has done nothing.")
    return place.journal_path
