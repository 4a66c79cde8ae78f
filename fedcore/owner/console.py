"""How the commands of `fedcore-owner` speak to people: where they print, and how they end when something is wrong.

A person decides by what stands here, and much of it was written by people elsewhere: reasons, titles, options. So
everything is printed by `say` and `add_row`, which show what would move the cursor, hide or reorder text, or begin a
line, as an escape sequence that can be read.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

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


_FURTHER: Final = 4
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks without a shape of their own, which Python takes for printable."""


def visible(text: str) -> str:
    """The text with every character that is no shape on the line, such as controls, as an escape sequence."""
    return "".join(
        letter if letter.isprintable() and not _INVISIBLE.match(letter) else _escaped(letter)
        for letter in text
    )


def say(text: str = "", indent: int = 0, to: Console = out) -> None:
    """Print one value as one line. At a terminal that is too narrow it goes on further to the right, so that nothing
    inside a value looks like a line of its own."""
    line = Text(visible(text))
    width = to.width - indent - _FURTHER
    parts = line.wrap(to, width) if to.is_terminal and width > _FURTHER else [line]
    for number, part in enumerate(parts):
        to.print(Text(" " * (indent + _FURTHER * bool(number))) + part)


def say_lines(text: str, to: Console = out) -> None:
    """Print a text that may have several lines, such as what a plugin failed with: all but the first are indented."""
    for number, line in enumerate(text.split("\n")):
        say(line, indent=2 * bool(number), to=to)


def marked(text: str) -> tuple[str, ...]:
    """The lines of a longer text by somebody else, each with a mark in front."""
    return tuple(f"  | {line}" for line in re.split("\r\n|\r|\n", text))


def table(*titles: str, show_header: bool = True) -> Table:
    """A table without lines, for `add_row`."""
    return Table(*titles, box=None, padding=(0, 2, 0, 0), show_header=show_header)


def show_table(found: Table) -> None:
    """Print a table that `add_row` has filled."""
    out.print(found)


def add_row(to: Table, *cells: str, style: str = "") -> None:
    """Add a row whose cells hold what `say` would print."""
    to.add_row(*(escape(visible(cell)) for cell in cells), style=style)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


@contextmanager
def told_plainly() -> Iterator[None]:
    """End with status 1 and a text for people where something is wrong that they can set right."""
    try:
        yield
    except ConfigError as error:
        for problem in error.problems:
            say(str(problem), to=errors)
        say(
            f"{len(error.problems)} mistake(s) in owner.toml: nothing runs until they are corrected.",
            to=errors,
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
        say_lines(str(error), to=errors)
        raise typer.Exit(1) from None
    except WireError as error:
        say_lines(f"{EXPLANATIONS[error.code]} ({error.detail})", to=errors)
        raise typer.Exit(1) from None
