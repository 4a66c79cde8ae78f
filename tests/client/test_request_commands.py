"""`fedcore requests …` and `fedcore notices`: what is sent, and what people read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from fedcore.client import Session, terminal
from fedcore.client.cli import app
from fedcore.wire.access import AccessRequest
from fedcore.wire.signing import Signed

from .conftest import OLGAS_HOST, URL, VERSION, FakeCoordinator

DIGEST = "cd" * 32
LIMITS = {
    "protocols": ["local", "pooled"],
    "backends": ["keyed_tokens"],
    "models": ["linear"],
    "epsilon_micro": "none",
    "releases": 5,
    "minimum_owners": 2,
    "expires_at": "2027-12-31T12:00:00Z",
    "download": True,
}
REQUEST = {
    **LIMITS,
    "digest": DIGEST,
    "state": "approved",
    "expired": False,
    "host": OLGAS_HOST,
    "host_name": "north",
    "dataset": "access-2026",
    "version": VERSION,
    "requested_by": "sam",
    "organisation": "university",
    "purpose": "security-research",
    "pipelines": [{"steps": [{"name": "words", "options": {}}]}],
    "delta": 0.0,
    "decision_reason": "",
    "first_approval": None,
    "grant": LIMITS | {"releases": 2, "releases_used": 1, "epsilon_micro": 500_000, "download": False},
    "thread": [
        {"said": "question", "person": "olga", "text": "Why [all] of it?", "at": "2027-01-01T10:00:00Z"},
        {"said": "approved", "person": "olga", "text": "", "at": "2027-01-02T10:00:00Z"},
    ],
    "may": ["withdraw"],
}


@pytest.fixture
def fedcore(coordinator: FakeCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `fedcore` as Sam; one request is known, and every decision about it is taken."""
    transport = httpx.MockTransport(coordinator)
    session = Session(URL, tmp_path / "home", transport)
    session.log_in("sam", "correct horse battery")
    monkeypatch.setattr(terminal, "open_session", lambda url=None: session)
    monkeypatch.setattr(terminal.console, "width", 160)
    coordinator.requests = [REQUEST]
    coordinator.answers["GET", f"/api/requests/{DIGEST}"] = lambda _: httpx.Response(200, json=REQUEST)
    for decision in ("approve", "tighten", "ask", "refuse", "revoke", "answer", "withdraw"):
        coordinator.answers["POST", f"/api/requests/{DIGEST}/{decision}"] = lambda _: httpx.Response(
            200, json=REQUEST | {"state": "asked_back"}
        )

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    return run


def sent(coordinator: FakeCoordinator) -> tuple[str, Any]:
    """The last decision that was posted: what, and with which terms."""
    last = [seen for seen in coordinator.seen if seen.method == "POST"][-1]
    return last.url.path.rpartition("/")[2], json.loads(last.content)


def test_show_puts_what_was_asked_and_granted_side_by_side_and_what_was_said(fedcore: Any) -> None:
    output = fedcore("requests", "show", "cd").output
    for words in (
        "north/access-2026, approved",
        "local, pooled",
        "Why [all] of it?",
        "olga (approved)",
        "You may: withdraw",
        "0.5",
    ):
        assert words in output


@pytest.mark.parametrize(
    ("words", "decision", "terms"),
    [
        (("answer", "cd", "Half is enough."), "answer", {"text": "Half is enough."}),
        (("withdraw", "cd", "--reason", "Done."), "withdraw", {"reason": "Done."}),
        (("ask", "cd", "Why?"), "ask", {"text": "Why?"}),
        (("refuse", "cd", "--reason", "No."), "refuse", {"reason": "No."}),
        (("revoke", "cd", "--reason", "Enough."), "revoke", {"reason": "Enough."}),
        (("approve", "cd"), "approve", {"reason": ""}),
        (
            ("approve", "cd", "--releases", "2", "--protocol", "local", "--no-download", "--epsilon", "0.5"),
            "approve",
            {
                **{"reason": "", "releases": 2, "protocols": ["local"]},
                **{"download": False, "epsilon_micro": 500_000},
            },
        ),
        (
            ("tighten", "cd", "--reason", "Less.", "--minimum-owners", "3", "--until", "2027-06-30"),
            "tighten",
            {"reason": "Less.", "minimum_owners": 3, "expires_at": "2027-06-30T23:59:59+00:00"},
        ),
    ],
)
def test_a_decision_is_sent_with_the_terms_that_were_named_and_no_others(
    fedcore: Any, coordinator: FakeCoordinator, words: tuple[str, ...], decision: str, terms: dict[str, Any]
) -> None:
    result = fedcore("requests", *words)
    assert result.exit_code == 0, result.output
    assert sent(coordinator) == (decision, terms)
    assert "The request is asked back." in result.output


def test_a_day_that_is_none_is_refused(fedcore: Any) -> None:
    result = fedcore("requests", "approve", "cd", "--until", "tomorrow")
    assert result.exit_code == 1
    assert "'tomorrow' is no day such as 2027-12-31." in result.output


def test_a_renewal_is_the_same_request_for_another_period_and_number_of_runs(
    fedcore: Any, coordinator: FakeCoordinator
) -> None:
    result = fedcore("requests", "renew", "cd", "--days", "10", "--releases", "3", "--reason", "Once more.")
    assert result.exit_code == 0, result.output
    posted = [seen for seen in coordinator.seen if (seen.method, seen.url.path) == ("POST", "/api/requests")]
    asked = AccessRequest.parse(Signed.parse(posted[-1].content).text)
    assert (asked.replaces, asked.releases, asked.reason) == (DIGEST, 3, "Once more.")
    assert [step.name for pipeline in asked.pipelines for step in pipeline.steps] == ["words"]
    assert (asked.minimum_owners, asked.download, list(asked.protocols)) == (2, True, ["local", "pooled"])


def test_notices_are_listed_and_marked_as_read_when_that_is_asked_for(
    fedcore: Any, coordinator: FakeCoordinator
) -> None:
    item = {
        "id": 1,
        "about": "question",
        "text": "olga asks [you] something.",
        "created_at": "2027-01-01T10:00",
    }
    found = [item | {"read_at": None}]
    coordinator.answers["GET", "/api/notices"] = lambda _: httpx.Response(200, json=found)
    coordinator.answers["POST", "/api/notices/read"] = lambda _: httpx.Response(200, json={"marked": 1})
    assert "olga asks [you] something." in fedcore("notices").output
    assert not any(seen.url.path == "/api/notices/read" for seen in coordinator.seen)
    assert "1 marked as read." in fedcore("notices", "--read").output
