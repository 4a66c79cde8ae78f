"""Sends the matrix's requests in this process, and notes what each does: answer, queries, rows written."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from django.core.cache import cache
from django.core.handlers.base import BaseHandler
from django.core.signals import got_request_exception
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.test import Client, RequestFactory
from django.utils import timezone

from fedcore.coordinator.governance.models import StoredSession
from fedcore.wire.requests import sign_request
from tests.coordinator.permissions.who import HOSTS, NO_HOSTS, STRANGERS
from tests.coordinator.permissions.world import World

WRITES: Final = re.compile(r'^(?:INSERT(?: OR \w+)? INTO|UPDATE|DELETE FROM|REPLACE INTO) "?(\w+)"?')
UNIMPORTANT: Final = re.compile(
    r'"(?:governance_storedsession|governance_audit\w+|axes_access\w+)"'
    r'|^UPDATE "governance_ownerhost" SET "last_contact" = |^UPDATE "governance_person" SET "last_login" = '
)
"""What whoever knocks may leave behind: sessions, failed logins, entries of the audit, and when one was last here."""


@dataclass(frozen=True)
class Body:
    """What is sent, and the headers that belong to it."""

    content: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""


@dataclass(frozen=True)
class Answer:
    """What came back, and what it did."""

    status: int
    location: str
    headers: tuple[str, ...]
    content: bytes
    queries: int
    written: frozenset[str]
    error: str = ""

    def masked(self, key: str) -> tuple[int, str, tuple[str, ...], bytes, int]:
        """All that somebody could compare, without the key that was asked for."""
        # A short number may stand in a text for another reason.
        key, mask = (key, "KEY") if len(key) > 8 else (f"/{key}/", "/KEY/")
        content = self.content.replace(key.encode(), mask.encode())
        return self.status, self.location.replace(key, mask), self.headers, content, self.queries


class Noted:
    """What happens behind one answer."""

    def __init__(self) -> None:
        self.queries = 0
        self.written: set[str] = set()
        self.errors: list[str] = []

    def query(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        self.queries += not sql.startswith(("SAVEPOINT", "RELEASE"))
        written = WRITES.match(sql)
        changed = sql.startswith("INSERT") or context["cursor"].rowcount
        if written and changed and not UNIMPORTANT.search(sql):
            self.written.add(written.group(1))
        return result

    def error(self, **_: Any) -> None:
        self.errors.append(repr(sys.exc_info()[1]))


class Asking:
    """Everybody who asks, with their sessions, tokens and keys."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._handler = BaseHandler()
        self._handler.load_middleware()
        self._factory = RequestFactory()
        self._sessions: dict[str, str] = {}
        for name, person in world.people.items():
            client = Client()
            client.force_login(person)
            self._sessions[name] = client.cookies["sessionid"].value
        StoredSession.objects.update(last_used_at=timezone.now() + timedelta(days=1))

    def ask(self, who: str, method: str, address: str, body: Body, in_browser: bool) -> Answer:
        """One request, undone afterwards. `in_browser`: with a session, as the admin takes; else with a token."""
        cache.clear()
        noted, request = Noted(), self._request(who, method, address + body.query, body, in_browser)
        got_request_exception.connect(noted.error)
        try:
            with transaction.atomic(), connection.execute_wrapper(noted.query):
                response = self._handler.get_response(request)
                content = _content(response)
                transaction.set_rollback(True)
        finally:
            got_request_exception.disconnect(noted.error)
        return Answer(
            response.status_code,
            response.headers.get("HX-Redirect") or response.headers.get("Location", ""),
            tuple(sorted(response.headers)),
            content,
            noted.queries,
            frozenset(noted.written),
            "; ".join(noted.errors),
        )

    def _request(self, who: str, method: str, address: str, body: Body, in_browser: bool) -> HttpRequest:
        headers = dict(body.headers)
        if who in HOSTS | NO_HOSTS:
            headers |= sign_request(
                self.world.hosts[who].key, method, address, body.content, int(time.time())
            )
        elif who == "a forged token":
            headers["Authorization"] = f"Token {self.world.tokens['root'][:-6]}abcdef"
        elif who not in STRANGERS and not in_browser:
            headers["Authorization"] = f"Token {self.world.tokens[who]}"
        request = self._factory.generic(method, address, body.content, body.content_type, headers=headers)
        if who == "a forged session":
            request.COOKIES["sessionid"] = self._sessions["root"][:-6] + "abcdef"
        elif who in self._sessions:
            # A session says nothing at the API, so it goes along with the token; nor a token in the admin.
            name = who if in_browser else "root" if who == "visitor" else who
            request.COOKIES["sessionid"] = self._sessions[name]
        request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
        return request


def _content(response: HttpResponseBase) -> bytes:
    if not response.streaming:
        return bytes(response.content)  # type: ignore[attr-defined]
    streamed: Any = response
    if streamed.is_async:
        return b"(streamed)"
    return b"".join(streamed.streaming_content)


@contextmanager
def without_templates() -> Iterator[None]:
    """Pages are not rendered inside the block: only status and effects are of interest there."""
    kept = SimpleTemplateResponse.rendered_content
    SimpleTemplateResponse.rendered_content = property(lambda response: "")  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        SimpleTemplateResponse.rendered_content = kept  # type: ignore[method-assign]
