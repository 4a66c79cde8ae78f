"""Noticing what Python code tries, so that it is stopped and named at once: an audit hook (PEP 578).

The kernel is what holds a plugin; this only tells. Machine code gets around the hook and not around the kernel.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

_PUBLIC: Final = ("/usr", "/lib", "/lib64", "/bin", "/opt", "/etc", "/proc", "/sys", "/dev", "/run")
"""System folders that libraries look into for processors, fonts or time zones: what the kernel says there is enough."""

_FILES: Final = frozenset(
    {
        "open",
        "os.listdir",
        "os.scandir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.mkdir",
        "os.link",
        "os.symlink",
    }
    | {
        "os.truncate",
        "os.chmod",
        "os.chown",
        "os.utime",
        "os.setxattr",
        "os.walk",
        "glob.glob",
        "sqlite3.connect",
    }
)
_PROCESSES: Final = frozenset(
    {
        "subprocess.Popen",
        "os.system",
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "pty.spawn",
    }
)
_HARMLESS: Final = frozenset({"socket.gethostname"})


def watch(within: Sequence[str], stop: Callable[[str], NoReturn]) -> None:
    """From here on `stop` is called with what Python code tries: files that are not `within`, sockets, processes."""
    inside = tuple(path.rstrip("/") for path in (*within, *_PUBLIC))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FILES:
            path = arguments[0] if arguments else None
            if isinstance(path, str | bytes) and not _lies_in(os.fsdecode(path), inside):
                stop(f"tried {_word(event)} {os.path.abspath(os.fsdecode(path))[:300]}")
        elif event.startswith("socket.") and event not in _HARMLESS:
            stop(f"tried to use the network ({event})")
        elif event in _PROCESSES:
            stop(f"tried to start a process ({event})")

    sys.addaudithook(hook)


def _lies_in(path: str, folders: Sequence[str]) -> bool:
    full = os.path.abspath(path)
    return full == "/" or any(full == folder or full.startswith(f"{folder}/") for folder in folders)


def _word(event: str) -> str:
    return "to open" if event == "open" else f"{event} on"
