"""What the Linux kernel offers to take rights away from a process for good, by ctypes: no privileges are needed.

Every function here acts on the calling process and cannot be undone. `NotGiven` says that the kernel, or whoever
set this machine up, does not give the means.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
_MNT_DETACH: Final = 0x2
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_MOUNT_ATTR_RDONLY: Final = 0x1
_MOUNT_ATTR_NOSUID: Final = 0x2
_PR_CAPBSET_DROP: Final = 24
_PR_SET_DUMPABLE: Final = 4
PR_SET_NO_NEW_PRIVS: Final = 38
_LAST_CAPABILITY: Final = 63
_CAPABILITY_VERSION: Final = 0x20080522
_LANDLOCK_CREATE_RULESET_VERSION: Final = 1
_LANDLOCK_RULE_PATH_BENEATH: Final = 1
_CALLS: Final = {
    "x86_64": {"pivot_root": 155, "capset": 126},
    "aarch64": {"pivot_root": 41, "capset": 91},
}
_MOUNT_SETATTR: Final = 442
_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_ADD_RULE: Final = 445
_LANDLOCK_RESTRICT_SELF: Final = 446

READ: Final = 0x1 | 0x4 | 0x8
"""Landlock's rights to execute, to read a file and to list a directory."""
_WRITES_BY_VERSION: Final = ((1, 0x1FFF & ~READ), (2, 0x2000), (3, 0x4000), (5, 0x8000))
_ON_A_FILE: Final = 0x1 | 0x2 | 0x4 | 0x4000 | 0x8000
_NETWORK: Final = 0x3
_SCOPES: Final = 0x3
_NETWORK_SINCE: Final = 4
_SCOPES_SINCE: Final = 6

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class NotGiven(OSError):
    """The kernel does not give a means of confinement. The text names it."""


def limit(what: int, amount: int, most: int | None = None) -> None:
    """Limit a resource of this process (`RLIMIT_…`) to `amount`, softly where `most` is more; it never rises."""
    hard = resource.getrlimit(what)[1]
    wanted = (amount, amount if most is None else most)
    if hard != resource.RLIM_INFINITY:
        wanted = (min(wanted[0], hard), min(wanted[1], hard))
    resource.setrlimit(what, wanted)


def address_space() -> int:
    """Bytes of address space that this process has already, such as for libraries; 0 where nothing says it."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[0]) * resource.getpagesize() if statm.exists() else 0


def unshare(flags: int, what: str) -> None:
    """Leave namespaces that are shared with the rest of the machine. Raises `NotGiven`."""
    _checked(_libc.unshare(flags), what)


def be_mapped(uid: int, gid: int) -> None:
    """In a new user namespace: be the same user inside as outside. Raises `NotGiven`."""
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    except OSError as error:
        raise NotGiven(error.errno, "a user namespace of its own") from None


def has_own_mounts() -> bool:
    """Whether this process has mounts of its own, so that what it mounts changes nothing for its parent."""
    try:
        theirs = os.stat(f"/proc/{os.getppid()}/ns/mnt").st_ino
    except PermissionError:
        return True  # The kernel lets no process look there that has left the parent's user namespace.
    except FileNotFoundError:
        return False
    return os.stat("/proc/self/ns/mnt").st_ino != theirs


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount a file system, or a part of one. Raises `NotGiven`."""
    arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())
    _checked(_libc.mount(*arguments), f"a mount at {target}")


def make_read_only(path: str) -> None:
    """Make everything that is mounted at and below `path` read-only, and its set-user-id files harmless."""
    attributes = struct.pack("=QQQQ", _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID, 0, 0, 0)
    where = (ctypes.c_int(_AT_FDCWD), path.encode(), ctypes.c_uint(_AT_RECURSIVE))
    _call(_MOUNT_SETATTR, *where, attributes, ctypes.c_size_t(len(attributes)), what="read-only mounts")


def make_root(path: str) -> None:
    """Make the mounted `path` the root directory; the former one is out of reach from here on."""
    os.chdir(path)
    _call(_numbers()["pivot_root"], b".", b".", what="a root directory of its own")
    _checked(_libc.umount2(b".", _MNT_DETACH), "a root directory of its own")
    os.chdir("/")


def drop_capabilities() -> None:
    """Give up every privilege that a user namespace, or root, has."""
    for capability in range(_LAST_CAPABILITY + 1):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header, nothing = struct.pack("=Ii", _CAPABILITY_VERSION, 0), bytes(24)
    _call(_numbers()["capset"], header, nothing, what="a process without capabilities")


def gain_nothing() -> None:
    """From here on no program that is started gains a privilege, and other processes cannot look in."""
    _checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "a process that gains no privileges")
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def landlock_version() -> int:
    """The version of Landlock that the kernel has; 0 where it has none, or it is switched off."""
    found = _libc.syscall(
        _LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_CREATE_RULESET_VERSION
    )
    return max(0, int(found))


def reach_only(readable: Iterable[Path], writable: Iterable[Path] = (), network: bool = False) -> None:
    """From here on open only what lies at or below these paths; those that do not exist are passed over.

    Without `network` no TCP port can be used either, and no process outside can be sent a signal, as far as the
    kernel's version of Landlock goes. Raises `NotGiven` where it has none.
    """
    version = landlock_version()
    if version < 1:
        raise NotGiven(0, "Landlock")
    writes = sum(bits for since, bits in _WRITES_BY_VERSION if version >= since)
    handled_network = 0 if network or version < _NETWORK_SINCE else _NETWORK
    scopes = _SCOPES if version >= _SCOPES_SINCE and not network else 0
    attributes = struct.pack("=QQQ", READ | writes, handled_network, scopes)
    size = 24 if version >= _SCOPES_SINCE else 16 if version >= _NETWORK_SINCE else 8
    rules = _call(_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0, what="Landlock")
    try:
        for path in readable:
            _allow(rules, path, READ)
        for path in writable:
            _allow(rules, path, READ | writes)
        _checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "a process that gains no privileges")
        _call(_LANDLOCK_RESTRICT_SELF, rules, 0, what="Landlock")
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return  # What cannot be opened here needs no leave.
    try:
        allowed = rights if path.is_dir() else rights & _ON_A_FILE
        rule = struct.pack("=Qi", allowed, descriptor)
        _call(_LANDLOCK_ADD_RULE, rules, _LANDLOCK_RULE_PATH_BENEATH, rule, 0, what="Landlock")
    finally:
        os.close(descriptor)


def _numbers() -> dict[str, int]:
    try:
        return _CALLS[platform.machine()]
    except KeyError:
        raise NotGiven(0, f"system calls of a {platform.machine()} processor") from None


def _call(number: int, *arguments: object, what: str) -> int:
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments), what)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise NotGiven(number, f"{what} ({os.strerror(number)})")
    return int(result)
