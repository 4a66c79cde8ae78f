"""What the commands share: the terminal, the session of this account, and errors in one line.

Everything that comes from the coordinator goes through `shown` before it is printed: other people wrote it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fedcore.client.errors import FedcoreError
from fedcore.client.session import HOME_VARIABLE, Session
from fedcore.wire.text import one_line

console = Console()
errors = Console(stderr=True)


def shown(text: object) -> str:
    """Text of others for the terminal: in one line, without control characters, and nothing in it is markup."""
    return escape(one_line(text))


def add_row(table: Table, *cells: object) -> None:
    """Add a row of texts of others."""
    table.add_row(*(shown(cell) for cell in cells))


def open_session(url: str | None = None) -> Session:
    """The session of this account, from `$FEDCORE_CLIENT_HOME` where it is set."""
    home = os.environ.get(HOME_VARIABLE)
    return Session.open(url, Path(home) if home else None)


def told_in_one_line(function: Callable[..., None]) -> Callable[..., None]:
    """The same function, whose errors are one line for a person, and exit status 1."""

    @wraps(function)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            function(*arguments, **options)
        except (FedcoreError, ValueError, OSError) as error:
            lines = "\n".join(_indented(line) for line in str(error).split("\n"))
            errors.print(f"[bold red]Error:[/] {lines}", highlight=False)
            raise typer.Exit(1) from None

    return run


def _indented(line: str) -> str:
    return "  " * line.startswith("  ") + shown(line)
