"""A session of one person with one coordinator: token, signing key, catalogue, requests, runs."""

from __future__ import annotations

import base64
import getpass
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from fedcore.client.asking import access_request
from fedcore.client.catalogue import Dataset as Dataset
from fedcore.client.catalogue import Mock, Version, fetch_mock
from fedcore.client.dry_runs import plan_to_try, wait_for_dry_run
from fedcore.client.errors import CodeNeeded, NotLoggedIn, Refused, RunFailed, Unreachable
from fedcore.client.runs import RunPlan, new_nonce
from fedcore.client.transport import Transport
from fedcore.wire.access import AccessRequest
from fedcore.wire.keys import HostCard, SigningKey, write_secret

HOME_VARIABLE: Final = "FEDCORE_CLIENT_HOME"
KEY_PROOF: Final = b"fedcore/key/v1\0"
FINISHED: Final = "finished"
_DATASET: Final = {"host": "host", "name": "dataset", "version": "version"}
_RENEWED: Final = (
    *("purpose", "organisation", "pipelines", "protocols", "backends", "models"),
    *("minimum_owners", "download"),
)
RECONNECTING_AFTER: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between the attempts to hear of a run again."""

END_STATES: Final = frozenset({FINISHED, "failed", "cancelled", "expired"})


@dataclass(frozen=True)
class Host:
    """An owner host, and whether it serves as a reference host or as a dealer."""

    name: str
    organisation: str
    card: HostCard
    is_reference: bool
    is_dealer: bool


@dataclass(frozen=True)
class Event:
    """Something that happened to a run. `progress` is a share from 0 to 1."""

    serial: int
    at: str
    state: str
    text: str
    progress: float


class Session:
    """What a scientist does at a coordinator. Files of the person (token, key) lie in `home`, mode 0700."""

    def __init__(self, url: str, home: Path, transport: httpx.BaseTransport | None = None) -> None:
        self.home = home
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._http = Transport(url, self._stored_token(url), transport)

    @classmethod
    def open(cls, url: str | None = None, home: Path | None = None) -> Session:
        """The session of this account: `url` defaults to the coordinator that was logged in to last.

        `home` defaults to `$FEDCORE_CLIENT_HOME`, or `~/.fedcore`.
        """
        home = home or Path(os.environ.get(HOME_VARIABLE) or Path.home() / ".fedcore")
        stored = _read_json(home / "session.json")
        found = url or stored.get("url")
        if not found:
            raise NotLoggedIn("No coordinator is known yet. Run `fedcore login URL`.")
        return cls(found, home)

    # -- the person

    def log_in(self, username: str, password: str | None = None, otp: str | None = None) -> None:
        """Fetch a token and keep it; make the person's signing key on first use and register it.

        Without `password`, and without `otp` where the person has a second factor, they are asked for. Raises
        `NotLoggedIn` for a wrong name, password or code, and `CodeNeeded` where nobody is there to be asked for one.
        """
        secret = password if password is not None else getpass.getpass(f"Password of {username}: ")
        given = {"username": username, "password": secret} | ({"otp": otp} if otp else {})
        self._http.token = None
        try:
            answer = self._http.post("/api/login", given)
        except CodeNeeded:
            if otp or not sys.stdin.isatty():
                raise
            given["otp"] = getpass.getpass("Code of your second factor: ")
            answer = self._http.post("/api/login", given)
        self._http.token = answer["token"]
        self._store(username)
        self.register_key(username)

    def log_out(self) -> None:
        """Revoke the token at the coordinator and forget it here; one that has expired is only forgotten."""
        with suppress(NotLoggedIn):
            self._http.post("/api/logout")
        (self.home / "session.json").unlink(missing_ok=True)
        self._http.token = None

    def me(self) -> dict[str, Any]:
        """The person who is logged in: username, organisation, roles."""
        found: dict[str, Any] = self._http.get("/api/me")
        return found

    @property
    def key(self) -> SigningKey:
        """The person's signing key, made on first use in `home`."""
        return SigningKey.load_or_create(self.home / "signing.key")

    def register_key(self, username: str) -> None:
        """Tell the coordinator the public key, with a proof that this person holds the private one.

        Raises `Refused` (`key_revoked`) for a key that counts no longer.
        """
        registered = {item["public_key"]: item.get("revoked_at") for item in self._http.get("/api/keys")}
        if registered.get(self.key.public):
            raise Refused(
                "key_revoked",
                f"Your signing key is revoked. Move {self.home / 'signing.key'} away and log in again: that makes a "
                "new one, whose public key owners have to name in their policies.",
            )
        if self.key.public not in registered:
            proof = base64.b64encode(self.key.sign(KEY_PROOF + username.encode())).decode("ascii")
            self._http.post("/api/keys", {"public_key": self.key.public, "signature": proof})

    # -- the catalogue

    def datasets(self, search: str | None = None, **wanted: Any) -> list[Dataset]:
        """The datasets that owners offer now: those in which every word of `search` stands.

        `wanted` cuts the list down by `organisation`, `sensitivity`, `reader`, `class_name`, `columns` (all of them)
        and `minimum_rows`; `ordering` is `name`, `title`, `rows` or `newest`.
        """
        renamed = {"class_name": "class", "columns": "column", "minimum_rows": "min_rows"}
        query = {renamed.get(name, name): value for name, value in wanted.items()}
        return [Dataset.of(item) for item in self._http.pages("/api/datasets", search=search, **query)]

    def versions(self, dataset: Dataset) -> list[Version]:
        """The versions of a dataset that its host has announced, the latest first."""
        found = self._http.get(f"/api/datasets/{dataset.path}")["versions"]
        return [Version(**{name: item[name] for name in Version.__dataclass_fields__}) for item in found]

    def mock(self, dataset: Dataset) -> Mock:
        """The mock sample of a dataset, to develop on: its rows are made up. Raises `FedcoreError` without one."""
        return fetch_mock(self._http, dataset)

    def try_plans(self, datasets: Sequence[Dataset], plans: Sequence[RunPlan]) -> dict[str, Any]:
        """Have plans tried on the mock samples of `datasets` by the coordinator, and wait for what comes of it.

        The training of the first plan is used for all. Metrics are those of made-up rows: they say nothing about
        quality.
        """
        asked = self._http.post_text("/api/dry-runs", plan_to_try(datasets, plans).encode())
        return wait_for_dry_run(self._http, asked["id"])

    def try_request(self, digest: str) -> dict[str, Any]:
        """Have an access request tried again, and wait for what comes of it."""
        return wait_for_dry_run(self._http, self._http.post(f"/api/requests/{digest}/dry-run")["id"])

    def hosts(self) -> list[Host]:
        """The owner hosts, reference hosts and dealers among them."""
        return [
            Host(
                item["name"],
                item["organisation"],
                HostCard.parse(item["card"]),
                item["is_reference"],
                item["is_dealer"],
            )
            for item in self._http.get("/api/hosts")
        ]

    def plugins(self) -> dict[str, Any]:
        """The coordinator's plugins: options as JSON schemas, leakage and trust of backends in plain words."""
        found: dict[str, Any] = self._http.get("/api/plugins")
        return found

    # -- access

    def request_access(self, dataset: Dataset, plans: Sequence[RunPlan], **terms: Any) -> str:
        """Ask the owner of `dataset` for leave to run `plans`; returns the digest that names the request.

        `terms`: `purpose`, `reason`, `releases` (default: one for each plan), `days` (default 30),
        `minimum_owners`, `download`, `privacy` (of all runs together; default: what the plans cost together, where all
        have an epsilon), `replaces` (the digest of an earlier request).
        Raises `Refused` with every mistake.
        """
        request = access_request(dataset, plans, self.me()["organisation"], **terms)
        signed = request.signed_by(self.key)
        self._http.post_text("/api/requests", signed.encode())
        return signed.digest

    def requests(self) -> list[dict[str, Any]]:
        """The requests that this person may see, newest first, with their states."""
        return list(self._http.pages("/api/requests"))

    def request(self, digest: str) -> dict[str, Any]:
        found: dict[str, Any] = self._http.get(f"/api/requests/{digest}")
        return found

    def renew(
        self,
        request: Mapping[str, Any],
        *,
        days: int = 30,
        releases: int | None = None,
        reason: str = "",
    ) -> str:
        """Ask for a grant again, for another period and number of runs: the owner can renew it with one decision.

        `request`: what `request()` gave. Returns the digest of the new request.
        """
        asked = AccessRequest.model_validate_json(
            json.dumps(
                {
                    "dataset": {name: request[key] for name, key in _DATASET.items()},
                    **{name: request[name] for name in _RENEWED},
                    "privacy": {"epsilon_micro": request["epsilon_micro"], "delta": request["delta"]},
                    "reason": reason,
                    "releases": releases or request["releases"],
                    "expires_at": int(time.time()) + days * 24 * 3600,
                    "replaces": request["digest"],
                    "nonce": new_nonce(),
                }
            )
        )
        signed = asked.signed_by(self.key)
        self._http.post_text("/api/requests", signed.encode())
        return signed.digest

    def decide(self, digest: str, decision: str, **terms: Any) -> dict[str, Any]:
        """Do something about a request; `may` of the request says what.

        Data owners: `approve` (with limits at most as asked: `protocols`, `backends`, `models`, `epsilon_micro`,
        `releases`, `minimum_owners`, `expires_at`, `download`), `renew`, `refuse`, `revoke` (with a `reason`),
        `tighten` (with a `reason` and limits), `ask` (with a `text`). The scientist: `answer` (with a `text`),
        `withdraw`.
        """
        found: dict[str, Any] = self._http.post(f"/api/requests/{digest}/{decision}", terms)
        return found

    # -- notices

    def notices(self) -> list[dict[str, Any]]:
        """What happened that this person should know of, newest first."""
        found: list[dict[str, Any]] = self._http.get("/api/notices")
        return found

    def mark_read(self, ids: Sequence[int] | None = None) -> int:
        """Mark notices as read, all or those with these ids; how many were unread before."""
        marked: int = self._http.post("/api/notices/read", {} if ids is None else {"ids": list(ids)})[
            "marked"
        ]
        return marked

    # -- runs

    def submit(self, plan: RunPlan, datasets: Sequence[Dataset], grants: Sequence[str]) -> str:
        """Build, sign and submit a run; returns its id. Raises `Refused` with every mistake."""
        spec = plan.spec([dataset.reference for dataset in datasets], grants, int(time.time()))
        signed = spec.signed_by(self.key)
        self._http.post_text("/api/runs", signed.encode())
        return signed.digest

    def runs(self) -> list[dict[str, Any]]:
        """The runs that this person may see, newest first, with their states."""
        return list(self._http.pages("/api/runs"))

    def run(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self._http.get(f"/api/runs/{run}")
        return found

    def events(self, run: str) -> Iterator[Event]:
        """What happens to a run, as it happens, until it ends. A connection that is lost is made again."""
        serial = 0
        while True:
            answer = self._news(run, serial)
            for item in answer["events"]:
                event = Event(**{name: item[name] for name in Event.__dataclass_fields__})
                serial = max(serial, event.serial)
                yield event
            if answer["state"] in END_STATES and not answer["events"]:
                return

    def _news(self, run: str, serial: int) -> dict[str, Any]:
        """What happened after the event with this serial. Raises `Unreachable` after some attempts."""
        address = f"/api/runs/{run}/wait"
        for pause in RECONNECTING_AFTER:
            try:
                found: dict[str, Any] = self._http.get(address, after=serial)
            except Unreachable:
                time.sleep(pause)
            else:
                return found
        try:
            found = self._http.get(address, after=serial)
        except Unreachable as error:
            told = f"{error} The run goes on: look again with `fedcore follow {run[:12]}`."
            raise Unreachable(told) from None
        return found

    def wait(self, run: str) -> dict[str, Any]:
        """Wait until a run has finished. Raises `RunFailed` when it ends in another way."""
        for _ in self.events(run):
            continue
        found = self.run(run)
        if found["state"] != FINISHED:
            remedy = (found.get("culprit") or {}).get("remedy", "")
            raise RunFailed(run, found["state"], found.get("code") or "", found.get("message") or "", remedy)
        return found

    def cancel(self, run: str) -> None:
        self._http.post(f"/api/runs/{run}/cancel")

    def report(self, run: str) -> dict[str, Any]:
        """The report of a finished run: metrics, curves, times, bytes, leakage, trust."""
        found: dict[str, Any] = self._http.get(f"/api/runs/{run}/report")
        return found

    def rights(self, run: str) -> dict[str, Any]:
        """What may be done now with what a run made: what the grants of all its data allow."""
        found: dict[str, Any] = self._http.get(f"/api/runs/{run}/rights")
        return found

    def model(self, run: str, target: Path | str) -> Path:
        """Fetch the model of a pooled run (safetensors) to `target`."""
        return self._http.download(f"/api/runs/{run}/model", Path(target))

    def dataset(self, run: str, target: Path | str) -> Path:
        """Fetch the merged pseudonymised dataset of a pooled run, where every grant gives leave."""
        return self._http.download(f"/api/runs/{run}/dataset", Path(target))

    # -- files

    def _stored_token(self, url: str) -> str | None:
        stored = _read_json(self.home / "session.json")
        return stored.get("token") if stored.get("url") == url.rstrip("/") else None

    def _store(self, username: str) -> None:
        content = {"url": self._http.url, "username": username, "token": self._http.token}
        temporary = self.home / f"session.json.{new_nonce()}"
        write_secret(temporary, json.dumps(content).encode())
        temporary.rename(self.home / "session.json")


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return found
