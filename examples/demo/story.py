"""The demonstration from beginning to end."""

from __future__ import annotations

import fcntl
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from examples.demo.checks import check_quality, check_separation
from examples.demo.coordinator import Coordinator, start_coordinator
from examples.demo.data import Offer, make_offers, unpacked
from examples.demo.errors import DemoError
from examples.demo.hosts import init_host, owner_toml, predict, start_host
from examples.demo.organisations import Cast, Person, make_cast
from examples.demo.processes import Process, Processes, failed, program
from examples.demo.settings import ROOT, Settings
from fedcore.client import FedcoreError, Session

START_SECONDS: Final = 180.0


def tell(settings: Settings, console: Console, begun: float) -> None:
    """Run everything. Raises `DemoError`; leaves no process behind, whatever happens."""
    work = settings.directory
    with _work_directory(work), Processes(work) as processes:
        cast = make_cast(work)
        owners = cast.owners[0].directory, cast.owners[1].directory
        offers = make_offers(settings, owners)
        for owner, offer in zip(cast.owners, offers, strict=True):
            console.print(f"{owner.title} has {offer.rows:,} rows: {offer.title}.")
        coordinator = start_everything(cast, offers, processes, console)
        reports = _let_sam_work(cast, coordinator, offers[0].columns, processes, console)
        console.print(f"Checked: {check_quality(reports)}.")
        console.print(f"Checked: {check_separation(cast)}.")
        _own_loop(cast, reports[-1]["run"], processes, console)
        _predict(settings, cast, reports[-1]["run"], offers[0], processes, console)
        _tell_addresses(cast, coordinator, console)
        console.print(
            f"[bold]Report:[/] {work / 'report.html'}   (after {time.monotonic() - begun:.0f} seconds)"
        )
        if not settings.once:
            _stay(processes, console)


def start_everything(cast: Cast, offers: list[Offer], processes: Processes, console: Console) -> Coordinator:
    console.print("Making keys for three hosts, a coordinator and a scientist …")
    cards = {host.name: init_host(host, processes) for host in cast.hosts}
    coordinator = start_coordinator(cast, cards, processes)
    key = _sams_key(cast, coordinator, processes)
    for host, offer in zip(cast.hosts, [*offers, None], strict=True):
        policy = owner_toml(host, cast, coordinator, cards, key, offer)
        (host.home / "owner.toml").write_text(policy)
        start_host(host, processes)
    clara = session_of(cast, coordinator, cast.person("clara"))
    processes.wait_until(
        "The owners' hosts announce their datasets",
        lambda: len(clara.datasets()) == len(offers),
        START_SECONDS,
    )
    console.print(f"{len(processes.running)} programs run: coordinator, two owner hosts, reference host.")
    return coordinator


def _sams_key(cast: Cast, coordinator: Coordinator, processes: Processes) -> str:
    """Sam logs in from the university, which makes Sam's signing key; Sam tells the owners the public part."""
    university, sam = cast.university, cast.person("sam")
    fedcore = program("fedcore")
    log = university.log / "commands.log"
    login = [fedcore, "login", coordinator.url, "--username", sam.username]
    with_password = university.environment(FEDCORE_PASSWORD=sam.password)
    processes.run("fedcore login", university.name, login, with_password, log)
    output = processes.run("fedcore keys", university.name, [fedcore, "keys"], university.environment(), log)
    return output.split()[2]


def _let_sam_work(
    cast: Cast, coordinator: Coordinator, columns: Sequence[str], processes: Processes, console: Console
) -> list[dict[str, Any]]:
    """Start Sam's process, and approve as the owners what it asks for, until it ends."""
    university = cast.university
    command = [sys.executable, "-m", "examples.demo.scientist", coordinator.url]
    command += ["--out", str(university.directory), "--columns", *columns]
    owners = [session_of(cast, coordinator, cast.person(name)) for name in ("olga", "otto")]
    sam = processes.start(
        "scientist", university.name, command, university.environment(), university.log / "sam.log", show=True
    )
    approved = 0
    while not sam.ended:
        if approved < len(owners):
            approved += sum(approve_waiting(session, console) for session in owners)
        _check_others(processes, sam)
        time.sleep(0.3)
    processes.running.remove(sam)
    if sam.popen.returncode:
        raise DemoError(
            "The scientist's runs did not finish.",
            f"The error stands above; the logs are {processes.root}/*/log/*.log.",
        )
    shutil.copy(university.directory / "report.html", processes.root / "report.html")
    found: list[dict[str, Any]] = json.loads((university.directory / "reports.json").read_text())
    return found


def _check_others(processes: Processes, sam: Process) -> None:
    for process in processes.running:
        if process is not sam and process.ended:
            raise failed(process)


def approve_waiting(session: Session, console: Console) -> int:
    """Approve the waiting requests that this data owner sees; returns how many."""
    waiting = [item for item in session.requests() if item["state"] == "waiting"]
    for item in waiting:
        session.decide(item["digest"], "approve", reason="For the demonstration.")
        person = session.me()["name"]
        console.print(
            f"{person} approved {item['dataset']} of {item['host_name']}: {', '.join(item['protocols'])}."
        )
    return len(waiting)


def _own_loop(cast: Cast, run: str, processes: Processes, console: Console) -> None:
    """Sam downloads the pseudonymised rows, as the grants allow, and trains on them with a loop of Sam's own."""
    university = cast.university
    rows, log = university.directory / "rows.safetensors", university.log / "commands.log"
    download = [program("fedcore"), "rows", run, "--out", str(rows)]
    processes.run("fedcore rows", university.name, download, university.environment(), log)
    script = [sys.executable, "examples/torch_dataset.py", str(rows)]
    # Threads gain nothing on layers this small, and lose much on a busy machine.
    environment = university.environment(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    output = processes.run("examples/torch_dataset.py", university.name, script, environment, log)
    console.print("\n[bold]fedcore rows[/], and [bold]examples/torch_dataset.py[/], Sam's own training loop:")
    console.print(f"  {output.splitlines()[-1]}", markup=False)


def _predict(
    settings: Settings, cast: Cast, run: str, offer: Offer, processes: Processes, console: Console
) -> None:
    """An owner uses the result: score lines of its own log with the model and the key that its host kept."""
    owner, log = cast.owners[0], offer.sample
    if settings.log is not None:
        log = unpacked(settings.log, owner.directory / "given.log")
        console.print(
            "\nYour log has no labels, so the model was trained on generated requests, and now scores your lines. It "
            "has seen nothing of your site: this shows how an owner uses a model, not what is in your log."
        )
    scores = predict(owner, run, log, processes)
    attacks = sorted(
        (row for row in scores if row["class"] == "attack"), key=lambda row: -float(row["probability"])
    )
    console.print(f"\n[bold]fedcore-owner predict --run {run[:12]} {log.name}[/], at {owner.title}:")
    console.print(
        f"{len(attacks):,} of {len(scores):,} lines look like attacks{'. The surest:' if attacks else '.'}"
    )
    for row in attacks[:5]:
        console.print(f"  {float(row['probability']):.4f}  {row['line'][:130]}", markup=False, soft_wrap=True)


def _tell_addresses(cast: Cast, coordinator: Coordinator, console: Console) -> None:
    console.print(f"\n[bold]Admin:[/]  {coordinator.url}/admin/")
    for username in ("clara", "olga", "sam"):
        person = cast.person(username)
        role = ", ".join(person.roles).replace("_", " ")
        console.print(f"  log in as {username:<6} with {person.password}   ({role})")


def _stay(processes: Processes, console: Console) -> None:
    console.print("\nEverything keeps running until you press Ctrl-C.")
    while True:
        processes.check()
        time.sleep(1)


def session_of(cast: Cast, coordinator: Coordinator, person: Person) -> Session:
    organisation = next(some for some in cast.organisations if some.name == person.organisation)
    session = Session(coordinator.url, organisation.directory / "people" / person.username)
    try:
        session.log_in(person.username, person.password)
    except FedcoreError as error:
        raise DemoError(
            f"{person.username} cannot log in: {error}", "Look at the coordinator's log."
        ) from None
    return session


@contextmanager
def _work_directory(path: Path) -> Iterator[None]:
    """An empty private directory that one demonstration at a time uses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f"Another demonstration runs in {path}.", "Stop it with Ctrl-C in its terminal."
            ) from None
        if path.exists():
            shutil.rmtree(path)
        path.mkdir(mode=0o700)
        yield
