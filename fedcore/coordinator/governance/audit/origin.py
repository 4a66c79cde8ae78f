"""From where something is done, and by whom where the domain does not say: kept beside the call, not passed through it.

A middleware notes the request of each view, sync or async. What runs in a Celery worker says `worker`, everything
else `command`; both have no address, and nobody but the system behind them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.db.models import TextChoices
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from django.utils.translation import gettext_lazy as _

from fedcore.coordinator.governance.catalogue import OwnerHost
from fedcore.coordinator.governance.people import Person


class Channel(TextChoices):
    ADMIN = "admin", _("admin")
    API = "api", _("REST API")
    HOST = "host", _("owner host")
    COMMAND = "command", _("command")
    WORKER = "worker", _("worker")


class Kind(TextChoices):
    """What kind of actor did something. `unknown` has not shown who it is."""

    PERSON = "person", _("person")
    HOST = "host", _("owner host")
    SYSTEM = "system", _("system")
    UNKNOWN = "unknown", _("unknown")


@dataclass(frozen=True)
class Origin:
    """Where a call came from."""

    channel: Channel = Channel.COMMAND
    address: str = ""
    request: HttpRequest | None = field(default=None, repr=False)

    @property
    def actor(self) -> Person | OwnerHost | Kind:
        """Who is behind it, as far as it is known by now."""
        if self.request is None:
            return Kind.SYSTEM
        host = getattr(self.request, "owner_host", None)
        if isinstance(host, OwnerHost):
            return host
        user = getattr(self.request, "user", None)
        return user if isinstance(user, Person) else Kind.UNKNOWN


_here: Final[ContextVar[Origin]] = ContextVar("origin", default=Origin())  # noqa: B039 (it is frozen)


def here() -> Origin:
    """The origin of what is done now."""
    return _here.get()


@contextmanager
def from_origin(origin: Origin) -> Iterator[None]:
    """Within this block everything comes from `origin`."""
    token = _here.set(origin)
    try:
        yield
    finally:
        _here.reset(token)


def from_worker(**context: Any) -> None:
    """Note that a Celery task begins in this process."""
    _here.set(Origin(Channel.WORKER))


def address_of(request: HttpRequest) -> str:
    """The visitor's address. Behind one's own proxy it is the one that this proxy has added, and no earlier claim."""
    claimed = request.headers.get("X-Forwarded-For", "") if settings.FEDCORE_BEHIND_PROXY else ""
    return (claimed.split(",")[-1].strip() or request.META.get("REMOTE_ADDR") or "")[:45]


@sync_and_async_middleware
def noting_origin(get_response: Any) -> Any:
    """Middleware: whatever a view does comes from its request."""
    if iscoroutinefunction(get_response):
        return _async(get_response)

    def answer(request: HttpRequest) -> HttpResponseBase:
        with from_origin(_origin_of(request)):
            response: HttpResponseBase = get_response(request)
            return response

    return answer


def _async(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    async def answer(request: HttpRequest) -> HttpResponseBase:
        with from_origin(_origin_of(request)):
            return await get_response(request)

    return answer


def _origin_of(request: HttpRequest) -> Origin:
    path = request.path_info
    api = Channel.HOST if path.startswith("/api/host/") else Channel.API
    return Origin(api if path.startswith("/api/") else Channel.ADMIN, address_of(request), request)
