"""Visits to the coordinator: people with a browser, and every reply that its endpoints give to what is wrong."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import httpx

from tests.authenticator import code_of

Piece = tuple[str, bytes]
"""Where something was found, and what."""

_LINK: Final = re.compile(r'href="(/admin/[^"#?]*)"')
_CODE: Final = re.compile(r'<code class="fedcore-code">([^<]+)</code>')
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_PAGES_OF_A_KIND: Final = 1
_HOST_ADDRESSES: Final = ("orders", "reports", "announcements", "mocks", "grants", "standings", "heads")


class Visitor:
    """Somebody with a browser."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self.http = httpx.Client(base_url=url, transport=transport, follow_redirects=True, timeout=60)

    @property
    def session_key(self) -> str:
        return self.http.cookies["sessionid"]

    def post(self, path: str, **fields: str) -> str:
        """Send a form of a page; the page that comes then."""
        token = self.http.cookies.get("csrftoken", "")
        answer = self.http.post(
            path, data={**fields, "csrfmiddlewaretoken": token}, headers={"Referer": str(self.http.base_url)}
        )
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:500])
        return answer.text

    def log_in(self, username: str, password: str) -> str:
        self.http.get("/admin/login/")
        return self.post("/admin/login/", username=username, password=password)

    def set_up_second_factor(self, password: str) -> tuple[str, list[str]]:
        """Set up an authenticator app; its secret (base32), and the recovery codes."""
        (shown,) = _CODE.findall(self.http.get("/admin/login/second-factor/").text)
        secret = "".join(shown.split())
        page = self.post("/admin/login/second-factor/", code=code_of(secret), password=password)
        codes = _CODE.findall(page)
        assert len(codes) == 10, page[:500]
        return secret, codes

    def invite(self, username: str, organisation: str) -> str:
        """Make a person of this organisation; the path of the link by which a password is set."""
        form = self.http.get("/admin/governance/person/add/").text
        chosen = re.search(rf'<option value="(\d+)"[^>]*>\s*{organisation}\s*<', form)
        assert chosen is not None, re.findall(r"<option[^>]*>[^<]*", form)
        page = self.post("/admin/governance/person/add/", username=username, organisation=chosen[1])
        link = re.search(r"https?://[^/\s]+(/admin/welcome/[^<\s]+)", page)
        assert link is not None, re.findall(r'class="[^"]*error[^"]*"[^>]*>[^<]*', page)
        return link[1]


def pages_of(visitor: Visitor, most: int, start: str = "/admin/") -> Iterator[Piece]:
    """The pages that links lead to from `start`, one of each kind, and `most` of them."""
    waiting, met, kinds = deque([start]), {start}, dict[str, int]()
    for _ in range(most):
        if not waiting:
            return
        path = waiting.popleft()
        answer = visitor.http.get(path)
        yield path, answer.content
        for link in _LINK.findall(answer.text if "html" in answer.headers.get("content-type", "") else ""):
            kind = re.sub(r"[0-9a-f]{32,}|\d+", "#", link)
            if link in met or "logout" in link or kinds.get(kind, 0) >= _PAGES_OF_A_KIND:
                continue
            met.add(link)
            kinds[kind] = kinds.get(kind, 0) + 1
            waiting.append(link)


def answers_of(http: httpx.Client, paths: list[str]) -> Iterator[Piece]:
    """What the API says to somebody who may ask."""
    for path in paths:
        answer = http.get(path)
        assert answer.status_code == 200, (path, answer.text[:300])
        yield path, answer.content


def error_replies(http: httpx.Client, token: str, run: str, word: str) -> Iterator[Piece]:
    """What every endpoint answers to somebody without a token, to wrong content, and to broken content.

    `word` stands wherever a body or an address has room for it. `token` is used up: it is logged out at the end.
    """
    headers = {"Accept": "application/vnd.oai.openapi+json", "Authorization": f"Token {token}"}
    schema = http.get("/api/schema", headers=headers).json()
    asked = [
        (method.upper(), _filled(path, run))
        for path, methods in schema["paths"].items()
        for method in methods
        if method in ("get", "post", "put", "patch", "delete")
    ]
    asked += [(method, f"/api/host/{name}") for name in _HOST_ADDRESSES for method in ("GET", "POST")]
    asked += [("GET", "/api/nothing"), ("GET", "/admin/nothing"), ("POST", "/admin/login/")]
    asked.sort(key=lambda one: one[1].endswith("logout"))
    body = {**dict.fromkeys(_FIELDS, word), "username": "nobody"}
    kinds: list[dict[str, Any]] = [
        {"json": body},
        {"json": body, "headers": {"Authorization": f"Token {token}"}},
        {
            "content": b'{"password": "%s", ' % word.encode(),
            "headers": {"Authorization": f"Token {token}", "Content-Type": "application/json"},
        },
        {"json": body, "headers": {"Authorization": f"Token {word}", "Fedcore-Key": word}},
    ]
    for method, path in asked:
        for kind in kinds if method in ("POST", "PUT", "PATCH") else kinds[:2]:
            answer = http.request(method, f"{path}?password={word}", **kind)
            assert answer.status_code != 500, (method, path)
            assert "Traceback" not in answer.text
            # Where somebody is sent on to names the address that they asked for.
            headers = {name: value for name, value in answer.headers.items() if name != "location"}
            yield f"{method} {path}: {answer.status_code}", answer.content + repr(headers).encode()


_FIELDS: Final = (
    *("username", "password", "otp", "code", "text", "signer", "signature", "public_key", "reason", "plan"),
    *("question", "answer", "datasets", "plans", "until", "up_to"),
)


def _filled(path: str, run: str) -> str:
    return _PARAMETER.sub(lambda found: run if found[1] == "run_id" else "0" * 64, path)
