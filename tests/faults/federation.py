"""A whole federation on loopback for the tests: every part a process of its own, to be stopped, killed and started.

The organisations, their directories and policies are those of `examples.demo`. The coordinator runs as three
processes (broker, web, worker), as on a real site; each owner host is `fedcore-owner run`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from examples.demo.coordinator import Coordinator, answers, site_toml
from examples.demo.data import make_offers
from examples.demo.hosts import init_host, owner_toml, start_host
from examples.demo.offer import DATASET, Offer
from examples.demo.organisations import PURPOSE, Cast, Organisation, make_cast
from examples.demo.processes import Process, Processes, free_port, last_lines
from examples.demo.settings import Settings
from fedcore.broker import broker_url
from fedcore.client import Dataset, RunPlan, Session
from fedcore.coordinator import processes as coordinator_processes
from fedcore.wire.keys import SigningKey
from fedcore.wire.spec import Pipeline, PluginChoice, Training

ROWS: Final = 2_000
PARTS: Final = ("broker", "web", "worker")
FAST: Final = {"FEDCORE_LEASE_SECONDS": "3", "FEDCORE_LOGIN_RATE": "1000/minute"}
"""A training whose worker was killed is given to another after this long, instead of the usual 15 seconds."""


@dataclass(frozen=True)
class Equipped(Organisation):
    """An organisation whose processes find these variables too."""

    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(**{**self.variables, **more})


def equipped(cast: Cast, variables: Mapping[str, str]) -> Cast:
    """The cast with these variables in all their processes."""

    def of(some: Organisation) -> Equipped:
        return Equipped(some.name, some.title, some.directory, variables)

    north, south = map(of, cast.owners)
    others = {
        "operator": of(cast.operator),
        "reference": of(cast.reference),
        "university": of(cast.university),
    }
    return replace(cast, owners=(north, south), **others)


@dataclass
class Federation:
    """The organisations of one test below `root`. Nothing runs before a `start_…` method is called.

    `variables` are in the environment of all processes.
    """

    root: Path
    settings: Mapping[str, str] = field(default_factory=lambda: dict(FAST))
    rows: int = ROWS
    variables: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cast: Cast = equipped(make_cast(self.root), self.variables)
        self.processes = Processes(self.root)
        self.port = free_port()
        self.cards: dict[str, str] = {}
        self.hosts: dict[str, Process] = {}
        self.parts: dict[str, Process] = {}
        self.offers: list[Offer] = []
        self.datasets: list[Dataset] = []
        self.sessions: dict[str, Session] = {}
        self.sam_key = SigningKey.load_or_create(self.root / "university" / "people" / "sam" / "signing.key")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def north(self) -> Organisation:
        return self.cast.owners[0]

    @property
    def south(self) -> Organisation:
        return self.cast.owners[1]

    def folder(self, organisation: Organisation) -> Path:
        return organisation.directory

    # -- the coordinator

    @property
    def coordinator_environment(self) -> dict[str, str]:
        house = self.cast.operator
        own = {"FEDCORE_DATA_DIR": str(house.home), "FEDCORE_OPERATOR_ORGANISATION": house.name}
        return house.environment(**own, **self.settings)

    @property
    def coordinator(self) -> Coordinator:
        key = SigningKey.load_or_create(self.cast.operator.home / "keys" / "signing.key")
        return Coordinator(self.url, key.public)

    def set_up_site(self) -> None:
        """Make the coordinator's database with people and hosts. The hosts' cards must be known."""
        house = self.cast.operator
        site = house.directory / "site.toml"
        site.write_text(site_toml(self.cast, self.cards))
        passwords = {f"PASSWORD_OF_{person.username.upper()}": person.password for person in self.cast.people}
        self.manage("migrate", "--verbosity", "0")
        self.manage("setup_site", str(site), **passwords)

    def manage(self, *arguments: str, **more: str) -> str:
        """Run a management command of the coordinator to its end."""
        house = self.cast.operator
        command = [sys.executable, "manage.py", *arguments]
        environment = self.coordinator_environment | more
        return self.processes.run(arguments[0], house.name, command, environment, house.log / "manage.log")

    def start_part(self, name: str) -> Process:
        """Start (again) one of the coordinator's processes: broker, web or worker."""
        house = self.cast.operator
        commands = {
            "broker": [sys.executable, "manage.py", "broker"],
            "web": coordinator_processes.web("127.0.0.1", self.port).arguments,
            "worker": coordinator_processes.worker(1, house.home / "celerybeat-schedule").arguments,
        }
        log = house.log / f"{name}.log"
        self.parts[name] = self.processes.start(
            name, house.name, commands[name], self.coordinator_environment, log
        )
        return self.parts[name]

    def start_coordinator(self, *names: str) -> None:
        """Start these parts, all by default, and wait until the web process answers."""
        for name in names or PARTS:
            self.start_part(name)
        self.until("the coordinator answers", lambda: answers(self.url), 60)

    # -- the owner hosts

    def make_hosts(self) -> None:
        """Make the directories and keys of all hosts, with their data, in their own processes."""
        self.cards = {host.name: init_host(host, self.processes) for host in self.cast.hosts}
        settings = Settings.from_environment({"ONCE": "1", "FEDCORE_DEMO_ROWS": str(self.rows)})
        offers = make_offers(settings, (self.north.directory, self.south.directory))
        # Lines of another form are to be noticed here, not skipped.
        self.offers = [replace(offer, reader_options={"labels": True}) for offer in offers]

    def write_policy(self, host: Organisation, change: Callable[[str], str] = str) -> None:
        """Write the host's owner.toml; `change` edits its text."""
        owners = zip(self.cast.owners, self.offers, strict=True)
        offers = [offer for owner, offer in owners if owner.name == host.name]
        text = owner_toml(host, self.cast, self.coordinator, self.cards, self.sam_key.public, offers)
        (host.home / "owner.toml").write_text(change(text))

    def start_host(self, host: Organisation) -> Process:
        self.hosts[host.name] = start_host(host, self.processes)
        return self.hosts[host.name]

    def start_all(self, change: Callable[[str], str] = str) -> None:
        """Everything, until the owners' datasets are in the catalogue."""
        if not self.cards:
            self.make_hosts()
        self.set_up_site()
        for host in self.cast.hosts:
            self.write_policy(host, change)
            self.start_host(host)
        self.start_coordinator()
        clara = self.session("clara")
        self.until("the datasets are announced", lambda: len(clara.datasets()) == len(self.offers), 180)
        self.datasets = sorted(clara.datasets(), key=lambda dataset: dataset.host_name)

    # -- people

    def session(self, username: str) -> Session:
        """The session of a person, logged in once."""
        if username not in self.sessions:
            person = self.cast.person(username)
            session = Session(self.url, self.root / person.organisation / "people" / username)
            session.log_in(username, person.password)
            self.sessions[username] = session
        return self.sessions[username]

    def plan(self, **changes: Any) -> RunPlan:
        """A run that takes some seconds in all; `changes` make it another one."""
        facts: dict[str, Any] = {
            "title": "Malicious requests",
            "purpose": PURPOSE,
            "pipeline": self.pipeline(),
            "training": self.training(),
            "minutes": 5,
        }
        return RunPlan(**facts | changes)

    @staticmethod
    def pipeline(column: str = "target") -> Pipeline:
        """Pieces of one to three characters of one column, in hashed columns."""
        steps = [
            PluginChoice(name="fields", options={"names": [column]}),
            PluginChoice(name="url_decode"),
            PluginChoice(name="lower"),
            PluginChoice(name="char_ngrams", options={"minimum": 1, "maximum": 3}),
            PluginChoice(name="protect"),
            PluginChoice(name="hash_columns", options={"columns": 4096}),
        ]
        return Pipeline(steps=tuple(steps))

    @staticmethod
    def training(epochs: int = 3) -> Training:
        return Training(
            optimiser=PluginChoice(name="adam", options={"lr": 0.02}), batch_size=64, epochs=epochs, seed=7
        )

    def grants(self, *plans: RunPlan) -> list[str]:
        """Sam asks both owners for these plans, and Olga and Otto approve."""
        sam = self.session("sam")
        terms = {"purpose": PURPOSE, "releases": 100, "download": True}
        digests = [sam.request_access(dataset, plans, **terms) for dataset in self.datasets]
        for username in ("olga", "otto"):
            owner = self.session(username)
            for item in owner.requests():
                if item["state"] == "waiting":
                    owner.decide(item["digest"], "approve", reason="For the tests.")
        return digests

    def submit(self, plan: RunPlan, grants: list[str], seconds: int = 300) -> str:
        """Sam's run of this plan, with a deadline in so many seconds."""
        sam = self.session("sam")
        now = int(time.time())
        spec = plan.spec([dataset.reference for dataset in self.datasets], grants, now)
        signed = spec.model_copy(update={"deadline": now + seconds}).signed_by(self.sam_key)
        sam._http.post_text("/api/runs", signed.encode())
        return signed.digest

    def finish(self, run: str, seconds: float = 120) -> dict[str, Any]:
        """Wait until the run has ended, and return it."""
        sam = self.session("sam")
        over = {"finished", "failed", "cancelled", "expired"}
        self.until(f"run {run[:8]} ends", lambda: sam.run(run)["state"] in over, seconds)
        return sam.run(run)

    # -- waiting, killing, stopping

    def until(self, what: str, ready: Callable[[], Any], seconds: float, every: float = 0.05) -> Any:
        """The first true answer of `ready`. A coordinator that is away counts as not ready."""
        deadline = time.monotonic() + seconds
        while True:
            with suppress(Exception):
                found = ready()
                if found:
                    return found
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {seconds:.0f} s\n{self.logs()}")
            time.sleep(every)

    def kill(self, process: Process) -> None:
        """`kill -9` of the process alone: what it has started is left to its own devices."""
        process.popen.kill()
        process.popen.wait()
        self.processes.running.remove(process)

    def pids(self, program: str, organisation: Organisation) -> list[int]:
        """The organisation's processes with this word in their command line."""
        return [pid for pid in pids_below(organisation.directory) if program in command_of(pid)]

    @contextmanager
    def held(self, program: str, organisations: Iterable[Organisation]) -> Iterator[None]:
        """Processes of these organisations stand still (SIGSTOP) inside the block."""
        some = list(organisations)
        self._signal(program, some, signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(program, some, signal.SIGCONT)

    def _signal(self, program: str, organisations: Iterable[Organisation], number: signal.Signals) -> None:
        for organisation in organisations:
            for pid in self.pids(program, organisation):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def logs(self) -> str:
        logs = sorted(self.root.glob("*/log/*.log")) + sorted(self.root.glob("*/home/log/*.log"))
        return "\n".join(f"--- {log.relative_to(self.root)}\n{last_lines(log, 15)}" for log in logs)

    def stop(self) -> None:
        for pid in self.stopped():
            os.kill(pid, signal.SIGCONT)
        self.processes.stop()

    def stopped(self) -> list[int]:
        """Processes of this federation that a test has held with SIGSTOP."""
        found = []
        for pid in pids_below(self.root):
            with suppress(OSError):
                if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                    found.append(pid)
        return found


@contextmanager
def federation(root: Path, **options: Any) -> Iterator[Federation]:
    """A federation that leaves no process behind."""
    root.mkdir(mode=0o700, exist_ok=True)
    found = Federation(root, **options)
    try:
        yield found
    finally:
        found.stop()


def pids_below(root: Path) -> list[int]:
    """The processes whose HOME lies in `root`, or below the home of one of its owners."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            environment = folder.joinpath("environ").read_bytes().split(b"\0")
            home = next((os.fsdecode(item[5:]) for item in environment if item.startswith(b"HOME=")), "")
            if home and Path(home).is_relative_to(root):
                found.append(int(folder.name))
    return found


def broker_at(directory: Path, password: str | None = None) -> Redis:
    """A connection to the embedded broker of `directory`, with its own password or another; it tries once."""
    socket = broker_url(directory).partition("@")[2].partition("?")[0]
    known = (directory / "password").read_text() if password is None else password
    return Redis(unix_socket_path=socket, password=known, retry=Retry(NoBackoff(), 0))


def command_of(pid: int) -> str:
    """The command line of a process, empty when it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


__all__ = ["DATASET", "PARTS", "Federation", "federation", "pids_below"]
