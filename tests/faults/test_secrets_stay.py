"""Secrets and rows stay where they belong, after real runs over processes, one of which fails on purpose.

Looked for are the bytes of every key in raw, hexadecimal and base64 spelling, every password and token, and a word
that stands in the owners' rows. Looked through are logs, the brokers' files, the coordinator's database and artefacts,
and, all the time while the runs go on, the arguments and variables of every process.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from fedcore.wire.spec import PluginChoice
from tests.faults.conftest import CANARY, Running
from tests.faults.federation import Federation, pids_below

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("federation")]

GUESS = "a-wrong-password-5e81"


@dataclass
class Secrets:
    """What must not be found, by what it is."""

    known: dict[str, set[bytes]] = field(default_factory=dict)

    def add_key(self, path: Path) -> None:
        """The content of a secret file, in all spellings that a program could print it in."""
        raw = path.read_bytes().strip()
        base = base64.b64encode(raw).rstrip(b"="), base64.urlsafe_b64encode(raw).rstrip(b"=")
        escaped = repr(raw).encode()[2:-1]
        self.known.setdefault(str(path), set()).update({raw, raw.hex().encode(), *base, escaped})

    def add_text(self, what: str, text: str) -> None:
        self.known[what] = {text.encode()}

    def found_in(self, content: bytes) -> set[str]:
        return {what for what, spellings in self.known.items() if any(one in content for one in spellings)}


@dataclass
class Seen:
    """Everything that was seen of processes while the runs went on."""

    arguments: set[bytes] = field(default_factory=set)
    variables: set[bytes] = field(default_factory=set)


@dataclass
class Evidence:
    """What is left of two runs: the secrets that were there, and what was seen meanwhile."""

    federation: Federation
    secrets: Secrets
    seen: Seen
    finished: str
    failed: str


@pytest.fixture(scope="module")
def evidence(running: Running) -> Evidence:
    federation, secrets = running.federation, Secrets()
    diverging = federation.plan(
        training=federation.training().model_copy(
            update={"optimiser": PluginChoice(name="sgd", options={"lr": 3e38}), "epochs": 3}
        )
    )
    with watched(federation) as seen, keys_of_runs(federation, secrets):
        finished = running.submit(running.pooled)
        assert federation.finish(finished)["state"] == "finished"
        local = running.submit(diverging.as_local())
        failed = running.submit(diverging)
        for run in (local, failed):
            ended = federation.finish(run)
            assert (ended["state"], ended["code"]) == ("failed", "not_finite")
    collect(federation, secrets)
    return Evidence(federation, secrets, seen, finished, failed)


def test_the_search_finds_what_is_there(evidence: Evidence) -> None:
    federation, secrets = evidence.federation, evidence.secrets
    assert "a word in the rows" in secrets.found_in((federation.north.directory / "access.log").read_bytes())
    key = federation.north.home / "keys" / "signing.key"
    for spelling in (key.read_bytes(), base64.b64encode(key.read_bytes()), key.read_bytes().hex().encode()):
        assert secrets.found_in(b"x" + spelling + b"x") == {str(key)}
    assert sum(path.endswith("run.key") for path in secrets.known) >= 1
    assert len(secrets.known) > 20


def test_no_log_has_a_secret_or_a_row(evidence: Evidence) -> None:
    logs = [path for path in evidence.federation.root.rglob("*.log*") if path.name != "access.log"]
    logs = [path for path in logs if path.is_file() and path.name != "today.log"]
    assert len(logs) >= 8
    assert any("Work ended with not_finite" in path.read_text(errors="replace") for path in logs)
    assert nothing_in(evidence, logs)


def test_no_process_shows_a_secret_in_its_arguments_or_variables(evidence: Evidence) -> None:
    seen = evidence.seen
    assert any(b"fedcore.owner.worker" in arguments for arguments in seen.arguments)
    assert any(b"FEDCORE_OWNER_HOME=" in variables for variables in seen.variables)
    for content in seen.arguments | seen.variables:
        assert evidence.secrets.found_in(content) == set(), content[:200]


def test_brokers_carry_names_and_numbers_only(evidence: Evidence) -> None:
    federation = evidence.federation
    some = [federation.cast.operator, *federation.cast.hosts]
    files = [path for one in some for path in (one.home / "broker").rglob("*.aof")]
    tasks = b"".join(path.read_bytes() for path in files)
    assert b"fedcore.prepare" in tasks
    assert b"fedcore.runs.train" in tasks
    assert nothing_in(evidence, files)


def test_the_coordinator_has_no_key_no_password_and_no_row(evidence: Evidence) -> None:
    home = evidence.federation.cast.operator.home
    own = {home / "keys" / "signing.key", home / "keys" / "django.key", home / "broker" / "password"}
    files = [path for path in home.rglob("*") if path.is_file() and path not in own]
    assert any(path.name == "coordinator.sqlite3" for path in files)
    files = [path for path in files if path.name != "broker.conf"]
    assert nothing_in(evidence, files)


def test_no_organisation_has_a_secret_or_a_row_of_another(evidence: Evidence) -> None:
    cast = evidence.federation.cast
    for organisation in cast.organisations:
        shared = {
            what for what in evidence.secrets.known if what.endswith("run.key") or what.endswith("rows")
        }
        own = {what for what in evidence.secrets.known if what.startswith(str(organisation.directory))}
        for path in organisation.directory.rglob("*"):
            if path.is_file():
                found = evidence.secrets.found_in(path.read_bytes()) - own - shared
                assert found <= own_texts(evidence, organisation.name), path


def test_error_replies_repeat_nothing_that_was_sent_or_is_kept(evidence: Evidence) -> None:
    federation = evidence.federation
    run = evidence.failed
    token = federation.session("sam")._http.token or ""
    with httpx.Client(base_url=federation.url, headers={"Authorization": f"Token {token}"}) as http:
        replies = [
            http.post("/api/login", json={"username": "sam", "password": GUESS}),
            http.post("/api/login", content=b'{"username": "sam", "password": "' + GUESS.encode()),
            http.post("/api/runs", json={"text": GUESS, "signer": GUESS, "signature": GUESS}),
            http.post(
                "/api/requests", json={"text": token, "signer": "A" * 43, "signature": "A" * 86 + "=="}
            ),
            http.get(f"/api/runs/{run}"),
            http.get(f"/api/runs/{run}/report"),
            http.get(f"/api/runs/{run}/model"),
            http.get("/api/host/orders", headers={"Fedcore-Key": "A" * 43, "Fedcore-Signature": GUESS}),
            http.get("/api/nothing"),
            http.get("/admin/nothing"),
        ]
    secrets = evidence.secrets
    secrets.add_text("the guess", GUESS)
    for reply in replies:
        assert secrets.found_in(reply.content) == set(), (reply.url, reply.text[:300])
        assert "Traceback" not in reply.text
    home = federation.cast.operator
    kept = [home.home / "coordinator.sqlite3", home.home / "coordinator.sqlite3-wal", *home.log.glob("*.log")]
    assert nothing_in(evidence, [path for path in kept if path.exists()])


def nothing_in(evidence: Evidence, files: list[Path]) -> bool:
    """Whether no file has a secret. Fails with the file and the secret's name."""
    for path in files:
        with suppress(FileNotFoundError):
            assert evidence.secrets.found_in(path.read_bytes()) == set(), path
    return True


def own_texts(evidence: Evidence, organisation: str) -> set[str]:
    """Tokens lie with the person whose they are."""
    people = evidence.federation.cast.people
    return {f"token of {one.username}" for one in people if one.organisation == organisation}


def collect(federation: Federation, secrets: Secrets) -> None:
    """Every secret that exists: keys, passwords of brokers and people, tokens, and a word in the rows."""
    for path in [*federation.root.rglob("*.key"), *federation.root.glob("*/home/broker/password")]:
        secrets.add_key(path)
    for person in federation.cast.people:
        secrets.add_text(f"password of {person.username}", person.password)
        session = federation.root / person.organisation / "people" / person.username / "session.json"
        if session.exists():
            secrets.add_text(f"token of {person.username}", json.loads(session.read_text())["token"])
    secrets.add_text("a word in the rows", CANARY)


@contextmanager
def watched(federation: Federation) -> Iterator[Seen]:
    """Arguments and variables of all processes, also of those that live for some milliseconds."""
    seen, over = Seen(), threading.Event()

    def look() -> None:
        while not over.is_set():
            for pid in pids_below(federation.root):
                with suppress(OSError):
                    seen.arguments.add(Path(f"/proc/{pid}/cmdline").read_bytes())
                    seen.variables.add(Path(f"/proc/{pid}/environ").read_bytes())
            time.sleep(0.03)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@contextmanager
def keys_of_runs(federation: Federation, secrets: Secrets) -> Iterator[None]:
    """Note the keys of runs as they appear: they are deleted when a run fails."""
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for path in federation.root.glob("*/home/runs/*/*.key"):
                with suppress(OSError):
                    if path.stat().st_size == 32:
                        secrets.add_key(path)
            time.sleep(0.02)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
