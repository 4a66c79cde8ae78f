"""A run's progress in a terminal."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from fedcore.client.progress import follow
from fedcore.client.session import Event

LONG = "Waiting for the owners' hosts. access-log: north-hospital has not taken the grant yet."


class Waiting:
    """A session whose run says something long, and then finishes."""

    def events(self, run: str) -> Iterator[Event]:
        yield Event(1, "2026-01-01T00:00:00Z", "awaiting_grants", LONG, 0.0)
        time.sleep(0.4)

    def wait(self, run: str) -> dict[str, Any]:
        return {"state": "finished"}


def test_a_long_text_is_broken_and_leaves_the_other_columns_whole() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    assert follow(Waiting(), "12", "Sam's one run", console) == {"state": "finished"}  # type: ignore[arg-type]
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    frames = [line for line in lines if "Waiting" in line]
    assert frames
    assert all("Sam's one run  " in frame and "0% 0:00:0" in frame for frame in frames)
    assert any("taken the grant yet." in line for line in lines)
