"""The owners' data: generated logs whose traffic differs from owner to owner, or the reader's own lines."""

from __future__ import annotations

import gzip
import random
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from examples.demo.errors import DemoError
from examples.demo.settings import FEWEST_ROWS, Settings
from fedcore.plugin_api import Records, Text
from fedcore.plugin_api.split import held_out
from plugins.readers.apache.generator import generate

SEED: Final = 2021
ATTACK_SHARE: Final = 0.04
SPLIT_SECRET: Final = bytes(32)
"""Deals the lines out to the two owners of a demonstration. It guards nothing."""


@dataclass(frozen=True)
class Traffic:
    """The made-up traffic of one owner."""

    site: str
    seed: int
    kinds: dict[str, float]


TRAFFIC: Final = (
    Traffic(
        "hospital", SEED, {"sqli": 0.5, "xss": 0.1, "traversal": 0.2, "cmdi": 0.15, "domain_abuse": 0.05}
    ),
    Traffic("bank", SEED + 1, {"sqli": 0.15, "xss": 0.4, "traversal": 0.1, "rfi": 0.2, "domain_abuse": 0.15}),
)


@dataclass(frozen=True)
class Offer:
    """One dataset in an owner's directory: its files, with a label each where a file holds one class only.

    `columns` are what a model may look at; `sample` is a small log without labels, to be scored later.
    """

    title: str
    description: str
    reader: str
    reader_options: dict[str, Any]
    files: dict[str, str | None]
    rows: int
    columns: tuple[str, ...]
    sample: Path = field(compare=False)


def make_offers(settings: Settings, folders: tuple[Path, Path]) -> list[Offer]:
    """Write each owner's data to its folder."""
    if settings.good is not None and settings.bad is not None:
        return _own_lines(settings.good, settings.bad, settings.rows, folders)
    rows = settings.rows or FEWEST_ROWS
    combined = settings.log is None or is_combined(settings.log)
    return [
        _generated(traffic, rows, folder, combined) for traffic, folder in zip(TRAFFIC, folders, strict=True)
    ]


def is_combined(log: Path) -> bool:
    """Whether most of a log's first lines end in a quoted field, as in combined log format; else it is common."""
    with closing(_blocks(log)) as blocks:
        lines = [line.rstrip() for line in next(blocks, b"").splitlines()[:1000] if line.strip()]
    if not lines:
        raise DemoError(f"{log} has no lines.", "Give a log with requests in it.")
    return 2 * sum(line.endswith(b'"') for line in lines) > len(lines)


def unpacked(source: Path, target: Path) -> Path:
    """Copy a file, unpacking gzip. Raises `DemoError` for a damaged one."""
    with target.open("wb") as file:
        for block in _blocks(source):
            file.write(block)
    return target


def _generated(traffic: Traffic, rows: int, folder: Path, combined: bool) -> Offer:
    form = "combined" if combined else "common"
    log, sample = folder / "access.log", folder / "today.log"
    lines = generate(rows, traffic.seed, attack_share=ATTACK_SHARE, kinds=traffic.kinds, site=traffic.site)
    log.write_text("".join(f"{_in_form(line, combined)}\n" for line in lines))
    today = generate(500, traffic.seed + 100, attack_share=0.1, kinds=traffic.kinds, site=traffic.site)
    sample.write_text("".join(_in_form(line, combined).rsplit(' "', 1)[0] + "\n" for line in today))
    return Offer(
        title=f"Access log of the {traffic.site}'s web server",
        description=f"{rows:,} requests in {form} log format, generated, with labels.",
        reader=f"apache_{form}",
        reader_options={"labels": True, "skip_malformed": True},
        files={log.name: None},
        rows=rows,
        columns=("method", "target", "status", *(("agent",) if combined else ())),
        sample=sample,
    )


def _in_form(line: str, combined: bool) -> str:
    """A generated line as it is, or in common log format: without referrer and agent."""
    if combined:
        return line
    before, request, after, _referrer, _, _agent, _, label, _ = line.split('"')
    return f'{before}"{request}"{after}"{label}"'


def _own_lines(good: Path, bad: Path, rows: int | None, folders: tuple[Path, Path]) -> list[Offer]:
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
    lines = [line.rstrip(b"\r") for line in b"".join(_blocks(source)).split(b"\n")]
    lines = [line for line in lines if line.strip()]
    if len(lines) < FEWEST_ROWS:
        raise DemoError(
            f"{source} has {len(lines):,} lines, and the demonstration needs {FEWEST_ROWS:,} of each class.",
            "Give a longer file.",
        )
    second = held_out(Records({"line": Text.from_rows(lines)}), ("line",), SPLIT_SECRET, 0.5)
    return [[lines[place] for place in np.flatnonzero(second == owner)] for owner in (False, True)]


def _blocks(source: Path) -> Generator[bytes, None, None]:
    with source.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(source) if packed else source.open("rb") as stream:
            while block := stream.read(1 << 20):
                yield block
    except (OSError, EOFError) as error:
        raise DemoError(
            f"{source} cannot be read: {error}.", "Check the file, or unpack it yourself."
        ) from None
