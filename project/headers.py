"""What every answer tells browsers about itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

HEADER: Final = "Content-Security-Policy"

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        # The theme writes its expressions into attributes, which Alpine evaluates; no script stands in a page.
        "script-src 'self' 'unsafe-eval'",
        # The theme's colours stand in the page, and widths and positions in attributes.
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""Pages load nothing from elsewhere, run no script that stands in them, send forms nowhere else, and are not framed."""


@sync_and_async_middleware
def content_security_policy(
    get_response: Callable[[HttpRequest], Any],
) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    """Middleware that adds the policy to every answer."""

    def marked(response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault(HEADER, POLICY)
        return response

    if iscoroutinefunction(get_response):

        async def answer_later(request: HttpRequest) -> HttpResponseBase:
            return marked(await get_response(request))

        return answer_later

    def answer(request: HttpRequest) -> HttpResponseBase:
        return marked(get_response(request))

    return answer
