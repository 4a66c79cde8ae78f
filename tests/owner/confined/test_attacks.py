"""Plugins of a third party that try something: each is stopped and named, nothing leaves, and the host goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from fedcore.owner.agent import Agent
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Report, Status
from fedcore.wire.spec import Pipeline, PluginChoice, Protocol
from tests.owner.cast import HASHED, PLAIN, Cast, Plan
from tests.owner.playing import do, play
from tests.owner.third_party import install, installations, step

CANARY = "kanarienvogel"

ATTACKS: dict[str, tuple[tuple[str, ...], RefusalCode, str]] = {
    "opens-a-socket": (
        ("import socket", "socket.create_connection(('127.0.0.1', 1), 1)"),
        RefusalCode.PLUGIN_CONFINED,
        "tried to use the network",
    ),
    "opens-a-socket-by-machine-code": (
        ("import ctypes", "ctypes.CDLL(None).socket(2, 1, 0)"),
        RefusalCode.PLUGIN_CONFINED,
        "made a system call that no plugin may make",
    ),
    "reads-the-signing-key": (
        ("open(HOME + '/keys/signing.key', 'rb').read()",),
        RefusalCode.PLUGIN_CONFINED,
        "/keys/signing.key",
    ),
    "reads-the-journal": (
        ("open(HOME + '/journal.sqlite', 'rb').read()",),
        RefusalCode.PLUGIN_CONFINED,
        "/journal.sqlite",
    ),
    "opens-the-database-of-orders": (
        ("import sqlite3", "sqlite3.connect(HOME + '/state.sqlite')"),
        RefusalCode.PLUGIN_CONFINED,
        "/state.sqlite",
    ),
    "reads-the-policy": (
        ("open(HOME + '/owner.toml').read()",),
        RefusalCode.PLUGIN_CONFINED,
        "/owner.toml",
    ),
    "reads-the-data-itself": (
        ("open(HOME + '/good.txt').read()",),
        RefusalCode.PLUGIN_CONFINED,
        "/good.txt",
    ),
    "looks-around": (
        ("import os", "os.listdir(os.path.dirname(HOME))"),
        RefusalCode.PLUGIN_CONFINED,
        "os.listdir",
    ),
    "writes-a-file": (
        ("open(HOME + '/spool/note', 'w').write('x')",),
        RefusalCode.PLUGIN_CONFINED,
        "/spool/note",
    ),
    "starts-a-program": (
        ("import subprocess", "subprocess.run(['true'])"),
        RefusalCode.PLUGIN_CONFINED,
        "tried to start a process",
    ),
    "forks-without-end": (
        ("import os", "while True: os.fork()"),
        RefusalCode.PLUGIN_CONFINED,
        "tried to start a process",
    ),
    "forks-by-machine-code": (
        ("import ctypes", "ctypes.CDLL(None).fork()"),
        RefusalCode.PLUGIN_CONFINED,
        "made a system call",
    ),
    "looks-into-another-process": (
        ("import ctypes", "ctypes.CDLL(None).ptrace(16, 1, 0, 0)"),
        RefusalCode.PLUGIN_CONFINED,
        "made a system call",
    ),
    "eats-memory": (
        ("held = [bytearray(2**24) for _ in range(2**12)]",),
        RefusalCode.RESOURCE_LIMIT,
        "needs more memory",
    ),
    "never-ends": (
        ("while True: pass",),
        RefusalCode.RESOURCE_LIMIT,
        "took longer than",
    ),
    "sleeps": (
        ("import time", "time.sleep(600)"),
        RefusalCode.RESOURCE_LIMIT,
        "took longer than",
    ),
    "drops-rows": (
        ("import numpy as np", "value = value.take(np.arange(len(value) - 1))"),
        RefusalCode.PLUGIN_CONFINED,
        "rows for",
    ),
    "gives-another-kind": (
        ("from fedcore.plugin_api import Records", "value = Records({'request': value})"),
        RefusalCode.PLUGIN_CONFINED,
        "records, and declares text",
    ),
    "gives-broken-offsets": (
        ("value = Text(value.data, value.offsets[::-1].copy())",),
        RefusalCode.PLUGIN_CONFINED,
        "rows that do not follow one another",
    ),
    "hides-bytes-behind-the-rows": (
        ("import numpy as np", "value = Text(np.append(value.data, np.uint8(1)), value.offsets)"),
        RefusalCode.PLUGIN_CONFINED,
        "rows that do not follow one another",
    ),
    "writes-into-the-pipe": (
        ("import os", "[os.write(number, b'x' * 100) for number in range(3, 20) if is_open(number)]"),
        RefusalCode.PLUGIN_CONFINED,
        "broke the form of answers",
    ),
    "leaves": (
        ("import os", "os._exit(0)"),
        RefusalCode.STEP_FAILED,
        "ended with status 0",
    ),
    "crashes": (
        ("import ctypes", "ctypes.string_at(0)"),
        RefusalCode.STEP_FAILED,
        "crashed (signal 11)",
    ),
    "fails": (
        ("raise ZeroDivisionError('seven')",),
        RefusalCode.STEP_FAILED,
        "ZeroDivisionError: seven",
    ),
}
"""What a step does, the code that its order fails with, and what the host's journal says of it."""

IS_OPEN = """
def is_open(number):
    import os
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
"""


def pipeline(name: str) -> Pipeline:
    first, *others = HASHED.steps
    return Pipeline(steps=(first, PluginChoice(name=name), *others))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, warmed: None) -> Iterator[Cast]:
    """Olga's host allows all these distributions, and each has a step of its own name."""
    folder = tmp_path_factory.mktemp("third-parties")
    with installations(folder / "installed") as installed:
        home = folder / "north"
        for name, (lines, _, _) in ATTACKS.items():
            install(installed, f"evil-{name}", f"HOME = {str(home)!r}\n" + IS_OPEN + step(name, *lines))
        names = [f"evil-{name}" for name in ATTACKS]
        entries = "".join(f'[[plugins]]\ndistribution = "{name}"\n' for name in names)
        os.environ["FEDCORE_SECRET"] = CANARY
        cast = Cast(folder)
        yield cast.settle_in(["north"], rows=120, plugins=entries, seconds="3", worker="memory_mb = 512")
        del os.environ["FEDCORE_SECRET"]


@pytest.fixture
def agent(scene: Cast) -> Iterator[Agent]:
    agent = scene.owners[0].agent()
    yield agent
    agent.close()


def trained(scene: Cast, agent: Agent, steps: Pipeline) -> tuple[Plan, Report]:
    plan = scene.spec(Protocol.LOCAL, pipeline=steps, backend=PLAIN)
    do(plan, [agent], Phase.CHECK)
    return plan, play(plan, agent, plan.order(Phase.TRAIN, scene.owners[0]))


def journalled(agent: Agent, plan: Plan) -> str:
    entries = [json.loads(entry.content) for entry in agent.journal.entries()]
    return " ".join(str(entry.get("why")) for entry in entries if entry.get("run") == plan.run)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_step_that_tries_something_is_stopped_and_named_and_nothing_leaves(
    scene: Cast, agent: Agent, name: str
) -> None:
    _, code, said = ATTACKS[name]
    plan, report = trained(scene, agent, pipeline(name))
    assert (report.status, report.code, report.artefacts) == (Status.FAILED, code, ())
    told = journalled(agent, plan)
    assert f"Plugin preprocessing/{name} of distribution evil-{name}" in told
    assert said in told
    assert not list(scene.owners[0].home.spool.iterdir()), "nothing stays in the spool"


def test_the_host_goes_on_after_a_plugin_was_stopped(scene: Cast, agent: Agent) -> None:
    assert trained(scene, agent, pipeline("opens-a-socket"))[1].status is Status.FAILED
    assert trained(scene, agent, HASHED)[1].status is Status.DONE


def test_no_third_party_code_is_imported_by_the_host(scene: Cast, agent: Agent) -> None:
    import sys

    trained(scene, agent, HASHED)
    assert "opens-a-socket" in agent._answering._deciding.governed().registry.names("preprocessing")
    assert not [name for name in sys.modules if name.startswith("evil_")]
