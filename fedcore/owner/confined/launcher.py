"""The launcher: the process that confined processes are forked from, so that each starts in milliseconds.

It is a fresh interpreter with a clean environment: no key, password or row has ever been in its memory, so none is in
that of a process forked from it. It loads fedcore and the large libraries, never a third party's code. For each
confined process it forks a supervisor, which makes the namespaces, forks the process itself, ends it when its time
is up or the host hangs up, and says why it ended.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import Any, Final, NoReturn

from fedcore.owner.confined import kernel
from fedcore.owner.confined.child import MOST_BYTES, PRELOADED, serve
from fedcore.owner.confined.frames import Frame, PipeClosed, receive
from fedcore.owner.confined.genuine import is_as_installed
from fedcore.owner.confined.layers import BEFORE_FORKING, INSIDE, SCRATCH, Confinement, Layer
from fedcore.owner.isolation import die_with_parent
from fedcore.plugin_api import sklearn_plugins as _loaded_beforehand  # noqa: F401
from fedcore.plugin_api.registry import (
    AllowedDistribution,
    PluginError,
    installed_distribution,
    installed_entry_points,
)
from fedcore.wire.codes import RefusalCode

MESSAGE_BYTES: Final = 64 * 1024
STOPPED: Final = 70
"""The exit status of a process that tried what it may not do; it has said what."""
NOT_GIVEN: Final = 71
"""The exit status of a process that could not be confined: nothing of the plugin has run."""

_LONGEST_REASON: Final = 500


def main(descriptor: int) -> None:
    """Fork confined processes until every process that may ask for one is gone."""
    sys.dont_write_bytecode = True
    sys.pycache_prefix = f"{SCRATCH}/pycache"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked = socket.socket(fileno=descriptor)
    while True:
        message, descriptors, _, _ = socket.recv_fds(asked, MESSAGE_BYTES, 2)
        if not message:
            return
        said = json.loads(message)
        if len(descriptors) != 2:
            _preload(said["preload"])
            continue
        _known(said["distribution"])
        launcher = os.getpid()
        if os.fork() == 0:
            asked.close()
            _supervise(launcher, *descriptors)
        for given in descriptors:
            os.close(given)


def _preload(names: Iterable[str]) -> None:
    for name in names:
        if PRELOADED.fullmatch(name) and name not in sys.modules:
            with contextlib.suppress(ImportError):
                if is_as_installed(name):
                    importlib.import_module(name)


def _supervise(launcher: int, data: int, leash: int) -> NoReturn:
    outcome: dict[str, str] = {}
    try:
        die_with_parent(launcher)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        outcome = _supervised(receive(data, MOST_BYTES), data, leash)
        os.write(leash, json.dumps(outcome).encode())
    except (PipeClosed, BrokenPipeError):
        outcome = {}  # The host has gone: nobody waits for the outcome.
    finally:
        os._exit(0)


def _supervised(order: Frame, data: int, leash: int) -> dict[str, str]:
    facts = order.facts
    heard, told = os.pipe()
    confinement = Confinement(
        readable=tuple(map(Path, facts["readable"])),
        memory=kernel.address_space() + facts["memory_mb"] * 1024 * 1024,
        seconds=facts["seconds"],
        stop=lambda why: _stop(told, STOPPED, why),
    )
    try:
        points = _entry_points(facts["distribution"])
        _enter(BEFORE_FORKING, confinement, facts)
    except (kernel.NotGiven, PluginError) as error:
        return {"code": RefusalCode.PLUGIN_CONFINED, "why": _why_not(error), "missing": "yes"}
    pid = os.fork()
    if pid == 0:
        os.close(leash)
        os.close(heard)
        _be_confined(confinement, facts, points, data, told)
    os.close(data)
    os.close(told)
    return _watch(pid, leash, heard, facts["seconds"])


def _be_confined(
    confinement: Confinement, facts: dict[str, Any], points: list[EntryPoint], data: int, told: int
) -> NoReturn:
    try:
        _forget_the_rest({data, told})
        sys.path[:] = [entry for entry in sys.path if _is_within(entry, confinement.readable)]
        try:
            _enter(INSIDE, confinement, facts)
        except kernel.NotGiven as error:
            _stop(told, NOT_GIVEN, _why_not(error))
        serve(data, points)
    except PipeClosed:
        os._exit(0)
    except BaseException as error:
        os.write(told, f"ended with {error!r}"[:_LONGEST_REASON].encode())
        os._exit(1)
    os._exit(0)


def _enter(layers: Iterable[Layer], confinement: Confinement, facts: dict[str, Any]) -> None:
    """Enter those layers that are asked for. Without `needed` one that the kernel does not give is left out."""
    for layer in layers:
        if layer.__name__ not in facts["layers"]:
            continue
        try:
            layer(confinement)
        except kernel.NotGiven:
            if facts["needed"]:
                raise


def _is_within(entry: str, readable: Iterable[Path]) -> bool:
    return any(Path(os.path.realpath(entry)).is_relative_to(os.path.realpath(path)) for path in readable)


def _stop(told: int, status: int, why: str) -> NoReturn:
    os.write(told, why[:_LONGEST_REASON].encode("utf-8", "replace"))
    os._exit(status)


def _why_not(error: Exception) -> str:
    if isinstance(error, kernel.NotGiven):
        return f"cannot be confined here: the kernel, or how this machine is set up, does not give {error.args[1]}"
    return str(error)


def _forget_the_rest(keep: set[int]) -> None:
    """Close all other files, and have no screen to write to; die when the supervisor dies."""
    die_with_parent(os.getppid())
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    first = 3
    for number in sorted(keep):
        os.closerange(first, number)
        first = number + 1
    os.closerange(first, 4096)


def _watch(pid: int, leash: int, heard: int, seconds: int) -> dict[str, str]:
    """Wait for the end of the process, or make it: when time is up, or when the host hangs up."""
    ended = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(leash, select.POLLIN)
    deadline = time.monotonic() + seconds
    found = poll.poll(max(0, deadline - time.monotonic()) * 1000)
    if ended not in (descriptor for descriptor, _ in found):
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if not found:
        return {"code": RefusalCode.RESOURCE_LIMIT, "why": f"took longer than {seconds} seconds"}
    os.set_blocking(heard, False)
    try:
        said = os.read(heard, _LONGEST_REASON).decode("utf-8", "replace")
    except BlockingIOError:
        said = ""
    return _outcome(status, said)


def _outcome(status: int, said: str) -> dict[str, str]:
    if os.WIFEXITED(status):
        left = os.WEXITSTATUS(status)
        if left == STOPPED:
            return {"code": RefusalCode.PLUGIN_CONFINED, "why": said or "tried what no plugin may do"}
        if left == NOT_GIVEN:
            return {"code": RefusalCode.PLUGIN_CONFINED, "why": said, "missing": "yes"}
        return {"code": RefusalCode.STEP_FAILED, "why": said or f"ended with status {left}"}
    match os.WTERMSIG(status):
        case signal.SIGSYS:
            why = "made a system call that no plugin may make: for the network, another process or the kernel"
            return {"code": RefusalCode.PLUGIN_CONFINED, "why": why}
        case signal.SIGKILL | signal.SIGXCPU | signal.SIGXFSZ as number:
            reason = "out of memory" if number == signal.SIGKILL else signal.Signals(number).name
            return {"code": RefusalCode.RESOURCE_LIMIT, "why": f"was killed ({reason})"}
        case number:
            return {"code": RefusalCode.STEP_FAILED, "why": f"crashed (signal {number})"}


@lru_cache
def _known(distribution: str) -> Distribution | None:
    """The distribution, looked up before the fork and remembered; None where it is not installed."""
    try:
        return installed_distribution(distribution)
    except PluginError:
        return None


def _entry_points(facts: dict[str, Any]) -> list[EntryPoint]:
    allowed = AllowedDistribution(**facts)
    return installed_entry_points(allowed, _known(allowed.name))
