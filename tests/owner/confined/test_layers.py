"""Each layer of the confinement alone stops its attack, and without any layer every attack succeeds."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fedcore.owner.confined import kernel, system_calls
from fedcore.owner.confined.calling import LAUNCHER, PluginStopped, Terms, calling
from fedcore.owner.confined.frames import Frame, named
from fedcore.owner.confined.layers import BEFORE_FORKING, INSIDE, LAYERS, NAMES, Confinement, own_root
from fedcore.owner.confined.plugins import plugins_of
from fedcore.owner.description import Distribution
from fedcore.owner.isolation import Limits, run_isolated
from fedcore.plugin_api import Text
from fedcore.plugin_api.registry import AllowedDistribution, PluginNotLoaded
from fedcore.plugin_api.serialise_values import value_arrays, value_of
from fedcore.wire.codes import RefusalCode
from tests.owner.third_party import install, installations, step

PROBE = AllowedDistribution("probe")
REACHED = "reached"


@dataclass(frozen=True)
class Attack:
    """What a plugin does, and the layers that have to be there for `layer` to work at all."""

    layer: str
    code: str
    beside: frozenset[str] = frozenset()


ATTACKS = (
    Attack("own_namespaces", "import socket; socket.create_connection(('127.0.0.1', PORT), 2)"),
    Attack("own_root", "assert os.path.exists(SECRET)", frozenset({"own_namespaces"})),
    Attack("own_root", "os.chmod(SECRET, 0o644)", frozenset({"own_namespaces"})),
    Attack("limits", "bytearray(2**32)"),
    Attack(
        "no_privileges",
        "import ctypes; assert ctypes.CDLL(None).mount(b'x', b'/mnt', b'tmpfs', 0, b'') == 0",
        frozenset({"own_namespaces"}),
    ),
    Attack("named_files_only", "open(SECRET, 'rb').read()"),
    Attack("named_files_only", "open(SECRET + '.new', 'w').write('x')"),
    Attack("python_is_watched", "open(SECRET, 'rb').read()"),
    Attack("python_is_watched", "import socket; socket.socket()"),
    Attack("python_is_watched", "os.fork() or os._exit(0)"),
    Attack("few_system_calls", "import ctypes; assert ctypes.CDLL(None).socket(2, 1, 0) >= 0"),
    Attack("few_system_calls", "import ctypes; ctypes.CDLL(None).fork() or os._exit(0)"),
    Attack("few_system_calls", "import ctypes; assert ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0"),
)


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of the host, and a distribution whose step does what its rows say."""
    folder = tmp_path_factory.mktemp("host")
    path = folder / "secret"
    path.write_text("a key")
    path.chmod(0o600)
    with installations(folder / "installed") as installed, socket.create_server(("127.0.0.1", 0)) as server:
        names = f"SECRET, PORT = {str(path)!r}, {server.getsockname()[1]}\nimport os\n"
        lines = (
            "asked = bytes(next(iter(value))).decode()",
            "if asked.startswith('='): return Text.from_rows([str(eval(asked[1:])).encode()])",
            "exec(asked, globals())",
            f"return Text.from_rows([b'{REACHED}'])",
        )
        install(installed, "probe", names + step("probe", *lines))
        yield path


def terms(layers: frozenset[str] = NAMES, memory_mb: int = 1024) -> Terms:
    return Terms(memory_mb, 20, Path("/nowhere"), layers=layers)


def said(code: str, how: Terms) -> str:
    """What the step answers when it has done this; raises where it was stopped."""
    arrays, texts = named("value", *value_arrays(Text.from_rows([code.encode()])))
    facts = {"group": "preprocessing", "name": "probe", "options": {}}
    with calling(PROBE, how) as child:
        value = value_of(*child.call(Frame("apply", arrays, texts, facts), "probe").part("value"))
    assert isinstance(value, Text)
    return next(iter(value)).decode()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.layer}: {attack.code[:40]}")
def test_each_layer_alone_stops_its_attack_and_without_it_the_attack_succeeds(
    secret: Path, attack: Attack
) -> None:
    assert said(attack.code, terms(attack.beside)) == REACHED
    with pytest.raises(PluginStopped):
        said(attack.code, terms(attack.beside | {attack.layer}))


def test_every_layer_has_an_attack_and_a_plugin_runs_behind_all_of_them() -> None:
    assert {attack.layer for attack in ATTACKS} == {layer.__name__ for layer in LAYERS} == NAMES
    assert LAYERS == BEFORE_FORKING + INSIDE
    assert Terms(1, 1, Path("/")).layers == NAMES
    assert Terms(1, 1, Path("/")).needed


def test_a_confined_plugin_works_with_threads_and_a_folder_of_its_own(secret: Path) -> None:
    thread = "import threading; t = threading.Thread(target=print); t.start(); t.join()"
    scratch = "import tempfile; f = tempfile.TemporaryFile(); f.write(b'x')"
    for code in (
        thread,
        scratch,
        "import numpy as np; np.random.default_rng().random(3)",
        "open('/dev/null', 'w')",
    ):
        assert said(code, terms()) == REACHED


def test_a_confined_plugin_is_alone_and_sees_nothing_of_the_host(secret: Path) -> None:
    os.environ["FEDCORE_CANARY"] = "kanarienvogel"
    try:
        environment = said("= dict(os.environ)", terms())
    finally:
        del os.environ["FEDCORE_CANARY"]
    assert "kanarienvogel" not in environment
    assert str(secret.parent) not in environment
    assert said("= os.getpid()", terms()) == "1"
    assert said("= os.uname().nodename", terms()) == "confined"
    assert said("= os.path.exists('/proc/1/environ')", terms()) == "False"
    absent = ("/proc", "/etc/passwd", "/var", "/run", str(secret))
    assert said(f"= [path for path in {absent} if os.path.exists(path)]", terms()) == "[]"


def test_nothing_is_left_of_what_a_plugin_writes(secret: Path) -> None:
    assert said("open('/scratch/note', 'w').write('x')", terms()) == REACHED
    assert said("= os.listdir('/scratch')", terms()) == "[]"


MIB = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); block = b'x' * 2**20; "
BESIDE = {
    "memfd_create": "fd = os.memfd_create('m'); [os.write(fd, block) for _ in range(60)]",
    "memfd_secret": "assert libc.syscall(447, 0) >= 0, os.strerror(ctypes.get_errno())",
    "shmget": "assert libc.shmget(0, 2**26, 0o1600) >= 0, os.strerror(ctypes.get_errno())",
    "msgget": "assert libc.msgget(0, 0o1600) >= 0, os.strerror(ctypes.get_errno())",
    "mq_open": "assert libc.mq_open(b'/q', 0o102, 0o600, None) >= 0, os.strerror(ctypes.get_errno())",
}
"""Ways to hold memory that no limit of a process counts."""


@pytest.mark.parametrize("way", BESIDE)
def test_there_is_no_memory_beside_what_is_limited(secret: Path, way: str) -> None:
    with pytest.raises(PluginStopped, match=r"Function not implemented"):
        said(MIB + BESIDE[way], terms(memory_mb=64))


def test_the_scratch_folder_has_an_end_of_files_too(secret: Path) -> None:
    with pytest.raises(PluginStopped, match="No space left"):
        said("[os.close(os.open(f'/scratch/{n}', os.O_CREAT | os.O_WRONLY)) for n in range(5000)]", terms())


def test_the_scratch_folder_has_an_end(secret: Path) -> None:
    with pytest.raises(PluginStopped, match=r"File too large|No space left"):
        said("open('/scratch/note', 'wb').write(bytes(2**27))", terms())


def test_where_the_hosts_directory_lies_among_packages_a_plugin_is_refused(secret: Path) -> None:
    with pytest.raises(PluginStopped, match="Move it to another place") as stopped:
        said("1", replace(terms(), hidden=secret.parent / "installed" / "home"))
    assert stopped.value.code is RefusalCode.PLUGIN_CONFINED


def test_where_the_kernel_gives_no_namespaces_a_plugin_is_refused_unless_the_policy_says_otherwise(
    secret: Path,
) -> None:
    distributions = (Distribution(name="fedcore"), Distribution(name="probe"))

    def without_namespaces() -> None:
        LAUNCHER.stop()  # The one that runs is not under this restriction.
        system_calls.refuse_to_host_code()
        refusing = plugins_of(distributions, terms())
        with pytest.raises(PluginNotLoaded, match=r"cannot be confined here.*namespaces of its own"):
            refusing.get("preprocessing", "probe")
        assert refusing.get("preprocessing", "words"), "fedcore's own plugins go on"
        assert plugins_of(distributions, replace(terms(), needed=False)).get("preprocessing", "probe")

    run_isolated(without_namespaces, Limits(memory_mb=4096, seconds=60))


def test_without_mounts_of_its_own_a_process_changes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where namespaces are denied and the host runs as root, a mount would be the whole machine's."""

    def mounted(*arguments: object, **more: object) -> None:
        raise AssertionError("something was mounted")

    monkeypatch.setattr(kernel, "mount", mounted)
    with pytest.raises(kernel.NotGiven, match="a root directory of its own"):
        own_root(Confinement((), 0, 0, lambda why: os._exit(1)))


def test_what_a_plugin_says_cannot_write_to_the_owners_screen(secret: Path) -> None:
    with pytest.raises(PluginStopped, match=r"\?\[31mred") as stopped:
        said("raise ValueError(chr(27) + '[31mred')", terms())
    assert "\x1b" not in str(stopped.value)


def test_a_process_ends_when_the_host_hangs_up(secret: Path) -> None:
    before = _running()
    with calling(PROBE, terms()):
        during = _running()
    assert len(during - before) >= 2, "a supervisor, and the process itself"
    _wait_until_gone(during - before)


def _running() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and _is_launched(int(name))}


def _is_launched(pid: int) -> bool:
    try:
        return b"fedcore.owner.confined.launcher" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _wait_until_gone(pids: set[int]) -> None:
    import time

    deadline = time.monotonic() + 5
    while _running() & pids and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _running() & pids


def test_the_launcher_holds_no_secret_of_the_host(secret: Path) -> None:
    os.environ["BROKER_URL"] = "redis://:kanarienvogel@127.0.0.1/0"
    try:
        with installations(secret.parent / "installed"), calling(PROBE, terms()):
            known = [Path(f"/proc/{pid}/environ").read_bytes() for pid in _running()]
    finally:
        del os.environ["BROKER_URL"]
    assert known
    assert not any(b"kanarienvogel" in environment for environment in known)
