"""What the commands share: the terminal, the session of this account, and errors in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from fedcore.client.errors import FedcoreError
from fedcore.client.session import HOME_VARIABLE, Session

console = Console()
errors = Console(stderr=True)


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
            errors.print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False)
            raise typer.Exit(1) from None

    return run
