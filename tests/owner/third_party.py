"""Throw-away distributions of a third party: a folder with a package, as an installer leaves it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedcore.owner.confined.calling import LAUNCHER

STEP = '''
from fedcore.plugin_api import Options, PreprocessingStep, Text, ValueKind, hookimpl


class Step(PreprocessingStep[Options]):
    """A step like any third party's, that does something besides."""

    name = "{step}"
    version = "1"
    summary = "Rows as they are."
    takes = ValueKind.TEXT
    gives = ValueKind.TEXT

    def apply(self, value):
        {attack}
        return value


@hookimpl
def fedcore_preprocessing_steps():
    return [Step]
'''


def install(folder: Path, name: str, source: str, version: str = "1.0") -> str:
    """Install a distribution of one package into a folder, and return its name."""
    package = name.replace("-", "_")
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(source)
    described = folder / f"{package}-{version}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (described / "entry_points.txt").write_text(f"[fedcore.plugins]\n{package} = {package}\n")
    (described / "top_level.txt").write_text(f"{package}\n")
    (described / "RECORD").write_text(f"{package}/__init__.py,,\n")
    return name


def step(name: str, *attack: str) -> str:
    """The source of a package with one step, which carries out these lines on every block."""
    return STEP.format(step=name, attack="\n        ".join(attack))


@contextmanager
def installations(folder: Path) -> Iterator[Path]:
    """A folder that the interpreter, and a launcher of confined processes, look for distributions in."""
    LAUNCHER.stop()
    folder.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(folder))
    try:
        yield folder
    finally:
        sys.path.remove(str(folder))
        LAUNCHER.stop()
