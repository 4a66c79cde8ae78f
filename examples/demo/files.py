"""Files that the reader gives, packed with gzip or not."""

from __future__ import annotations

import gzip
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

from examples.demo.errors import DemoError


def blocks(source: Path) -> Generator[bytes, None, None]:
    """A file's bytes, unpacked. Raises `DemoError` for one that is damaged."""
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


def unpacked(source: Path, target: Path) -> Path:
    """Copy a file, unpacking gzip. Raises `DemoError` for a damaged one."""
    with target.open("wb") as file:
        for block in blocks(source):
            file.write(block)
    return target


def is_combined(log: Path) -> bool:
    """Whether most of a log's first lines end in a quoted field, as in combined log format; else it is common."""
    with closing(blocks(log)) as found:
        lines = [line.rstrip() for line in next(found, b"").splitlines()[:1000] if line.strip()]
    if not lines:
        raise DemoError(f"{log} has no lines.", "Give a log with requests in it.")
    return 2 * sum(line.endswith(b'"') for line in lines) > len(lines)
