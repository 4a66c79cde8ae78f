"""A run's progress in a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from fedcore.client.session import Session
from fedcore.wire.text import one_line


def follow(session: Session, run: str, title: str, console: Console | None = None) -> dict[str, Any]:
    """Show a progress bar until the run has finished; returns the run. Raises `RunFailed`."""
    title = one_line(title)
    # Of all columns only the last may be broken: a run that waits says for whom, which can be long.
    columns = (
        TextColumn(
            *("{task.description}", "bold"),
            markup=False,
            table_column=Column(no_wrap=True, min_width=len(title)),
        ),
        BarColumn(bar_width=28, table_column=Column(no_wrap=True)),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[state]}", markup=False, table_column=Column(overflow="fold")),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(title, total=1.0, state="submitted")
        for event in session.events(run):
            progress.update(bar, completed=event.progress, state=one_line(event.text or event.state))
        found = session.wait(run)
        progress.update(bar, completed=1.0, state=one_line(found["state"]))
    return found
