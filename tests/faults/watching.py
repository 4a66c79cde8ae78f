"""What is there only for moments while runs go on: processes, keys of runs, artefacts at the coordinator."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_PAUSE: Final = 0.03
_KEY_BYTES: Final = 32


@dataclass
class Seen:
    """Arguments and variables of processes, and the keys of runs by their paths."""

    arguments: set[bytes] = field(default_factory=set)
    variables: set[bytes] = field(default_factory=set)
    keys: dict[Path, bytes] = field(default_factory=dict)

    def look_at_processes(self, root: Path) -> None:
        for folder in family(root):
            with suppress(OSError):
                self.arguments.add(folder.joinpath("cmdline").read_bytes())
                self.variables.add(folder.joinpath("environ").read_bytes())

    def look_at_keys(self, root: Path) -> None:
        for path in root.glob("*/home/runs/*/*.key"):
            with suppress(OSError):
                key = path.read_bytes()
                if path not in self.keys and len(key) == _KEY_BYTES:
                    self.keys[path] = key


def family(root: Path) -> list[Path]:
    """The processes whose HOME lies in `root`, and all that they have started, whatever those call their home."""
    parents, found = {}, set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state = folder.joinpath("stat").read_text(errors="replace")
            parents[int(folder.name)] = int(state.rpartition(")")[2].split()[1])
            variables = folder.joinpath("environ").read_bytes().split(b"\0")
            home = next((os.fsdecode(item[5:]) for item in variables if item.startswith(b"HOME=")), "")
            if home and Path(home).is_relative_to(root):
                found.add(int(folder.name))
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return [Path("/proc") / str(pid) for pid in found]


def keep(files: Path, kept: Path) -> None:
    """Keep each file of a folder, also when it is deleted, under another name."""
    for path in files.glob("*"):
        with suppress(OSError):
            os.link(path, kept / f"{path.stat().st_ino}-{path.name}")


@contextmanager
def watched(root: Path, artefacts: Path, kept: Path) -> Iterator[Seen]:
    """Look all the time inside the block. Artefacts of the coordinator are kept in `kept`."""
    seen, over = Seen(), threading.Event()
    kept.mkdir(exist_ok=True)

    def look() -> None:
        while not over.wait(_PAUSE):
            seen.look_at_processes(root)
            with suppress(FileNotFoundError):  # A folder went away while it was looked through.
                seen.look_at_keys(root)
            keep(artefacts, kept)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
        assert thread.is_alive(), "nobody has looked to the end"
    finally:
        over.set()
        thread.join()
