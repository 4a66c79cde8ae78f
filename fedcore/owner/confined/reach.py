"""Which files a confined process can reach: Python and its libraries, and what it was given by name."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

SYSTEM_LIBRARIES: Final = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/usr/share/zoneinfo",
)
SYSTEM_FILES: Final = ("/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom")
SYSTEM_FACTS: Final = ("/proc", "/sys/devices/system/cpu", "/sys/fs/cgroup", "/dev", "/etc")
"""What libraries of the host's own code like to read: processors, time zones, limits."""


def python_paths() -> list[Path]:
    """Where the interpreter and everything that is installed for it lies; never the folder that it was started in."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    found = [sysconfig.get_path(name) for name in names]
    found += [os.path.join(prefix, "lib") for prefix in (sys.prefix, sys.base_prefix)]
    found += [entry for entry in sys.path if entry and _is_installation(entry)]
    found += package_folders(("fedcore", "plugins"))
    return [Path(path) for path in dict.fromkeys(found) if os.path.exists(path)]


@lru_cache(maxsize=4)
def host_code(home: Path) -> tuple[Path, ...]:
    """What the host's own code reads: Python, all that it may import, and facts of the system; nothing of `home`."""
    imported = [Path(entry or os.getcwd()) for entry in sys.path]
    system = [Path(path) for path in (*SYSTEM_LIBRARIES, *SYSTEM_FACTS)]
    return (*system, *sparing([*python_paths(), *imported], home))


def package_folders(names: Iterable[str]) -> list[str]:
    """The folders, or single files, of these top-level packages. Those that are not installed are left out."""
    importlib.invalidate_caches()  # A package may have been installed since this process started.
    found: list[str] = []
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            found += list(spec.submodule_search_locations)
        elif spec is not None and spec.origin is not None and os.path.exists(spec.origin):
            found.append(spec.origin)
    return found


def sparing(paths: Iterable[Path], hidden: Path) -> list[Path]:
    """The same paths, but without anything of `hidden`: a folder that holds it is replaced by what else it holds."""
    return [kept for path in paths for kept in _without(Path(os.path.realpath(path)), hidden)]


def _without(path: Path, hidden: Path) -> Iterator[Path]:
    real = Path(os.path.realpath(hidden))
    if path == real or path.is_relative_to(real):
        return
    if not real.is_relative_to(path):
        yield path
        return
    for entry in sorted(path.iterdir()):
        yield from _without(entry, hidden)


def _is_installation(entry: str) -> bool:
    try:
        with os.scandir(entry) as found:
            return any(inside.name.endswith((".dist-info", ".egg-info")) for inside in found)
    except OSError:
        return False
