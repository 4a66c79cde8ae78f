"""A coordinator that follows a script, for the tests of an owner host: it signs orders, and keeps what comes.

It speaks the real endpoints, through httpx's mock transport or over a real socket, and is strict where the real
one is: requests are verified, an answered order takes no upload, an artefact must have its digest.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from fedcore.wire.access import Grant, GrantNotice, GrantStanding, Standing
from fedcore.wire.encoding import WireError
from fedcore.wire.heads import HeadReceipt
from fedcore.wire.keys import SigningKey
from fedcore.wire.orders import Order, Phase, order_id
from fedcore.wire.reports import Announcement, Report
from fedcore.wire.requests import verify_request
from fedcore.wire.signing import Signed

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class ScriptedCoordinator:
    key: SigningKey = field(default_factory=SigningKey.generate)
    hosts: set[str] = field(default_factory=set)
    orders: list[tuple[str, str, Signed]] = field(default_factory=list)
    reports: dict[str, Signed] = field(default_factory=dict)
    every_report: list[Signed] = field(default_factory=list)
    artefacts: dict[str, bytes] = field(default_factory=dict)
    announcements: dict[str, Signed] = field(default_factory=dict)
    mocks: dict[str, bytes] = field(default_factory=dict)
    notices: list[tuple[str, Signed]] = field(default_factory=list)
    standings: list[Signed] = field(default_factory=list)
    heads: dict[str, Signed] = field(default_factory=dict)
    head_receipts: dict[tuple[str, str], Signed] = field(default_factory=dict)
    """By the digest of the head and the host that gives the receipt."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    """Statuses that the next requests are answered with, before anything is looked at; 0 drops the answer."""
    changed: threading.Condition = field(default_factory=threading.Condition)

    def order(self, spec: Signed, phase: Phase, audience: str, **content: Any) -> Signed:
        """A signed order, given to its audience from now on."""
        step, round = content.pop("step", 0), content.pop("round", 0)
        order = Order(
            id=order_id(spec.digest, phase, step, round, audience),
            phase=phase,
            step=step,
            round=round,
            audience=audience,
            run=spec.digest,
            spec=spec,
            grant=content.pop("grant", None),
            pins=content.pop("pins", ()),
            issued_at=int(time.time()),
            expires_at=content.pop("expires_at", int(time.time()) + 600),
            **content,
        )
        return self.give(order.id, audience, order.signed_by(self.key))

    def notify(self, grant: Grant, audience: str, revoked: bool = False) -> Signed:
        """Tell a host of a grant, from now on."""
        signed = GrantNotice(audience=audience, grant=grant, revoked=revoked).signed_by(self.key)
        with self.changed:
            self.notices.append((audience, signed))
            self.changed.notify_all()
        return signed

    def standing_of(self, grant: Grant) -> Standing | None:
        """What the host said last of a grant."""
        said = [signed.open(GrantStanding) for signed in self.standings]
        about = [standing.standing for standing in said if standing.request == grant.request.digest]
        return about[-1] if about else None

    def give(self, id: str, audience: str, signed: Signed) -> Signed:
        with self.changed:
            self.orders.append((id, audience, signed))
            self.changed.notify_all()
        return signed

    def wait_for(self, orders: list[Signed], seconds: float = 60) -> list[Report]:
        """The reports on these orders, once all are there."""
        ids = [order.open(Order).id for order in orders]
        with self.changed:
            there = self.changed.wait_for(lambda: all(id in self.reports for id in ids), seconds)
        assert there, f"no report on {[id for id in ids if id not in self.reports]}"
        return [self.reports[id].open(Report) for id in ids]

    def report_on(self, order: Signed) -> Report:
        return self.reports[order.open(Order).id].open(Report)

    def transport(self) -> httpx.MockTransport:
        def handle(request: httpx.Request) -> httpx.Response:
            path = request.url.raw_path.decode()
            status, headers, body = self.answer(request.method, path, dict(request.headers), request.read())
            return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))

        return httpx.MockTransport(handle)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self.requests.append((method, path))
        if self.failures:
            status = self.failures.pop(0)
            if status == 0:
                self._route(method, path, headers, body)
                raise httpx.ReadError("the answer was lost")
            return status, {}, b""
        return self._route(method, path, headers, body)

    def _route(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        lower = {name.lower(): value for name, value in headers.items()}
        named = {
            name: lower.get(name.lower(), "") for name in ("Fedcore-Key", "Fedcore-Time", "Fedcore-Signature")
        }
        try:
            host = verify_request(named, method, path, body, int(time.time()))
        except WireError:
            return 401, {}, b""
        if host not in self.hosts:
            return 401, {}, b""
        url = urlsplit(path)
        match url.path.strip("/").split("/"):
            case ["api", "host", "orders"]:
                query = parse_qs(url.query)
                wait = min(float(query["wait"][0]), 2.0)
                return self._orders(host, int(query["after"][0]), wait, int(query["grants"][0]))
            case ["api", "host", "grants"]:
                return self._notices(host, int(parse_qs(url.query)["after"][0]))
            case ["api", "host", "standings"]:
                with self.changed:
                    self.standings.append(Signed.from_bytes(body))
                    self.changed.notify_all()
                return 200, {}, b"{}"
            case ["api", "host", "reports"]:
                return self._report(Signed.from_bytes(body))
            case ["api", "host", "announcements"]:
                self.announcements[host] = Signed.from_bytes(body)
                return 200, {}, b"{}"
            case ["api", "host", "heads"]:
                return self._heads(host, Signed.from_bytes(body))
            case ["api", "host", "head-receipts"]:
                signed = Signed.from_bytes(body)
                self.head_receipts[signed.open(HeadReceipt).asked, host] = signed
                return 200, {}, b"{}"
            case ["api", "host", "mocks"]:
                return 200, {}, json.dumps({"wanted": self._wanted_mocks(host)}).encode()
            case ["api", "host", "mocks", digest]:
                self.mocks[digest] = body
                return 200, {}, b"{}"
            case ["api", "host", "artefacts", order, digest]:
                return self._artefact(method, order, digest, lower, body)
            case _:
                return 404, {}, b""

    def _wanted_mocks(self, host: str) -> list[str]:
        offers = self.announcements[host].open(Announcement).datasets
        return [offer.mock.digest for offer in offers if offer.mock and offer.mock.digest not in self.mocks]

    def _notices(self, host: str, after: int) -> Answer:
        found = [
            json.loads(signed.encode())
            for serial, (audience, signed) in enumerate(self.notices, start=1)
            if audience == host and serial > after
        ]
        return 200, {}, json.dumps({"cursor": max(after, len(self.notices)), "notices": found}).encode()

    def _orders(self, host: str, after: int, wait: float, grants: int) -> Answer:
        def waiting() -> list[Signed]:
            return [
                signed
                for serial, (id, audience, signed) in enumerate(self.orders, start=1)
                if audience == host and serial > after and id not in self.reports
            ]

        with self.changed:
            self.changed.wait_for(lambda: waiting() or len(self.notices) > grants, wait)
            found = [json.loads(signed.encode()) for signed in waiting()]
            answer = {"cursor": len(self.orders), "orders": found, "grants": len(self.notices)}
            return 200, {}, json.dumps(answer).encode()

    def _heads(self, host: str, signed: Signed) -> Answer:
        self.heads[host] = signed
        others = [
            head
            for other, head in self.heads.items()
            if other != host and (head.digest, host) not in self.head_receipts
        ]
        receipts = [receipt for (asked, _), receipt in self.head_receipts.items() if asked == signed.digest]
        found = {"heads": others, "receipts": receipts}
        body = {name: [json.loads(item.encode()) for item in group] for name, group in found.items()}
        return 200, {}, json.dumps(body).encode()

    def _report(self, signed: Signed) -> Answer:
        report = signed.open(Report)
        with self.changed:
            self.every_report.append(signed)
            known = self.reports.setdefault(report.order, signed)
            self.changed.notify_all()
        return (200, {}, b'{"accepted": true}') if known == signed else (409, {}, b"")

    def _artefact(self, method: str, order: str, digest: str, headers: dict[str, str], body: bytes) -> Answer:
        there = self.artefacts.get(digest)
        if method == "HEAD":
            return (404, {}, b"") if there is None else (200, {"Upload-Offset": str(len(there))}, b"")
        if method == "GET":
            if there is None:
                return 404, {}, b""
            start = int(headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            return (206 if start else 200), {}, there[start:]
        offset, length = int(headers["upload-offset"]), int(headers["upload-length"])
        if order in self.reports:
            return 403, {}, b""
        if offset != len(there or b""):
            return 409, {"Upload-Offset": str(len(there or b""))}, b""
        whole = (there or b"") + body
        if len(whole) == length and hashlib.sha256(whole).hexdigest() != digest:
            self.artefacts.pop(digest, None)
            return 422, {}, b""
        self.artefacts[digest] = whole
        return 204, {"Upload-Offset": str(len(whole))}, b""


class Site:
    """The scripted coordinator on a real socket of this machine."""

    def __init__(self, coordinator: ScriptedCoordinator) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, content = coordinator.answer(
                    self.command, self.path, dict(self.headers), body
                )
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = _do

            def log_message(self, *_: object) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """A host that was killed drops its connections: that is no error of the test."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
