"""A coordinator's real endpoint, asked by hosts and people whose keys the test holds; and all that it has stored.

Broker and web process run; the worker runs only while the runs are brought to where the test wants them. So nothing
moves by itself afterwards, and whatever differs between two snapshots came in through the endpoint.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from examples.demo.organisations import PURPOSE
from fedcore.plugin_api.evaluation import count_scores, to_evaluated
from fedcore.wire.access import AccessRequest, GrantStanding, Standing
from fedcore.wire.keys import HostCard, SealingKey, SigningKey
from fedcore.wire.orders import Order, Phase
from fedcore.wire.reports import (
    Announcement,
    Checked,
    DatasetOffer,
    Evaluated,
    Report,
    Status,
    Trained,
    TrainingCurve,
)
from fedcore.wire.requests import sign_request
from fedcore.wire.signing import Signed
from fedcore.wire.spec import DatasetVersion, Pipeline, PluginChoice, Protocol, RunSpec, Training
from tests.faults.federation import Federation, broker_at

VOLATILE: Final = {
    "governance_ownerhost": {"last_contact"},
    "governance_apitoken": {"last_used_at"},
    "governance_auditentry": None,
    "governance_audithead": None,
    "sqlite_sequence": None,
    "axes_accessattempt": None,
    "axes_accesslog": None,
}
"""What a refused request may leave: when a host or token was last seen, and wrong passwords.

And entries of the audit, which are looked at one by one: `Endpoint.audited`.
"""

NAMES: Final = ("north-hospital", "south-bank", "notary")


@dataclass
class Endpoint:
    """The endpoint with a site behind it: three hosts, Sam, Eve and the owners."""

    federation: Federation
    host_keys: dict[str, SigningKey] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    sam_key: SigningKey = field(default_factory=SigningKey.generate)
    grants: list[str] = field(default_factory=list)
    taken: list[tuple[str, bytes]] = field(default_factory=list)
    """Messages of north and Sam that were taken, by address."""

    def __post_init__(self) -> None:
        for name in NAMES:
            self.host_keys[name] = SigningKey.generate()
            card = HostCard(self.host_keys[name].public, SealingKey.generate().public)
            self.federation.cards[name] = str(card)
        self.federation.set_up_site()
        self.federation.start_coordinator("broker", "web")
        self.http = httpx.Client(base_url=self.federation.url, timeout=60)
        for username in ("sam", "olga", "otto", "clara"):
            self.tokens[username] = self._log_in(username)
        proof = base64.b64encode(self.sam_key.sign(b"fedcore/key/v1\0sam")).decode()
        answer = self.as_person(
            "sam", "POST", "/api/keys", {"public_key": self.sam_key.public, "signature": proof}
        )
        assert answer.status_code == 201, answer.text
        for name in NAMES[:2]:
            assert self.announce(name).status_code == 200
        self.grants = [self._granted(name) for name in NAMES[:2]]

    def _log_in(self, username: str) -> str:
        password = self.federation.cast.person(username).password
        answer = self.http.post("/api/login", json={"username": username, "password": password})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    # -- sending

    def as_host(
        self, name: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """A request that is signed with the host's key."""
        signed = sign_request(self.host_keys[name], method, path, body, int(time.time()))
        kind = {"Content-Type": "application/json"}
        return self.http.request(method, path, content=body, headers={**kind, **signed, **(headers or {})})

    def as_person(self, username: str, method: str, path: str, body: Any = None) -> httpx.Response:
        """A request with the person's token. `body` is sent as it is if it is bytes, else as JSON."""
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Token {self.tokens[username]}", "Content-Type": "application/json"}
        return self.http.request(method, path, content=content, headers=headers)

    def announce(self, name: str) -> httpx.Response:
        message = self.announcement(name)
        body = message.signed_by(self.host_keys[name]).encode().encode()
        if name == NAMES[0]:
            self.taken.append(("/api/host/announcements", body))
        return self.as_host(name, "POST", "/api/host/announcements", body)

    def upload(self, name: str, order: str, data: bytes) -> tuple[str, httpx.Response]:
        digest = hashlib.sha256(data).hexdigest()
        headers = {"Upload-Offset": "0", "Upload-Length": str(len(data))}
        return digest, self.as_host(name, "PATCH", f"/api/host/artefacts/{order}/{digest}", data, headers)

    # -- valid messages

    def version(self, name: str) -> str:
        return hashlib.sha256(name.encode()).hexdigest()

    def dataset(self, name: str) -> DatasetVersion:
        return DatasetVersion(host=self.host_keys[name].public, name="access", version=self.version(name))

    def announcement(self, name: str, /, **changes: Any) -> Announcement:
        offer = DatasetOffer(
            name="access",
            version=self.version(name),
            title="Requests",
            reader="labelled_lines",
            columns=("request",),
            classes=("benign", "attack"),
            rows=1000,
        )
        facts: dict[str, Any] = {"datasets": (offer,), "announced_at": int(time.time())}
        return Announcement(**facts | changes)

    @staticmethod
    def standing(grant: str, /, **changes: Any) -> GrantStanding:
        facts: dict[str, Any] = {
            "request": grant,
            "standing": Standing.IN_FORCE,
            "decided_at": int(time.time()),
        }
        return GrantStanding(**facts | changes)

    def request(self, name: str = NAMES[0], /, **changes: Any) -> AccessRequest:
        facts: dict[str, Any] = {
            "dataset": self.dataset(name),
            "purpose": PURPOSE,
            "reason": "One detector for all.",
            "organisation": "university",
            "pipelines": (pipeline(),),
            "protocols": (Protocol.LOCAL, Protocol.POOLED),
            "backends": ("plaintext", "keyed_tokens"),
            "models": ("linear",),
            "releases": 100,
            "expires_at": int(time.time()) + 86_400,
            "nonce": secrets.token_hex(16),
        }
        return AccessRequest(**facts | changes)

    def spec(self, protocol: Protocol = Protocol.LOCAL, **changes: Any) -> RunSpec:
        backend = "plaintext" if protocol is Protocol.LOCAL else "keyed_tokens"
        facts: dict[str, Any] = {
            "title": "Detector",
            "purpose": PURPOSE,
            "datasets": tuple(self.dataset(name) for name in NAMES[:2]),
            "pipeline": pipeline(),
            "protocol": protocol,
            "backend": PluginChoice(name=backend),
            "model": PluginChoice(name="linear"),
            "training": Training(epochs=1),
            "grants": tuple(self.grants),
            "submitted_at": int(time.time()),
            "deadline": int(time.time()) + 3600,
            "nonce": secrets.token_hex(16),
        }
        return RunSpec(**facts | changes)

    def report(self, order: Order, /, **changes: Any) -> Report:
        """What a host would answer to the order, for the phases that need no computing."""
        facts: dict[str, Any] = {
            "order": order.id,
            "run": order.run,
            "phase": order.phase,
            "step": order.step,
            "round": order.round,
            "status": Status.DONE,
            "result": result_of(order.phase),
            "seconds": {"phase": 0.1},
            "finished_at": int(time.time()),
        }
        return Report(**facts | changes)

    # -- runs

    def submit(self, spec: RunSpec) -> str:
        signed = spec.signed_by(self.sam_key)
        answer = self.as_person("sam", "POST", "/api/runs", signed.encode().encode())
        assert answer.status_code == 201, answer.text
        self.taken.append(("/api/runs", signed.encode().encode()))
        return signed.digest

    def orders(self, name: str) -> list[Order]:
        """The host's open orders."""
        answer = self.as_host(name, "GET", "/api/host/orders?after=0&wait=0")
        return [Signed(**item).open(Order) for item in answer.json()["orders"]]

    def answer(self, name: str, order: Order) -> None:
        body = self.report(order).signed_by(self.host_keys[name]).encode().encode()
        answer = self.as_host(name, "POST", "/api/host/reports", body)
        assert answer.status_code == 200, answer.text
        if name == NAMES[0]:
            self.taken.append(("/api/host/reports", body))

    def bring(self, run: str, phase: Phase) -> None:
        """Answer both owners' orders of a run until those of `phase` are out. The worker must run."""
        for name in NAMES[:2]:
            while True:
                order = self.federation.until(
                    f"an order for {name}",
                    lambda name=name: next(order for order in self.orders(name) if order.run == run),
                    60,
                )
                if order.phase is phase:
                    break
                for other in NAMES[:2]:
                    for found in self.orders(other):
                        if (found.run, found.phase) == (run, order.phase):
                            self.answer(other, found)

    # -- what is stored

    def snapshot(self) -> dict[str, Any]:
        """Every row of every table, every artefact's file, and the number of tasks that wait at the broker."""
        home = self.federation.cast.operator.home
        found: dict[str, Any] = tables(home / "coordinator.sqlite3", VOLATILE)
        folder = home / "artefacts"
        files = sorted(folder.iterdir()) if folder.exists() else []
        found["files"] = {
            file.name: file.stat().st_size for file in files if not file.name.startswith(".lock-")
        }
        found["tasks enqueued"] = self.tasks()
        return found

    def audited(self) -> list[tuple[int, str, str]]:
        """Serial, outcome and action of every entry of the audit."""
        database = self.federation.cast.operator.home / "coordinator.sqlite3"
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)
        selected = "SELECT serial, outcome, action FROM governance_auditentry ORDER BY serial"
        found = connection.execute(selected).fetchall()
        connection.close()
        return found

    def tasks(self) -> int:
        broker = broker_at(self.federation.cast.operator.home / "broker")
        return int(broker.llen("celery"))  # type: ignore[arg-type]

    def _granted(self, name: str) -> str:
        signed = self.request(name).signed_by(self.sam_key)
        answer = self.as_person("sam", "POST", "/api/requests", signed.encode().encode())
        assert answer.status_code == 201, answer.text
        self.taken.append(("/api/requests", signed.encode().encode()))
        owner = "olga" if name == NAMES[0] else "otto"
        approval = self.as_person(owner, "POST", f"/api/requests/{signed.digest}/approve", {})
        assert approval.status_code == 200, approval.text
        said = self.standing(signed.digest).signed_by(self.host_keys[name]).encode().encode()
        answer = self.as_host(name, "POST", "/api/host/standings", said)
        assert answer.status_code == 200, answer.text
        if name == NAMES[0]:
            self.taken.append(("/api/host/standings", said))
        return signed.digest


def pipeline() -> Pipeline:
    steps = [
        PluginChoice(name="fields", options={"names": ["request"]}),
        *(PluginChoice(name=name) for name in ("lower", "words", "protect")),
        PluginChoice(name="hash_columns", options={"columns": 64}),
    ]
    return Pipeline(steps=tuple(steps))


def result_of(phase: Phase) -> Checked | Trained | Evaluated:
    if phase is Phase.CHECK:
        return Checked(rows=1000)
    if phase is Phase.TRAIN:
        return Trained(
            rows=700, curve=TrainingCurve(every=1, loss=(0.7,), accuracy=(0.5,), epochs=1, steps=1)
        )
    import numpy as np

    labels = np.arange(40) % 2
    return to_evaluated(count_scores(np.stack([1.0 - labels, labels + 0.0], axis=1), labels, 2))


def tables(database: Path, but: Mapping[str, set[str] | None]) -> dict[str, list[str]]:
    """Every row of every table as text, without the tables and columns of `but`."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)
    found = {}
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        left_out = but.get(name, set())
        if left_out is None:
            continue
        selected = connection.execute(f'SELECT * FROM "{name}"')
        columns, rows = [column for column, *_ in selected.description], selected.fetchall()
        found[name] = sorted(
            repr([row[c] for c in range(len(columns)) if columns[c] not in left_out]) for row in rows
        )
    connection.close()
    return found
