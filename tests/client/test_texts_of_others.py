"""What others wrote does nothing to the terminal: no markup, no control characters, and no line of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from fedcore.client import Session, terminal
from fedcore.client.catalogue import Dataset, Version
from fedcore.client.catalogue_tables import show_dataset, show_dry_run
from fedcore.client.cli import app
from fedcore.client.comparison import Comparison

from .conftest import URL, FakeCoordinator, dataset, refusal
from .test_request_commands import REQUEST

WORDS = "[/] [link=http://evil.example]"
EVIL = f"{WORDS}\x1b[31m\x07\x9b2J\u202e\nLast login"
RUN = {"id": "ab" * 32, "title": "One", "protocol": "pooled", "state": "finished", "message": "Done."}
NOTICE = {"id": 1, "about": "request", "text": "Asked.", "created_at": "2027-01-01T10:00", "read_at": None}
TRIAL = {
    **{"pipeline": 0, "backend": "keyed_tokens", "model": "linear", "kind": "matrix", "columns": 64},
    **{"passes": False, "feature_bytes": 1, "plaintext_bytes": 2, "accuracy": None, "f1": None},
    "problem": "It fails.",
}
Fedcore = Callable[..., Result]


@pytest.fixture
def fedcore(coordinator: FakeCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fedcore:
    """Run `fedcore` as somebody with a wide terminal."""
    session = Session(URL, tmp_path / "home", httpx.MockTransport(coordinator))
    session.log_in("sam", "correct horse battery")
    monkeypatch.setattr(terminal, "open_session", lambda url=None: session)
    for console in (terminal.console, terminal.errors):
        monkeypatch.setattr(console, "width", 400)
    return lambda *words: CliRunner().invoke(app, list(words))


def check(result: Result, status: int = 0) -> None:
    """The words are there as they were written, and nothing else of it is."""
    assert result.exit_code == status, (result.exception, result.output)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    check_text(result.output)


def check_text(text: str) -> None:
    assert WORDS in text
    assert not [mark for mark in "\x1b\x07\x9b\u202e" if mark in text]
    assert not [line for line in text.splitlines() if line.strip(" │").startswith("Last login")]


@pytest.mark.parametrize("field", ["title", "protocol", "state", "message"])
def test_in_the_list_of_runs(fedcore: Fedcore, coordinator: FakeCoordinator, field: str) -> None:
    coordinator.runs = [RUN | {field: EVIL}]
    check(fedcore("runs"))


@pytest.mark.parametrize("field", ["about", "text"])
def test_in_notices(fedcore: Fedcore, coordinator: FakeCoordinator, field: str) -> None:
    coordinator.answers["GET", "/api/notices"] = lambda _: httpx.Response(200, json=[NOTICE | {field: EVIL}])
    check(fedcore("notices"))


@pytest.mark.parametrize("field", ["host_name", "dataset", "requested_by", "state", "decision_reason"])
def test_in_the_list_of_requests(fedcore: Fedcore, coordinator: FakeCoordinator, field: str) -> None:
    coordinator.requests = [REQUEST | {field: EVIL}]
    check(fedcore("requests"))


@pytest.mark.parametrize(
    "field",
    [
        *("host_name", "dataset", "state", "requested_by", "organisation", "purpose"),
        *(
            "protocols.0",
            "backends.0",
            "models.0",
            "thread.0.person",
            "thread.0.said",
            "thread.0.text",
            "may.0",
        ),
    ],
)
def test_in_one_request(fedcore: Fedcore, coordinator: FakeCoordinator, field: str) -> None:
    shown = changed(REQUEST, field)
    coordinator.requests = [dict(REQUEST)]
    coordinator.answers["GET", f"/api/requests/{REQUEST['digest']}"] = lambda _: httpx.Response(
        200, json=shown
    )
    check(fedcore("requests", "show", str(REQUEST["digest"])[:6]))


@pytest.mark.parametrize(
    "field",
    [
        *("host_name", "organisation", "name", "title", "description", "reader", "licence", "terms", "price"),
        *("sensitivity", "contact", "retention", "columns.0", "classes.0"),
    ],
)
def test_in_a_dataset(field: str) -> None:
    console = terminal.Console(record=True, width=400)
    found = Dataset.of(changed(dataset("north", "key"), field))
    show_dataset(found, [Version("ab" * 32, 5, "2027-01-01", "2027-01-01")], console)
    check_text(console.export_text())


@pytest.mark.parametrize("field", ["host_name", "name", "title", "reader", "sensitivity"])
def test_in_the_catalogue(fedcore: Fedcore, coordinator: FakeCoordinator, field: str) -> None:
    listed = [changed(dataset("north", "key"), field)]
    coordinator.answers["GET", "/api/datasets"] = lambda _: httpx.Response(200, json=listed)
    check(fedcore("datasets"))


@pytest.mark.parametrize(
    "field", ["remark", "trials.0.backend", "trials.0.model", "trials.0.kind", "trials.0.problem"]
)
def test_in_a_dry_run(field: str) -> None:
    console = terminal.Console(record=True, width=400)
    show_dry_run(changed({"trials": [TRIAL], "remark": "One more."}, field), console)
    check_text(console.export_text())


@pytest.mark.parametrize(
    "field", ["owners.0.host_name", "backend.name", "backend.leakage.0", "backend.trust.0"]
)
def test_in_a_comparison(reports: list[dict[str, Any]], field: str) -> None:
    console = terminal.Console(record=True, width=400)
    Comparison([changed(reports[2], field)]).show(console)
    text = console.export_text()
    check_text(text)


@pytest.mark.parametrize("field", ["title", "text"])
def test_in_the_progress_of_a_run(fedcore: Fedcore, coordinator: FakeCoordinator, field: str) -> None:
    coordinator.runs = [RUN | ({"title": EVIL} if field == "title" else {})]
    event = {"serial": 1, "at": "2027-01-01T10:00", "state": "finished", "progress": 1.0}
    coordinator.events = [[event | {"text": EVIL if field == "text" else "Done."}]]
    result = fedcore("follow", "abab")
    assert result.exit_code == 0, result.exception
    assert "\u202e" not in result.output
    assert "\x07" not in result.output
    if field == "title":
        assert WORDS in result.output


@pytest.mark.parametrize("field", ["code", "detail"])
def test_in_an_error(fedcore: Fedcore, coordinator: FakeCoordinator, field: str) -> None:
    said = {"code": "refused", "detail": "No."} | {field: EVIL}
    coordinator.answers["GET", "/api/runs"] = lambda _: refusal(400, said["code"], said["detail"])
    check(fedcore("runs"), status=1)


def test_in_the_list_of_mistakes(fedcore: Fedcore, coordinator: FakeCoordinator) -> None:
    coordinator.answers["GET", "/api/runs"] = lambda _: refusal(400, "refused", "No.", [EVIL, "Second."])
    result = fedcore("runs")
    check(result, status=1)
    assert "\n  - Second." in result.output


def test_of_the_person_who_is_logged_in(fedcore: Fedcore, coordinator: FakeCoordinator) -> None:
    coordinator.answers["GET", "/api/me"] = lambda _: httpx.Response(200, json={"username": EVIL})
    check(fedcore("whoami"))


def changed(value: Mapping[str, Any], field: str) -> dict[str, Any]:
    """A copy in which one field, such as `thread.0.text`, is the evil text."""
    copied: Any = copy.deepcopy(dict(value))
    *way, last = field.split(".")
    place = copied
    for name in way:
        place = place[int(name)] if name.isdigit() else place[name]
    place[int(last) if last.isdigit() else last] = EVIL
    return dict(copied)
