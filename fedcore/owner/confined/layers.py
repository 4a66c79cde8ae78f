"""The confinement, layer by layer. Each layer alone stops some attack; together they leave hardly anything to try.

A third-party plugin runs behind all of them. What each takes away stands beside it; `LAYERS` is the whole list, and
deleting one lets a named attack of `tests/owner/confined/test_layers.py` through.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from fedcore.owner.confined import kernel, system_calls
from fedcore.owner.confined.watch import watch

SCRATCH: Final = "/scratch"
"""The only folder that a confined process can write to: in memory, its own, and gone with it."""

_SCRATCH_MIB: Final = 64
_SCRATCH_FILES: Final = 4096
_OPEN_FILES: Final = 256
_THREADS: Final = 64
_ROOT: Final = "/proc"
"""Where the new root is put together. Nothing of the machine's own /proc is wanted inside."""


@dataclass(frozen=True)
class Confinement:
    """What one confined process keeps: files to read, bytes of address space, seconds of CPU.

    `stop` ends the process with a reason.
    """

    readable: tuple[Path, ...]
    memory: int
    seconds: int
    stop: Callable[[str], NoReturn]


def own_namespaces(confinement: Confinement) -> None:
    """No network, no other process, no shared memory, no privilege outside: all of these are the process's own."""
    uid, gid = os.getuid(), os.getgid()
    flags = kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET
    kernel.unshare(flags | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS, "namespaces of its own")
    kernel.be_mapped(uid, gid)
    socket.sethostname("confined")


def own_root(confinement: Confinement) -> None:
    """Nothing is there but Python, its libraries and the files that were given; nothing of it can be changed."""
    if not kernel.has_own_mounts():
        raise kernel.NotGiven(0, "a root directory of its own")
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("root", _ROOT, "tmpfs", kernel.MS_NOSUID, "mode=0755,size=1m")
    for path in sorted(confinement.readable, key=lambda path: len(path.parts)):
        _show(path)
    os.mkdir(_ROOT + SCRATCH)
    kernel.make_read_only(_ROOT)
    quiet = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount(
        "scratch",
        _ROOT + SCRATCH,
        "tmpfs",
        quiet,
        f"mode=0700,size={_SCRATCH_MIB}m,nr_inodes={_SCRATCH_FILES}",
    )
    kernel.make_root(_ROOT)


def limits(confinement: Confinement) -> None:
    """Memory, CPU, open files, threads and file sizes have an end.

    Beside the memory there are the folder that it can write to and what fits into its pipes: each has an end of 64 MiB,
    by the folder's size and by what Linux lets one user hold in pipes.
    """
    for what, amount in (
        (resource.RLIMIT_AS, confinement.memory),
        (resource.RLIMIT_CPU, confinement.seconds + 5),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, _THREADS),
        (resource.RLIMIT_FSIZE, _SCRATCH_MIB * 1024 * 1024),
        (resource.RLIMIT_CORE, 0),
    ):
        kernel.limit(what, amount)


def no_privileges(confinement: Confinement) -> None:
    """Not even within its namespaces may it do what an administrator may, such as mount something."""
    kernel.drop_capabilities()
    kernel.gain_nothing()


def named_files_only(confinement: Confinement) -> None:
    """Landlock: files that were not given cannot be opened, whatever is mounted; no TCP; no signal to the outside."""
    kernel.reach_only(confinement.readable, [Path(SCRATCH), Path(os.devnull)])


def python_is_watched(confinement: Confinement) -> None:
    """What Python code tries to open, connect to or start is told, and ends it."""
    watch([*map(str, confinement.readable), SCRATCH], confinement.stop)


def few_system_calls(confinement: Confinement) -> None:
    """The kernel kills it if it opens a socket, starts a process, looks into another one, or reaches for the kernel."""
    kernel.gain_nothing()
    system_calls.refuse_to_plugins()


Layer = Callable[[Confinement], None]

BEFORE_FORKING: Final[tuple[Layer, ...]] = (own_namespaces, own_root)
"""The supervisor enters these, and then forks the process that the plugin runs in."""

INSIDE: Final[tuple[Layer, ...]] = (
    limits,
    no_privileges,
    named_files_only,
    python_is_watched,
    few_system_calls,
)
"""The plugin's process enters these itself, before any of the plugin's code is loaded."""

LAYERS: Final[tuple[Layer, ...]] = BEFORE_FORKING + INSIDE
NAMES: Final = frozenset(layer.__name__ for layer in LAYERS)


def _show(path: Path) -> None:
    """Make one file or folder of the machine appear in the new root, under all names that lead to it."""
    place = _linked(path)
    source = os.path.realpath(path)
    if os.path.lexists(place):
        return
    if os.path.isdir(source):
        os.makedirs(place)
    else:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT, 0o600))
    kernel.mount(source, place, flags=kernel.MS_BIND | kernel.MS_REC)


def _linked(path: Path) -> str:
    """Where `path` lies in the new root; symbolic links on the way are made there too."""
    walked, left = "/", list(Path(path).parts[1:])
    for _ in range(64):
        if not left:
            break
        walked = os.path.join(walked, left.pop(0))
        if os.path.islink(walked):
            target = os.readlink(walked)
            os.makedirs(os.path.dirname(_ROOT + walked), exist_ok=True)
            if not os.path.lexists(_ROOT + walked):
                os.symlink(target, _ROOT + walked)
            resolved = os.path.normpath(os.path.join(os.path.dirname(walked), target))
            walked, left = "/", [*Path(resolved).parts[1:], *left]
    return _ROOT + walked
