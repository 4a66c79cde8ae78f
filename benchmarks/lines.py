"""The request lines that benchmarks run on: real ones where they are, else lines that the generator makes."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedcore.plugin_api import SourceFile
from plugins.readers.apache.generator import generate

REAL: Final = Path(
    os.environ.get("FEDCORE_REAL_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
)
"""The folder with the real lines; the environment variable `FEDCORE_REAL_DATA` names another."""
_NAMES: Final = {"benign": "goodqueries.txt", "attack": "badqueries.txt"}
_MADE_ROWS: Final = 125_000


@dataclass(frozen=True)
class RequestFiles:
    """Files of one request per line and class; `source` says where the lines are from."""

    files: tuple[SourceFile, ...]
    source: str
    real: bool

    def rows(self) -> list[bytes]:
        """All lines that are not empty."""
        lines = [line for file in self.files for line in file.path.read_bytes().split(b"\n")]
        return [line.removesuffix(b"\r") for line in lines if line]


def has_real_lines() -> bool:
    """Whether the real lines are there."""
    return all(path.exists() for path in _real().values())


@contextmanager
def request_files(made: bool = False) -> Iterator[RequestFiles]:
    """Files with request lines, benign and attack, for as long as the context lasts; `made` ones even if there are
    real ones."""
    with tempfile.TemporaryDirectory(prefix="fedcore-bench-") as folder:
        if not made and has_real_lines():
            contents = {label: gzip.decompress(path.read_bytes()) for label, path in _real().items()}
            source, found = "real lines", True
        else:
            contents, found = _made(), False
            source = "made lines" if made else f"made lines ({REAL} has no real ones)"
        yield RequestFiles(tuple(_written(Path(folder), contents)), source, found)


def _real() -> dict[str, Path]:
    return {label: REAL / f"{name}.gz" for label, name in _NAMES.items()}


def _written(folder: Path, contents: dict[str, bytes]) -> Iterator[SourceFile]:
    for label, content in contents.items():
        path = folder / _NAMES[label]
        path.write_bytes(content)
        yield SourceFile(path, label)


def _made() -> dict[str, bytes]:
    targets: dict[str, list[str]] = {"benign": [], "attack": []}
    for line in generate(_MADE_ROWS, seed=1, attack_share=0.28):
        label = "benign" if line.endswith(' "-"') else "attack"
        targets[label].append(line.split('"', 2)[1].split(" ")[1])
    return {label: "\n".join(lines).encode() + b"\n" for label, lines in targets.items()}
