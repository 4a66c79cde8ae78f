"""What the demonstration is asked to do, from environment variables (`make demo ONCE=1` sets one)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from examples.demo.errors import DemoError

ROOT: Final = Path(__file__).resolve().parents[2]
DIRECTORY: Final = ROOT / "var" / "demo"
ROWS: Final = 20_000
FEWEST_ROWS: Final = 2_000


@dataclass(frozen=True)
class Settings:
    """`rows`: at most how many rows for each owner (`None`: all lines of the given files).

    `once`: stop when the runs are done, with a status. `good`, `bad`: one's own benign and malicious request
    lines. `log`: one's own access log without labels, to be scored with the trained model. `directory`: where
    everything is made; it is emptied first.
    """

    once: bool
    good: Path | None
    bad: Path | None
    log: Path | None
    rows: int | None
    directory: Path = DIRECTORY

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read `ONCE`, `GOOD`, `BAD`, `LOG`, `FEDCORE_DEMO_ROWS` and `FEDCORE_DEMO_DIR`. Raises `DemoError`."""
        good, bad, log = (_file(environment, name) for name in ("GOOD", "BAD", "LOG"))
        if (good is None) != (bad is None):
            missing = "BAD" if bad is None else "GOOD"
            raise DemoError(
                f"Training needs both classes, and {missing} is missing.",
                "Give GOOD=benign.txt and BAD=attacks.txt, one request in each line.",
            )
        if good is not None and log is not None:
            raise DemoError(
                "LOG is scored with a model of generated logs, GOOD and BAD train one of your own request lines.",
                "Give GOOD and BAD, or LOG.",
            )
        rows = _rows(environment.get("FEDCORE_DEMO_ROWS", ""))
        if rows is None and good is None:
            rows = ROWS
        directory = Path(environment.get("FEDCORE_DEMO_DIR") or DIRECTORY).absolute()
        return cls(environment.get("ONCE", "") not in ("", "0"), good, bad, log, rows, directory)


def _file(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name, "")
    if not text:
        return None
    path = Path(text).expanduser().resolve()
    if not path.is_file():
        raise DemoError(f"{name}={text}: there is no such file.", f"Correct the path in {name}.")
    return path


def _rows(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or int(text) < FEWEST_ROWS:
        raise DemoError(
            f"FEDCORE_DEMO_ROWS={text} is not a number of rows from {FEWEST_ROWS:,}.",
            f"Leave it out for {ROWS:,} rows for each owner.",
        )
    return int(text)
