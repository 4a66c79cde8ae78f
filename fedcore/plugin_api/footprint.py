"""What a distribution has installed: the digest of all of it, and what of it lies outside of its own packages.

Installing a package runs as whoever installs it, and its files may be anywhere: what is checked here tells an owner
that a package does more than bring plugins. It does not undo what has been done.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackagePath, packages_distributions
from pathlib import Path
from typing import Final

ENTRY_POINT_GROUP: Final = "fedcore.plugins"

_CACHE: Final = re.compile(r"[^.]+\..+\.pyc")
"""The names in `__pycache__` of what the interpreter compiles. A confined process has a cache of its own and loads none
of these, and none is a module's name; anything else there could be loaded, and counts."""

_EVERYWHERE: Final = frozenset({"sitecustomize", "usercustomize"})
_OURS: Final = frozenset({"fedcore", "plugins", "project"})


def distribution_digest(distribution: Distribution) -> str:
    """SHA-256 over names and contents of all files of a distribution's packages, in sorted order, and its entry points.

    It is the same however the distribution was installed: for an editable installation its packages are read where
    they lie.
    """
    files: dict[str, Path] = {}
    for name in packages_of(distribution):
        spec = importlib.util.find_spec(name)
        folders = [] if spec is None else list(spec.submodule_search_locations or [])
        if spec is not None and spec.origin is not None and not folders:
            files[Path(spec.origin).name] = Path(spec.origin)
        for folder in map(Path, folders):
            files |= {f"{folder.name}/{name}": file for name, file in _below(folder)}
    for file in distribution.files or []:
        found = Path(str(file.locate()))
        if _counts(file) and found.is_file():
            files.setdefault(str(file), found)
    points = distribution.read_text("entry_points.txt") or ""
    return _digest_of(files, points.encode())


def packages_of(distribution: Distribution) -> list[str]:
    """The top-level packages and modules of a distribution."""
    listed = (distribution.read_text("top_level.txt") or "").split()
    points = [point.module for point in distribution.entry_points if point.group == ENTRY_POINT_GROUP]
    files = [file.parts[0] for file in distribution.files or [] if _is_code(file.name)]
    names = {name.split(".")[0] for name in (*listed, *points, *files)}
    return sorted(name for name in names if name.isidentifier() and not name.startswith("__"))


def trespasses(distribution: Distribution, pinned: bool) -> Iterator[str]:
    """What of a distribution reaches further than its own packages, in words: nothing of it can be confined.

    An editable installation puts a file of its own where every program runs it: that is let pass unless it is `pinned`.
    """
    if distribution.files is None:
        yield "has no list of its files"
        return
    others = packages_distributions()
    own, name = packages_of(distribution), _normal(distribution.name)
    for package in own:
        if package in _EVERYWHERE:
            yield f"has {package}, which every program of this environment runs"
        elif package in sys.stdlib_module_names or package in _OURS:
            yield f"has files in {package}, which is not its own"
        elif theirs := sorted({_normal(other) for other in others.get(package, []) if other} - {name}):
            yield f"has files in {package}, which {', '.join(theirs)} has too"
    for file in distribution.files:
        if not pinned and file.parts[0].startswith("__editable__"):
            continue
        if file.suffix == ".pth":
            yield f"has {file}, which every program of this environment runs"
        elif not _is_own(file, own, name):
            yield f"has {file} outside of its own packages"


def folder_digest(source: Path, alone: bool) -> str:
    """SHA-256 over the Python files in the folder of `source`, or over it `alone`."""
    files = [source] if alone else sorted(source.parent.rglob("*.py"))
    return _digest_of({str(file.relative_to(source.parent)): file for file in files})


def _is_own(file: PackagePath, packages: list[str], name: str) -> bool:
    first, *others = file.parts
    if first.endswith((".dist-info", ".egg-info")):
        return _normal(first.rpartition(".")[0].split("-")[0]) == name
    if first == "__pycache__":
        return file.name.split(".")[0] in packages
    return ".." not in file.parts and (first if others else first.split(".")[0]) in packages


def _counts(file: PackagePath) -> bool:
    """Whether a listed file is digested: its description is another after every installation."""
    first = file.parts[0]
    return (
        not first.endswith((".dist-info", ".egg-info", ".."))
        and not first.startswith("__editable__")
        and not (file.parent.name == "__pycache__" and _CACHE.fullmatch(file.name))
    )


def _below(folder: Path) -> Iterator[tuple[str, Path]]:
    """All files in a package's folder, also behind links, by their names below it."""
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in files:
            file = Path(place, name)
            if not (file.parent.name == "__pycache__" and _CACHE.fullmatch(name)) and file.is_file():
                yield str(file.relative_to(folder)), file


def _is_code(name: str) -> bool:
    return name.endswith((".py", ".pyc", ".so", ".pyd"))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _digest_of(files: Mapping[str, Path], more: bytes | None = None) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name].read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    if more is not None:
        digest.update(f"entry points\0{len(more)}\0".encode() + more)
    return digest.hexdigest()
