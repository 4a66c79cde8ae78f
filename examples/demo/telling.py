"""How the demonstration speaks: who did what, and what the system answered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

NAME_WIDTH: Final = 16
INDENT: Final = 4
WIDEST: Final = 100
"""Longer lines are hard to read, however wide the terminal is."""
_DIGEST: Final = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


@dataclass(frozen=True)
class Teller:
    """Prints the story: the name of whoever acts, and beside it what happened."""

    console: Console

    @property
    def width(self) -> int:
        return min(self.console.width, WIDEST)

    def heading(self, text: str) -> None:
        self.console.print(f"\n[bold]{text}[/]")

    def does(self, who: str, text: str) -> None:
        """Somebody does something."""
        self._row(who, Text(text))

    def answers(self, text: str, style: str = "green") -> None:
        """What the system says to it."""
        self._row("", Text(f"→ {text}", style=style))

    def refuses(self, error: object) -> None:
        """An error, exactly as the program has it."""
        self.answers(str(error), "red")

    def points_to(self, place: object) -> None:
        """An address or a path, on a line that is never broken, so that it can be clicked and copied."""
        self.console.print(f"{' ' * INDENT}{place}", markup=False, soft_wrap=True)

    def types(self, who: str, command: str) -> None:
        """Somebody types a command."""
        self._row(who, Text(f"$ {command}", style="bold"))

    def prints(self, output: Iterable[str], cut: bool = False) -> None:
        """What a command prints. With `cut` no line is broken: what is too long is left out."""
        for line in output:
            shown = Text(line, no_wrap=cut, overflow="ellipsis" if cut else "fold")
            self.console.print(Padding(shown, (0, 0, 0, INDENT)))

    def _row(self, who: str, what: RenderableType) -> None:
        row = Table.grid(padding=(0, 2))
        row.add_column(width=NAME_WIDTH, no_wrap=True, style="cyan")
        row.add_column(width=self.width - NAME_WIDTH - 2, overflow="fold")
        row.add_row(f"  {who}", what)
        self.console.print(row)


def shortened(text: str) -> str:
    """A text with digests cut to the digits that people compare."""
    return _DIGEST.sub(r"\1…", text)
