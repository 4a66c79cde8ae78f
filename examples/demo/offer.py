"""What an owner offers: the files of one dataset, and the rules of its own that it has in `owner.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

DATASET: Final = "access-log"
SEED: Final = 2021


@dataclass(frozen=True)
class Offer:
    """One dataset in an owner's directory: its files, with a label each where a file holds one class only.

    `columns` are what a model may look at; `sample` is a small log without labels, to be scored later. `rules` and
    `ceilings` are settings of `[datasets.NAME]` that differ from the demonstration's usual ones.
    """

    name: str
    title: str
    description: str
    reader: str
    reader_options: dict[str, Any]
    files: dict[str, str | None]
    rows: int
    columns: tuple[str, ...]
    sample: Path = field(compare=False)
    rules: Mapping[str, object] = field(default_factory=dict)
    ceilings: Mapping[str, object] = field(default_factory=dict)
