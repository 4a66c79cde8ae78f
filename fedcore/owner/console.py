"""How the commands of `fedcore-owner` speak to people: where they print, and how they end when something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedcore.broker import BrokerError
from fedcore.owner.config_problems import ConfigError
from fedcore.owner.held_grant import GrantError
from fedcore.owner.home import HomeError
from fedcore.owner.journal import JournalError
from fedcore.owner.ledger import LedgerError
from fedcore.plugin_api.registry import PluginError
from fedcore.wire.codes import EXPLANATIONS
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import KeyFileError

WIDTH = None if sys.stdout.isatty() else 400
"""Where nobody looks at a terminal, a line is for a file or a program and is never broken."""
out = Console(soft_wrap=True, highlight=False, width=WIDTH)
errors = Console(stderr=True, soft_wrap=True, highlight=False, width=WIDTH)

HomeOption = Annotated[
    Path, typer.Option("--home", envvar="FEDCORE_OWNER_HOME", help="The directory of this owner host.")
]


@contextmanager
def told_plainly() -> Iterator[None]:
    """End with status 1 and a text for people where something is wrong that they can set right."""
    try:
        yield
    except ConfigError as error:
        for problem in error.problems:
            errors.print(str(problem), markup=False)
        errors.print(
            f"{len(error.problems)} mistake(s) in owner.toml: nothing runs until they are corrected."
        )
        raise typer.Exit(1) from None
    except (
        HomeError,
        KeyFileError,
        JournalError,
        LedgerError,
        GrantError,
        PluginError,
        BrokerError,
    ) as error:
        errors.print(str(error), markup=False)
        raise typer.Exit(1) from None
    except WireError as error:
        errors.print(f"{EXPLANATIONS[error.code]} ({error.detail})", markup=False)
        raise typer.Exit(1) from None
