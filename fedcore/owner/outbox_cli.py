"""`fedcore-owner outbox`: look at the answers that wait for a person, and release or refuse them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from fedcore.owner.console import HomeOption, add_row, say, show_table, table, told_plainly
from fedcore.owner.home import DEFAULT_HOME, Home
from fedcore.owner.orders import OrderStore
from fedcore.owner.outbox import Outbox, described, shown_time

app = typer.Typer(
    help='Answers that wait for a person, where a dataset has release = "review".',
    no_args_is_help=True,
    rich_markup_mode=None,
)
OrderArgument = Annotated[str, typer.Argument(help="The order's id; its first digits suffice.")]


@app.command("list")
def list_waiting(home: HomeOption = DEFAULT_HOME) -> None:
    """List the answers that wait, oldest first."""
    with _outbox(home) as (_, outbox):
        waiting = outbox.waiting()
        if not waiting:
            say("Nothing waits.")
            return
        found = table("order", "run", "phase", "bytes", "answer until")
        for answer in waiting:
            until = shown_time(min(answer.order.expires_at, answer.spec.deadline))
            run = f"{answer.stored.run[:12]} {answer.spec.title}"
            add_row(found, answer.stored.id, run, answer.stored.phase, str(answer.size), until)
        show_table(found)


@app.command()
def show(order: OrderArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Show in plain words what would leave."""
    with _outbox(home) as (place, outbox):
        found = table("", "", show_header=False)
        for name, text in described(outbox.find(order), place.load_config()):
            add_row(found, name, text)
        show_table(found)


@app.command()
def release(order: OrderArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Let an answer leave, exactly as it was shown. That cannot be called back."""
    with _outbox(home) as (_, outbox):
        waiting = outbox.find(order)
        outbox.release(waiting)
        say(f"Released: {waiting.stored.id}. The agent sends it now, or when it next runs.")


@app.command()
def refuse(
    order: OrderArgument,
    home: HomeOption = DEFAULT_HOME,
    reason: Annotated[str, typer.Option(help="Why; it stays in this host's journal.")] = "",
) -> None:
    """Never let an answer leave. The coordinator gets the code `release_refused`, and the run ends."""
    with _outbox(home) as (_, outbox):
        waiting = outbox.find(order)
        outbox.refuse(waiting, reason)
        say(f"Refused: {waiting.stored.id}. What waited is deleted.")


@contextmanager
def _outbox(home: HomeOption) -> Iterator[tuple[Home, Outbox]]:
    place = Home(home)
    with told_plainly():
        place.check()
        store = OrderStore(place.state_path)
        try:
            yield place, Outbox(place, store)
        finally:
            store.close()
