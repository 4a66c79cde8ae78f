"""Long polls: waiting for new rows without a transaction and without a database connection.

One task per process looks at the highest serial every now and then while somebody waits, with one connection
of its own, and wakes those whose serial it has passed. Who is woken asks the database what is new.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Max

from fedcore.coordinator.governance import standings
from fedcore.coordinator.runs.models import RunEvent, Serial

logger = logging.getLogger(__name__)

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


def in_database(function: Callable[Parameters, Answer]) -> Callable[Parameters, Awaitable[Answer]]:
    """`function` for async code: it runs in a thread, and its connection is closed before anybody waits."""

    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
        try:
            return function(*args, **kwargs)
        finally:
            if not connection.in_atomic_block:
                connection.close()

    return sync_to_async(call, thread_sensitive=True)


class Watch:
    """Looks at one rising number for all that wait in one event loop."""

    def __init__(self, latest: Callable[[], int]) -> None:
        self._latest = latest
        self._known = 0
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="watch")

    async def beyond(self, seen: int, seconds: float) -> None:
        """Return when the number is above `seen`, at the latest after `seconds`."""
        if self._known > seen:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[woken] = seen
        if self._task is None or self._task.done():
            # Without the context of the request that happens to come first: the task outlives it.
            self._task = asyncio.get_running_loop().create_task(
                self._look_around(), context=contextvars.Context()
            )
        try:
            await asyncio.wait_for(woken, seconds)
        except TimeoutError:
            pass
        finally:
            del self._waiting[woken]

    async def _look_around(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            try:
                self._known = await loop.run_in_executor(self._thread, self._latest)
            except DatabaseError as error:
                logger.warning("The database did not say what is new: %s", error)
                await loop.run_in_executor(self._thread, _close)
            for woken, seen in self._waiting.items():
                if self._known > seen and not woken.done():
                    woken.set_result(None)
            await asyncio.sleep(settings.FEDCORE_POLL_SECONDS)
            if not self._waiting:
                # Somebody may begin to wait meanwhile, and finds this task still at work: look again after it.
                await loop.run_in_executor(self._thread, _close)


def _close() -> None:
    # `connection` stands for the connection of the thread that looks at it: look here, in the watch's own.
    connection.close()


def latest_for_hosts() -> int:
    """A number that rises with every order, and with every change of a grant."""
    orders = Serial.objects.filter(name="orders").values_list("value", flat=True).first() or 0
    return orders + standings.serials()


def latest_event() -> int:
    """The serial of the newest event."""
    return RunEvent.objects.aggregate(latest=Max("pk"))["latest"] or 0


_watches: WeakKeyDictionary[Any, dict[Callable[[], int], Watch]] = WeakKeyDictionary()


def watch(latest: Callable[[], int]) -> Watch:
    """The running event loop's watch over this number. Under ASGI there is one loop, and so one watch."""
    of_loop = _watches.setdefault(asyncio.get_running_loop(), {})
    return of_loop.setdefault(latest, Watch(latest))
