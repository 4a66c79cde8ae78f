"""Secrets and rows stay where they belong, after real runs over processes, some of which fail on purpose.

Looked for are keys, passwords, tokens, the keys of browsers' sessions, the secret and the recovery codes of a second
factor, a link by which a password is set, passwords in the options of a reader, and a word that stands in the owners'
rows, in every spelling that a program could give them. Looked through are the places of `tests.faults.places`; that
the search finds something there is shown by a canary that is planted in a copy of each.
"""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from examples.demo.organisations import PURPOSE
from fedcore.wire.spec import PluginChoice
from tests.faults import places, vault
from tests.faults.conftest import CANARY, Running
from tests.faults.federation import Federation
from tests.faults.known_secrets import Secrets, spellings
from tests.faults.places import PLACES, Place, Searched
from tests.faults.visiting import Visitor, answers_of, error_replies, pages_of
from tests.faults.watching import Seen, family, watched

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("federation")]

GUESS: Final = "a-wrong-password-5e81"


@dataclass
class Evidence:
    """What is left of some runs: the secrets that were there, and all that is looked through."""

    federation: Federation
    secrets: Secrets
    searched: Searched


@pytest.fixture(scope="module")
def evidence(running: Running) -> Iterator[Evidence]:
    federation = running.federation
    federation.write_policy(federation.north, vault.with_datasets)
    try:
        yield gathered(running)
    finally:
        federation.write_policy(federation.north)


def gathered(running: Running) -> Evidence:
    """Runs are made and people visit the coordinator, while somebody watches."""
    federation, secrets, root = running.federation, Secrets(), running.federation.root
    kept, failed = root.parent / "kept", ("failed", "not_finite")
    with watched(root, federation.cast.operator.home / "artefacts", kept) as seen:
        runs = [running.submit(plan) for plan in plans_that_end_differently(running)]
        visitors = visit(federation, secrets)
        runs.append(run_in_the_vault(federation))
        ends = [(end["state"], end["code"]) for end in map(federation.finish, runs)]
        assert ends == [("finished", ""), failed, failed, ("finished", "")]
    collect(federation, secrets, seen)
    searched = Searched(root, kept, Path(federation.variables["TMPDIR"]), seen)
    ask_for_everything(federation, searched, visitors, runs)
    return Evidence(federation, secrets, searched)


@pytest.fixture(scope="module")
def copy(evidence: Evidence, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """A copy of all that is looked through, to plant something in."""
    place, real = tmp_path_factory.mktemp("copy"), evidence.searched

    def copied(folder: Path) -> Path:
        found = shutil.copytree(folder, place / folder.name, ignore=sockets, copy_function=copy_if_there)
        for database in Path(found).rglob("*.sqlite*"):
            if database.suffix in (".sqlite", ".sqlite3"):
                copy_database(folder / database.relative_to(found), database)
        return Path(found)

    return Searched(copied(real.root), copied(real.kept), copied(real.temporary))


def sockets(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if (Path(folder) / name).is_socket()}


def copy_if_there(source: str, target: str) -> None:
    with suppress(FileNotFoundError):  # The processes go on, and so do their files.
        shutil.copy2(source, target)


def copy_database(source: Path, target: Path) -> None:
    """As it is at one moment, whatever is written to it meanwhile."""
    for path in target.parent.glob(f"{target.name}*"):
        path.unlink()
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as written:
        read.backup(written)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_no_secret_and_no_row_is_in(evidence: Evidence, place: Place) -> None:
    pieces = list(place.pieces(evidence.searched))
    whole = b"\n".join(content for _, content in pieces)
    assert [word for word in place.proof if word.encode() not in whole] == [], "it is another place"
    found = {name: evidence.secrets.found_in(content) for name, content in pieces}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_a_planted_canary_is_found_in(copy: Searched, place: Place) -> None:
    canary, secrets = places.canary(), Secrets()
    secrets.add("the canary", canary)
    expected = set(place.plant(copy, canary))
    assert expected
    found = {name for name, content in place.pieces(copy) if secrets.found_in(content)}
    assert expected - found == set()


@pytest.mark.parametrize(
    "raw", [b"kanarienvogel-7", bytes(range(130, 162)), b"with\"quotes'<&+/=", b"\xff" * 20]
)
def test_a_secret_is_found_in_every_spelling_and_inside_of_something_else(raw: bytes) -> None:
    secrets = Secrets()
    secrets.add("it", raw)
    for before in range(4):
        around = b"x" * before + raw + b"yz"
        for spelled in (
            around,
            base64.b64encode(around),
            base64.urlsafe_b64encode(around),
            around.hex().encode(),
            repr(around).encode(),
            packed(around),
        ):
            assert secrets.found_in(b"--" + spelled + b"--") == {"it"}, spelled
    assert secrets.found_in(b"--" + raw[:-1] + b"--" + raw[1:] + b"--") == set()
    assert all(len(one) >= 8 for one in spellings(raw))


def packed(content: bytes) -> bytes:
    """As Django packs what it signs."""
    from django.core import signing

    text = content.decode("latin-1") + " " * 200
    return signing.dumps({"it": text}, key="k" * 50, compress=True).encode()


def test_the_search_finds_what_is_there(evidence: Evidence) -> None:
    federation, secrets = evidence.federation, evidence.secrets
    assert "a word in the rows" in secrets.found_in((federation.north.directory / "access.log").read_bytes())
    policy = (federation.north.home / "owner.toml").read_bytes()
    assert {f"password of {name}" for name in ("vault", *vault.OTHERS)} <= secrets.found_in(policy)
    key = federation.north.home / "keys" / "signing.key"
    assert secrets.found_in(b"x" + key.read_bytes() + b"x") == {str(key)}
    assert sum(path.endswith("run.key") for path in secrets.known) >= 2
    assert len(secrets.known) > 40


def test_no_core_file_is_left_and_no_process_would_leave_one(evidence: Evidence) -> None:
    assert list(places.core_files(evidence.searched)) == []
    limits = [(folder / "limits").read_text() for folder in family(evidence.federation.root)]
    assert len(limits) > 8
    assert {line.split()[4] for text in limits for line in text.splitlines() if "core file" in line} == {"0"}


def test_no_organisation_has_a_secret_or_a_row_of_another(evidence: Evidence) -> None:
    secrets = evidence.secrets
    shared = {what for what in secrets.known if what.endswith(("run.key", "rows"))}
    for organisation in evidence.federation.cast.organisations:
        own = {what for what, name in secrets.of.items() if name == organisation.name}
        for path in organisation.directory.rglob("*"):
            if path.is_file():
                assert secrets.found_in(path.read_bytes()) - own - shared == set(), path


# -- runs and visits


def plans_that_end_differently(running: Running) -> list[Any]:
    """One that finishes, and two whose numbers grow beyond all bounds: at the owners, and at the coordinator."""
    federation = running.federation
    sgd = PluginChoice(name="sgd", options={"lr": 3e38})
    training = federation.training().model_copy(update={"optimiser": sgd, "epochs": 3})
    diverging = federation.plan(training=training)
    return [running.pooled, diverging.as_local(), diverging]


def run_in_the_vault(federation: Federation) -> str:
    """Sam's run on the lines that are read with a password."""
    sam, olga = federation.session("sam"), federation.session("olga")
    plan = federation.plan(pipeline=federation.pipeline("request")).as_local()

    def offered() -> Any:
        return next(dataset for dataset in sam.datasets() if dataset.name == "vault")

    dataset = federation.until("the vault is offered", offered, 60)
    grant = sam.request_access(dataset, [plan], purpose=PURPOSE, releases=5)
    olga.decide(grant, "approve", reason="For the tests.")
    return str(sam.submit(plan, [dataset], [grant]))


def visit(federation: Federation, secrets: Secrets) -> dict[str, Visitor]:
    """People log in with a browser; Ada sets up a second factor, and Clara invites somebody."""
    visitors = {}
    for username in ("clara", "olga", "sam", "ada"):
        person = federation.cast.person(username)
        visitors[username] = visitor = Visitor(federation.url)
        visitor.log_in(username, person.password)
        secrets.add(f"first session of {username}", visitor.session_key)
    ada = federation.cast.person("ada")
    secret, codes = visitors["ada"].set_up_second_factor(ada.password)
    secrets.add("secret of the second factor", secret)
    secrets.add("bytes of the second factor", base64.b32decode(secret))
    for number, code in enumerate(codes):
        secrets.add(f"recovery code {number}", code)
        secrets.add(f"recovery code {number} without dashes", code.replace("-", ""))
    credentials = {"username": "ada", "password": ada.password, "otp": codes[0]}
    answer = httpx.post(f"{federation.url}/api/login", json=credentials, timeout=60)
    secrets.add("API token of ada", answer.json()["token"])
    link = visitors["clara"].invite("bill", "Cloud House")
    assert Visitor(federation.url).http.get(link).status_code == 200
    secrets.add("link of bill", link.split("/")[-2])
    for username, visitor in visitors.items():
        secrets.add(f"session of {username}", visitor.session_key)
    wrong = Visitor(federation.url)
    assert "csrfmiddlewaretoken" in wrong.log_in("nobody", GUESS)
    return visitors


def ask_for_everything(
    federation: Federation, searched: Searched, visitors: dict[str, Visitor], runs: list[str]
) -> None:
    """Pages and reports as those may see them who may, and replies to what is wrong."""
    for username, visitor in visitors.items():
        searched.pages.extend(pages_of(visitor, most=40 if username == "ada" else 15))
    reports = [f"/api/runs/{run}{part}" for run in (runs[0], runs[-1]) for part in ("", "/report", "/rights")]
    lists = [
        f"/api/{name}"
        for name in ("runs", "requests", "datasets", "hosts", "notices", "tokens", "keys", "me")
    ]
    for username in ("sam", "olga"):
        with api_of(federation, username) as http:
            searched.pages.extend(answers_of(http, [*lists, *(reports if username == "sam" else [])]))
    person = federation.cast.person("sam")
    with httpx.Client(base_url=federation.url, timeout=60) as http:
        answer = http.post("/api/login", json={"username": "sam", "password": person.password})
        searched.replies.extend(error_replies(http, answer.json()["token"], runs[2], GUESS))


def api_of(federation: Federation, username: str) -> httpx.Client:
    token = federation.session(username)._http.token or ""
    return httpx.Client(base_url=federation.url, headers={"Authorization": f"Token {token}"}, timeout=60)


def collect(federation: Federation, secrets: Secrets, seen: Seen) -> None:
    """Every secret that exists besides: keys, passwords of brokers and people, tokens, a word in the rows."""
    for organisation in federation.cast.organisations:
        for path in [*organisation.directory.rglob("*.key"), organisation.home / "broker" / "password"]:
            if path.is_file():
                secrets.add_file(path, organisation.name)
    for path, key in seen.keys.items():
        secrets.add(str(path), key, path.relative_to(federation.root).parts[0])
    for person in federation.cast.people:
        secrets.add(f"password of {person.username}", person.password)
        session = federation.root / person.organisation / "people" / person.username / "session.json"
        if session.exists():
            token = json.loads(session.read_text())["token"]
            secrets.add(f"API token of {person.username}", token, person.organisation)
    for name, password in {"vault": vault.PASSWORD, **vault.OTHERS}.items():
        secrets.add(f"password of {name}", password, federation.north.name)
    secrets.add("a wrong password", GUESS)
    secrets.add("a word in the rows", CANARY)
