"""`python -m examples.demo`: see the package's own text. Settings: ONCE, GOOD, BAD, LOG, FEDCORE_DEMO_ROWS."""

from __future__ import annotations

import os
import signal
import sys
import time

from rich.console import Console
from rich.markup import escape

from examples.demo.errors import DemoError
from examples.demo.settings import Settings
from examples.demo.story import tell


def main() -> int:
    console = Console(highlight=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    begun = time.monotonic()
    try:
        tell(Settings.from_environment(os.environ), console, begun)
    except DemoError as error:
        if error.log:
            console.print(error.log, style="dim", markup=False)
        told = escape(f"{error.problem}\n{error.remedy}")
        console.print(f"[bold red]The demonstration failed:[/] {told}")
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 130
    return 0


def _end(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
