"""The reader's own request lines, dealt out to two owners."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import numpy as np

from examples.demo.errors import DemoError
from examples.demo.files import blocks
from examples.demo.offer import DATASET, SEED, Offer
from examples.demo.settings import FEWEST_ROWS
from fedcore.plugin_api import Records, Text
from fedcore.plugin_api.split import held_out

SPLIT_SECRET: Final = bytes(32)
"""Deals the lines out to the two owners of a demonstration. It guards nothing."""


def own_lines(good: Path, bad: Path, rows: int | None, folders: tuple[Path, Path]) -> list[Offer]:
    """Deal the lines of two files out to the owners. `rows`: at most how many for each (`None`: all)."""
    dealt = {"benign": _dealt(good), "attack": _dealt(bad)}
    return [_own_offer(owner, dealt, rows, folder) for owner, folder in enumerate(folders)]


def _own_offer(owner: int, dealt: dict[str, list[list[bytes]]], rows: int | None, folder: Path) -> Offer:
    lines = {label: owners[owner] for label, owners in dealt.items()}
    total = sum(len(some) for some in lines.values())
    share = 1.0 if rows is None else min(1.0, rows / max(total, 1))
    shown: list[bytes] = []
    for label, some in lines.items():
        random.Random(SEED).shuffle(some)
        kept = some[: max(1, round(share * len(some)))]
        shown += kept[:250]
        (folder / f"{label}.txt").write_bytes(b"".join(line + b"\n" for line in kept))
    sample = folder / "today.txt"
    sample.write_bytes(b"".join(line + b"\n" for line in shown))
    return Offer(
        name=DATASET,
        title="Requests to a web server",
        description="Request lines from the files that were given, dealt out so that near-duplicates stay together.",
        reader="labelled_lines",
        reader_options={},
        files={f"{label}.txt": label for label in lines},
        rows=round(share * total),
        columns=("request",),
        sample=sample,
    )


def _dealt(source: Path) -> list[list[bytes]]:
    """The lines of a file, dealt out to two owners: lines that differ in digits or case only go to the same."""
    lines = [line.rstrip(b"\r") for line in b"".join(blocks(source)).split(b"\n")]
    lines = [line for line in lines if line.strip()]
    if len(lines) < FEWEST_ROWS:
        raise DemoError(
            f"{source} has {len(lines):,} lines, and the demonstration needs {FEWEST_ROWS:,} of each class.",
            "Give a longer file.",
        )
    second = held_out(Records({"line": Text.from_rows(lines)}), ("line",), SPLIT_SECRET, 0.5)
    return [[lines[place] for place in np.flatnonzero(second == owner)] for owner in (False, True)]
