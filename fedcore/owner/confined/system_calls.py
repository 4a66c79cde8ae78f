"""Which system calls a process may no longer make: a seccomp filter (Linux, x86-64 and ARM64).

A plugin that makes one is killed; a process of the host's own code gets an error. What stays is what
computing needs: memory, threads, files that are within reach, pipes, clocks.
"""

from __future__ import annotations

import ctypes
import platform
import struct
from typing import Final

from fedcore.owner.confined.kernel import NotGiven

_LOAD: Final = 0x20
_EQUAL: Final = 0x15
_AT_LEAST: Final = 0x35
_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_ERROR: Final = 0x00050000
_EPERM: Final = 1
_ENOSYS: Final = 38
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_CLONE_THREAD: Final = 0x00010000
_X32: Final = 0x40000000
_PR_SET_SECCOMP: Final = 22
_FILTER: Final = 2
_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_Numbers = dict[str, tuple[int | None, int | None]]

NETWORK: Final[_Numbers] = {
    "socket": (41, 198),
    "connect": (42, 203),
    "accept": (43, 202),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept4": (288, 242),
}
"""By name, the numbers on x86-64 and ARM64."""

MESSAGES: Final[_Numbers] = {
    "socketpair": (53, 199),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "recvmsg": (47, 212),
    "sendmmsg": (307, 269),
    "recvmmsg": (299, 243),
}

PROCESSES: Final[_Numbers] = {
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
}

KERNEL: Final[_Numbers] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    "acct": (163, 89),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "personality": (135, 92),
    "iopl": (172, None),
    "ioperm": (173, None),
}

MEMORY: Final[_Numbers] = {
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "vmsplice": (278, 75),
}
"""What holds memory that belongs to no process, and so to no limit of one. Libraries can do without."""

_CLONE: Final = (56, 220)
_CLONE3: Final = 435


def refuse_to_plugins() -> None:
    """Kill this process if it reaches for the network, another process or the kernel. Threads stay possible.

    Memory beside what is limited does not exist for it.
    """
    _install(_program(NETWORK | MESSAGES | PROCESSES | KERNEL, _KILL, processes=False, missing=MEMORY))


def refuse_to_host_code() -> None:
    """Answer with an error if this process opens a socket or reaches for the kernel."""
    _install(_program(NETWORK | KERNEL, _ERROR | _EPERM, processes=True))


def _program(refused: _Numbers, action: int, processes: bool, missing: _Numbers | None = None) -> list[bytes]:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise NotGiven(0, f"a filter of system calls on a {machine} processor")
    place = list(_ARCHITECTURES).index(machine)
    program = [
        _statement(_LOAD, _ARCHITECTURE),
        *_if(_EQUAL, _ARCHITECTURES[machine], otherwise=_KILL),
        _statement(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        program += _when(_AT_LEAST, _X32, _KILL)
    for calls, answer in ((refused, action), (missing or {}, _ERROR | _ENOSYS)):
        for numbers in calls.values():
            number = numbers[place]
            if number is not None:
                program += _when(_EQUAL, number, answer)
    if not processes:
        # glibc makes threads by clone where clone3, whose flags a filter cannot see, does not exist.
        program += _when(_EQUAL, _CLONE3, _ERROR | _ENOSYS)
        program += [
            _jump(_EQUAL, _CLONE[place], 0, 3),
            _statement(_LOAD, _FIRST_ARGUMENT),
            *_if(_ANY_BIT, _CLONE_THREAD, otherwise=action),
        ]
    return [*program, _statement(_RETURN, _ALLOW)]


def _when(test: int, value: int, action: int) -> list[bytes]:
    return [_jump(test, value, 0, 1), _statement(_RETURN, action)]


def _if(test: int, value: int, otherwise: int) -> list[bytes]:
    return [_jump(test, value, 1, 0), _statement(_RETURN, otherwise)]


def _statement(code: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, 0, 0, value)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _install(program: list[bytes]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(b"".join(program))
    described = struct.pack("@HP", len(program), ctypes.addressof(code))
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, described, 0, 0) != 0:
        raise NotGiven(ctypes.get_errno(), "a filter of system calls (seccomp)")
