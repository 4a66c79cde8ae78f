"""Requests to the coordinator's endpoint that must have no effect, thousands of them."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import httpx

from fedcore.wire.encoding import MAXIMUM_MESSAGE_BYTES
from fedcore.wire.keys import SigningKey
from fedcore.wire.orders import Order, Phase
from fedcore.wire.requests import KEY_HEADER, SIGNATURE_HEADER, TIME_HEADER, sign_request
from fedcore.wire.signing import SignedMessage
from tests.faults.endpoint import NAMES, Endpoint
from tests.faults.mutations import STRANGER, mutants_of, valid
from tests.faults.wrong_messages import (
    wrong_announcements,
    wrong_reports,
    wrong_requests,
    wrong_specs,
    wrong_standings,
)

NORTH, SOUTH, _ = NAMES
REPORTS, ANNOUNCEMENTS = "/api/host/reports", "/api/host/announcements"
STANDINGS = "/api/host/standings"
OF_HOSTS = (REPORTS, ANNOUNCEMENTS, STANDINGS)
REQUESTS, RUNS = "/api/requests", "/api/runs"
Send = Callable[[bytes], httpx.Response]


@dataclass
class Site:
    """The endpoint, with one open order of north for each of three phases, and messages that were taken."""

    endpoint: Endpoint
    orders: dict[Phase, Order]
    of_south: Order
    taken: list[tuple[str, bytes]] = field(default_factory=list)


@dataclass
class Answers:
    """What came back: how many, and which of them nobody should ever get."""

    counted: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def note(self, kind: str, sent: bytes, answer: httpx.Response) -> None:
        self.counted[answer.status_code] += 1
        if answer.status_code >= 500:
            self.failures.append(f"{kind}: {answer.status_code} to {sent[:400]!r}")


def sender(endpoint: Endpoint, path: str) -> Send:
    """How a message for this address is sent by the one whose message it is."""
    if path in OF_HOSTS:
        return partial(endpoint.as_host, NORTH, "POST", path)
    return partial(endpoint.as_person, "sam", "POST", path)


def good_messages(site: Site) -> list[tuple[str, SignedMessage, SigningKey]]:
    """One message for each address, and a report for each phase: they have not been sent yet, and would be taken."""
    endpoint = site.endpoint
    north = endpoint.host_keys[NORTH]
    reports = [(REPORTS, endpoint.report(order), north) for order in site.orders.values()]
    return [
        *reports,
        (ANNOUNCEMENTS, endpoint.announcement(NORTH, announced_at=int(time.time()) + 60), north),
        (STANDINGS, endpoint.standing(endpoint.grants[0], decided_at=int(time.time()) + 60), north),
        (REQUESTS, endpoint.request(), endpoint.sam_key),
        (RUNS, endpoint.spec(), endpoint.sam_key),
    ]


def mutated_messages(site: Site, chance: random.Random, answers: Answers, each: int = 700) -> None:
    for path, message, key in good_messages(site):
        send = sender(site.endpoint, path)
        with ThreadPoolExecutor(3) as pool:
            # Drawn one after the other, so that a seed gives the same ones; sent by a few at a time.
            sent = [
                (mutant, pool.submit(send, mutant.body)) for mutant in mutants_of(message, key, chance, each)
            ]
        for mutant, answer in sent:
            answers.note(mutant.kind, mutant.body, answer.result())


def wrong_messages(site: Site, chance: random.Random, answers: Answers) -> None:
    """What the schema allows and the rules forbid, signed with the right keys."""
    endpoint = site.endpoint
    for what, path, message, key in _wrong(site):
        body = valid(message, key)
        answers.note(what, body, sender(endpoint, path)(body))


def _wrong(site: Site) -> Iterator[tuple[str, str, SignedMessage, SigningKey]]:
    endpoint = site.endpoint
    north, sam = endpoint.host_keys[NORTH], endpoint.sam_key
    for phase, order in site.orders.items():
        others = [site.of_south, *(other for other in site.orders.values() if other.phase is not phase)]
        yield from ((what, REPORTS, wrong, north) for what, wrong in wrong_reports(endpoint, order, others))
    yield from ((what, ANNOUNCEMENTS, wrong, north) for what, wrong in wrong_announcements(endpoint))
    yield from ((what, STANDINGS, wrong, north) for what, wrong in wrong_standings(endpoint))
    yield from ((what, REQUESTS, wrong, sam) for what, wrong in wrong_requests(endpoint))
    yield from ((what, RUNS, wrong, sam) for what, wrong in wrong_specs(endpoint))


def retargeted_messages(site: Site, chance: random.Random, answers: Answers) -> None:
    """Good messages at another address, from another host or person, or in somebody else's name."""
    endpoint = site.endpoint
    for path, message, key in good_messages(site):
        body = valid(message, key)
        for other in {*OF_HOSTS, REQUESTS, RUNS} - {path}:
            answers.note("another address", body, sender(endpoint, other)(body))
        for name in NAMES[1:]:
            sent = endpoint.as_host(name, "POST", REPORTS if path in (REQUESTS, RUNS) else path, body)
            answers.note("another host", body, sent)
        for username in ("olga", "otto", "clara"):
            sent = endpoint.as_person(username, "POST", RUNS if path in OF_HOSTS else path, body)
            answers.note("another person", body, sent)
        resigned = valid(message, endpoint.host_keys[SOUTH])
        answers.note("another host's signature", resigned, sender(endpoint, path)(resigned))


def replayed_messages(site: Site, chance: random.Random, answers: Answers) -> None:
    """Messages that were taken before, again and again."""
    for path, body in site.taken:
        for _ in range(20):
            answers.note("replayed", body, sender(site.endpoint, path)(body))


def badly_signed_requests(site: Site, chance: random.Random, answers: Answers, each: int = 70) -> None:
    """Good messages of a host in requests whose own signature is missing, wrong, old, or for another request."""
    endpoint = site.endpoint
    for path, message, key in good_messages(site):
        body = valid(message, key)
        for _ in range(each):
            if path in OF_HOSTS:
                headers: dict[str, Any] = _wrong_headers(endpoint, path, body, chance)
            else:
                headers = {"Authorization": _wrong_token(endpoint, chance)}
            sent = endpoint.http.post(
                path, content=body, headers={"Content-Type": "application/json", **headers}
            )
            answers.note(f"a badly signed request: {headers}", body, sent)


def _wrong_headers(endpoint: Endpoint, path: str, body: bytes, chance: random.Random) -> dict[str, Any]:
    key, now = endpoint.host_keys[NORTH], int(time.time())
    good = sign_request(key, "POST", path, body, now)
    off = chance.choice([-1, 1]) * chance.choice([310, 3600, 10**6, 10**9])
    gone = chance.choice(list(good))
    drawn: list[dict[str, Any]] = [
        sign_request(STRANGER, "POST", path, body, now),
        sign_request(STRANGER, "POST", path, body, now) | {KEY_HEADER: key.public},
        sign_request(key, "PUT", path, body, now),
        sign_request(key, "POST", path + "?", body, now),
        sign_request(key, "POST", path, body + b" ", now),
        sign_request(key, "POST", path, body, max(0, now + off)),
        good | {TIME_HEADER: str(now + 1)},
        {name: value for name, value in good.items() if name != gone},
        good | {gone: chance.choice(["", "0", "-1", "9" * 20, "A" * 43, "=", "é".encode(), "a\tb"])},
        good | {SIGNATURE_HEADER: _with_another_end(good[SIGNATURE_HEADER])},
    ]
    return chance.choice(drawn)


def _with_another_end(signature: str) -> str:
    """The signature with another last byte. Of one in sixteen the last byte is 0."""
    raw = base64.b64decode(signature)
    return base64.b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode()


def _wrong_token(endpoint: Endpoint, chance: random.Random) -> Any:
    token = endpoint.tokens["sam"]
    place = chance.randrange(len(token))
    edited = token[:place] + chance.choice("abcdef0123456789".replace(token[place], "")) + token[place + 1 :]
    wrong = [
        f"Token {edited}",
        "Token",
        f"Token {token} {token}",
        f"Bearer {token}",
        token,
        "Token é".encode(),
        "",
    ]
    return chance.choice(wrong)


def wrong_uploads(site: Site, chance: random.Random, answers: Answers) -> None:
    """Bytes for other orders, under names that are no digest, at impossible offsets, of another content."""
    endpoint, data = site.endpoint, b"x" * 100
    digest = hashlib.sha256(data).hexdigest()
    training = site.orders[Phase.TRAIN].id
    orders = [site.of_south.id, site.orders[Phase.CHECK].id, secrets.token_hex(16), "0", "%00", "..%2f..%2fx"]
    for order in orders:
        _upload(endpoint, answers, order, digest, data, "0", "100")
    for name in (
        "0",
        "z" * 64,
        digest.upper(),
        digest[:-1],
        digest + "0",
        "..",
        "%00" * 3,
        "..%2f..%2fetc",
        "é",
    ):
        _upload(endpoint, answers, training, name, data, "0", "100")
        _upload(endpoint, answers, training, name, data[:50], "0", "100")
    for offset, length in (
        *(("-1", "100"), ("1", "100"), ("0", "99"), ("0", "-100"), ("0", ""), ("", "100"), ("0", "1e2")),
        *(
            ("0", "9" * 30),
            ("9" * 15, "9" * 15),
            ("0", str(5 * 1024**3)),
            ("0x0", "100"),
            ("٠", "100"),
            ("0", "²"),
        ),
    ):
        _upload(endpoint, answers, training, digest, data, offset, length)
    for _ in range(50):
        other = chance.randbytes(100)
        _upload(endpoint, answers, training, digest, other, "0", "100")
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        sent = endpoint.as_host(NORTH, method, f"/api/host/artefacts/{training}/{digest}", data)
        answers.note(f"{method} an artefact", data, sent)
    for order in orders:
        sent = endpoint.as_host(NORTH, "GET", f"/api/host/artefacts/{order}/{digest}")
        answers.note("fetch another's artefact", b"", sent)


def _upload(
    endpoint: Endpoint, answers: Answers, order: str, digest: str, data: bytes, offset: str, length: str
) -> None:
    path = str(httpx.URL(f"http://x/api/host/artefacts/{order}/{digest}").raw_path, "ascii")
    headers: Any = {"Upload-Offset": offset.encode(), "Upload-Length": length.encode()}
    sent = endpoint.as_host(NORTH, "PATCH", path, data, headers)
    answers.note(f"upload {order} {digest} at {offset!r} of {length!r}", data, sent)


def oversized_messages(site: Site, chance: random.Random, answers: Answers) -> None:
    """More than a message may have, declared or not, and padded by the schema's own means."""
    endpoint = site.endpoint
    for path, message, key in good_messages(site):
        body = valid(message, key)
        fields = json.loads(body)
        for size in (MAXIMUM_MESSAGE_BYTES + 1, 3 * MAXIMUM_MESSAGE_BYTES):
            large = json.dumps({**fields, "text": fields["text"] + " " * size}).encode()
            answers.note("oversized", large[:100], sender(endpoint, path)(large))
        padded = body + b" " * (2 * MAXIMUM_MESSAGE_BYTES)
        answers.note("oversized", padded[:100], sender(endpoint, path)(padded))
        answers.note("endless", b"", _endless(endpoint, path))


def _endless(endpoint: Endpoint, path: str) -> httpx.Response:
    """A body without a length that would go on for 64 MiB."""

    def blocks() -> Iterator[bytes]:
        for _ in range(64):
            yield b"[" * 1024 * 1024

    headers = {"Authorization": f"Token {endpoint.tokens['sam']}", "Content-Type": "application/json"}
    headers |= sign_request(endpoint.host_keys[NORTH], "POST", path, b"", int(time.time()))
    try:
        return endpoint.http.post(path, content=blocks(), headers=headers)
    except httpx.TransportError:
        return httpx.Response(413)  # The connection was closed before all was sent.


def small_requests(site: Site, chance: random.Random, answers: Answers, count: int = 500) -> None:
    """Keys, decisions and logins with bodies of every wrong shape, and decisions of people who may not decide."""
    endpoint = site.endpoint
    digest = endpoint.grants[0]
    paths = [
        "/api/keys",
        "/api/login",
        "/api/logout/",
        *(f"{REQUESTS}/{digest}/{what}" for what in DECISIONS),
    ]
    values: list[Any] = [
        None,
        True,
        -1,
        2**70,
        1e308,
        "",
        "x" * 500,
        "\x00",
        "\ud800",
        [],
        {},
        [[]],
        {"a": {"b": 1}},
    ]
    names = ("public_key", "signature", "releases", "expires_at", "download", "reason", "also")
    for number in range(count):
        content = {name: chance.choice(values) for name in chance.sample(names, chance.randint(0, 5))}
        body = json.dumps(
            chance.choice([content, content, content, chance.choice(values), [content]])
        ).encode()
        body = (
            body
            if number % 5
            else chance.choice([b"", b"{", b'{"a":1,"a":2}', b"NaN", b"[" * 40, b"\xff\xfe"])
        )
        username = chance.choice(["sam", "otto", "clara"])
        path = chance.choice([path for path in paths if path != "/api/login"])
        answers.note(f"{username} {path}", body, endpoint.as_person(username, "POST", path, body))
    unknown = [f"{RUNS}/{run}/cancel" for run in (digest, "%00", "x" * 500, "..%2f" * 9)]
    for path in (f"{REQUESTS}/%00/approve", *unknown):
        answers.note(path, b"", endpoint.as_person("sam", "POST", path, b"{}"))
    for run in {order.run for order in site.orders.values()}:
        for username in ("olga", "otto", "clara"):
            path = f"{RUNS}/{run}/cancel"
            answers.note(f"{username} cancels", b"", endpoint.as_person(username, "POST", path, b"{}"))


DECISIONS: Final = ("approve", "refuse", "revoke", "burn")

ATTACKS: Final = (
    mutated_messages,
    wrong_messages,
    retargeted_messages,
    replayed_messages,
    badly_signed_requests,
    wrong_uploads,
    oversized_messages,
    small_requests,
)
