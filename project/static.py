"""Static files in a process that also holds long polls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    """WhiteNoise that also runs under ASGI without a thread per request.

    The original is synchronous only, and Django would then run every later view, long polls included, in a
    thread that is held until the view answers.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._answer(request)
        response: HttpResponseBase = super().__call__(request)
        return response

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith(self.static_prefix):
            response = await sync_to_async(self._read)(request)
            if response is not None:
                return response
        answer: HttpResponseBase = await self.get_response(request)
        return answer

    def _read(self, request: HttpRequest) -> HttpResponseBase | None:
        found = self.find_file(request.path_info) if self.autorefresh else self.files.get(request.path_info)
        if found is None:
            return None
        streamed = self.serve(found, request)
        whole = HttpResponse(b"".join(streamed.streaming_content), status=streamed.status_code)
        for name, value in streamed.items():
            whole[name] = value
        streamed.close()
        return whole
