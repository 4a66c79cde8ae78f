"""Sam's client against a coordinator made of plain functions: no network, no Django."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from fedcore.client import RunPlan, Session, terminal
from fedcore.client.cli import app
from fedcore.wire.catalogue import MockSample
from fedcore.wire.keys import HostCard, SealingKey, SigningKey
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Pipeline, PluginChoice

URL = "https://coordinator.example.org"
VERSION = "ab" * 32
OLGAS_HOST, OTTOS_HOST, NOTARY = (SigningKey.generate().public for _ in range(3))

MOCK = MockSample(
    columns={"target": ("/a", "/b?x=1,2"), "agent": ('say "hi"', "-")},
    classes=("benign", "attack"),
    labels=(0, 1),
)
MOCK_BYTES = MOCK.encode().encode()
MOCK_DIGEST = hashlib.sha256(MOCK_BYTES).hexdigest()

PLAN = """
title = "Detector"
purpose = "security-research"
protocol = "pooled"
backend = {name = "keyed_tokens"}
pipeline = [{name = "fields", options = {names = ["target"]}}, {name = "words"}]
minimum_owners = 2
[training]
epochs = 3
"""
BOTH = ("--dataset", "north/access-2026", "--dataset", "south/access-2026")

Answer = Callable[[httpx.Request], httpx.Response]


class FakeCoordinator:
    """Answers like a coordinator. `answers[(method, path)]` replaces one answer; `seen` keeps all requests."""

    def __init__(self) -> None:
        self.passwords = {"sam": "correct horse battery", "eve": "eve's password"}
        self.keys: list[dict[str, str]] = []
        self.requests: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.events: list[list[dict[str, Any]]] = []
        self.answers: dict[tuple[str, str], Answer] = {}
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        path = request.url.path
        own = self.answers.get((request.method, path))
        if own is not None:
            return own(request)
        if path == "/api/login":
            return self._login(json.loads(request.content))
        if not request.headers.get("Authorization", "").startswith("Token token-of-"):
            return refusal(401, "authentication_failed", "No.")
        return self._for_people(request.method, path.removeprefix("/api/"), request)

    def _login(self, given: dict[str, str]) -> httpx.Response:
        if self.passwords.get(given["username"]) != given["password"]:
            return refusal(401, "authentication_failed", "Wrong username or password.")
        return httpx.Response(200, json={"token": f"token-of-{given['username']}", "expiry": "2026-01-01"})

    def _for_people(self, method: str, path: str, request: httpx.Request) -> httpx.Response:
        simple: dict[tuple[str, str], Any] = {
            ("GET", "me"): {"username": "sam", "organisation": "university", "roles": ["data_scientist"]},
            ("GET", "keys"): self.keys,
            ("GET", "datasets"): [dataset("north", OLGAS_HOST), dataset("south", OTTOS_HOST)],
            ("GET", "hosts"): [host("north", OLGAS_HOST), host("notary", NOTARY, True)],
            ("GET", "requests"): self.requests,
            ("GET", "runs"): self.runs,
        }
        if (method, path) in simple:
            return httpx.Response(200, json=simple[method, path])
        if (method, path) == ("POST", "keys"):
            self.keys.append(json.loads(request.content))
            return httpx.Response(201, json={})
        if (method, path) == ("POST", "logout"):
            return httpx.Response(204)
        if method == "POST" and path in ("requests", "runs"):
            return httpx.Response(201, json={"digest": Signed.parse(request.content).digest})
        if path.endswith("/wait"):
            return httpx.Response(200, json=self._wait(int(request.url.params["after"])))
        found = [run for run in self.runs if path == f"runs/{run['id']}"]
        return httpx.Response(200, json=found[0]) if found else refusal(404, "not_found", "Not found.")

    def _wait(self, after: int) -> dict[str, Any]:
        coming = [event for some in self.events for event in some if event["serial"] > after]
        state = coming[0]["state"] if coming else self.runs[0]["state"]
        return {"events": coming[:1], "state": state}


def refusal(status: int, code: str, detail: str, problems: list[str] | None = None) -> httpx.Response:
    body: dict[str, Any] = {"code": code, "detail": detail}
    listed = [{"code": code, "detail": problem} for problem in problems or ()]
    return httpx.Response(status, json=body | ({"problems": listed} if listed else {}))


def dataset(host_name: str, key: str) -> dict[str, Any]:
    return {
        "host": key,
        "host_name": host_name,
        "host_card": str(HostCard(key, SealingKey.generate().public)),
        "organisation": f"{host_name}-house",
        "name": "access-2026",
        "version": VERSION,
        "title": "Access log",
        "description": "",
        "reader": "apache_combined",
        "columns": ["target", "agent"],
        "classes": ["benign", "attack"],
        "rows": 12000,
        "column_kinds": {"target": "text"},
        "column_notes": {"target": "path and query"},
        "licence": "CC BY-NC 4.0",
        "terms": "Name us.",
        "sensitivity": "confidential",
        "price": "",
        "contact": f"data-office@{host_name}.example",
        "retention": "2027-12-31",
        "mock": MOCK_DIGEST if host_name == "north" else None,
        "announced_at": "2026-01-01T00:00:00Z",
    }


def host(name: str, key: str, reference: bool = False) -> dict[str, Any]:
    card = str(HostCard(key, SealingKey.generate().public))
    return {
        "name": name,
        "organisation": f"{name}-house",
        "card": card,
        "is_reference": reference,
        "is_dealer": False,
    }


@pytest.fixture
def coordinator() -> FakeCoordinator:
    return FakeCoordinator()


@pytest.fixture
def stranger(coordinator: FakeCoordinator, tmp_path: Path) -> Session:
    """A session of somebody who has not logged in."""
    return Session(URL, tmp_path / "home", httpx.MockTransport(coordinator))


@pytest.fixture
def sam(stranger: Session) -> Session:
    """Sam, logged in."""
    stranger.log_in("sam", "correct horse battery")
    return stranger


@pytest.fixture
def fedcore(coordinator: FakeCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `fedcore` as Sam, who has a home of their own, against the fake coordinator."""
    transport = httpx.MockTransport(coordinator)
    monkeypatch.setattr(terminal, "open_session", lambda url=None: Session(URL, tmp_path / "home", transport))
    monkeypatch.setenv("FEDCORE_PASSWORD", "correct horse battery")
    monkeypatch.setattr(terminal.console, "width", 200)
    (tmp_path / "plan.toml").write_text(PLAN)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    assert run("login", URL, "--username", "sam").exit_code == 0
    return run


@pytest.fixture
def plan() -> RunPlan:
    steps = (PluginChoice(name="fields", options={"names": ["target"]}), PluginChoice(name="words"))
    return RunPlan(title="Detector", purpose="security-research", pipeline=Pipeline(steps=steps))


@pytest.fixture
def reports() -> list[dict[str, Any]]:
    """The reports of a local, a reference and a pooled run, made up."""
    return [report("local", "plaintext"), report("reference", "plaintext"), report("pooled", "keyed_tokens")]


def report(protocol: str, backend: str) -> dict[str, Any]:
    better = {"local": 0.0, "reference": 0.04, "pooled": 0.037}[protocol]
    owners = [_owner("north", protocol, better), _owner("south", protocol, better - 0.01)]
    steps = 400 if protocol != "local" else 0
    return {
        "run": {"local": "1", "reference": "2", "pooled": "3"}[protocol] * 64,
        "title": f"Detector, {protocol}",
        "protocol": protocol,
        "backend": {
            "name": backend,
            "pseudonymised": backend == "keyed_tokens",
            "leakage": [] if protocol == "local" else ["how many rows there are", "which tokens are equal"],
            "trust": []
            if protocol == "local"
            else ["Any owner together with the coordinator can test guesses."],
        },
        "model": "linear",
        "pipeline": [{"name": "words", "options": {}}],
        "owners": owners,
        "metrics": metrics(0.90 + better, 12_000),
        "training": {
            "rows": 28_000,
            "epochs": 4,
            "steps": steps,
            "every": 1,
            "loss": [0.7 / (1 + step / 40) + 0.05 * (step % 3) for step in range(steps)],
            "accuracy": [min(1.0, 0.9 + 0.0002 * step) for step in range(steps)],
        },
        "seconds": {
            "check": 0.2,
            "prepare": 1.1,
            "train": 3.0,
            "evaluate": 0.8,
            "total": 6.5,
            "computing": 5.0,
            "overhead": 1.5,
        },
        "privacy": {"epsilon": "none"},
        "created_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:00:07Z",
    }


def metrics(f1: float, rows: int) -> dict[str, Any]:
    attacks = rows // 25
    hit = round(attacks * f1)
    return {
        "rows": rows,
        "accuracy": 1 - 2 * (attacks - hit) / rows,
        "balanced_accuracy": 0.97,
        "precision": f1,
        "recall": f1,
        "f1": f1,
        "roc_auc": 0.95 + f1 / 20,
        "average_precision": f1,
        "majority_accuracy": 0.96,
        "majority_f1": 0.0,
        "confusion": [[rows - attacks - (attacks - hit), attacks - hit], [attacks - hit, hit]],
        "roc": [[x / 50, (x / 50) ** (1 - f1)] for x in range(51)],
        "precision_recall": [[x / 50, 1 - (x / 50) ** (8 * f1) / 2] for x in range(51)],
    }


def _owner(name: str, protocol: str, better: float) -> dict[str, Any]:
    return {
        "host_name": name,
        "organisation": f"{name}-house",
        "dataset": "access-2026",
        "version": VERSION,
        "rows_trained": 14_000,
        "rows_held_out": 6_000,
        "bytes_sent": 0 if protocol == "local" else 5_000_000,
        "plaintext_bytes": 0 if protocol == "local" else 2_500_000,
        "seconds": {"prepare.steps": 0.4},
        "training": None,
        "privacy": {"epsilon": "none"},
        "metrics": metrics(0.89 + better, 6_000),
    }
