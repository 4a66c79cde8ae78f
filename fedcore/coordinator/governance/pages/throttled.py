"""Pages that look at a password or code before they know who asks: so many a minute from one address, whoever is tried.

The API's login counts in the same place: see `FEDCORE_LOGIN_RATE`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from rest_framework.throttling import SimpleRateThrottle

from fedcore.coordinator.governance.pages import wrong

View = Callable[..., HttpResponseBase]


class LoginThrottle(SimpleRateThrottle):
    """For the API's views and for pages alike: what is sent to either counts for both."""

    scope = "login"

    def get_cache_key(self, request: Any, view: Any) -> str:
        return self.cache_format % {"scope": self.scope, "ident": self.get_ident(request)}


def throttled(view: View) -> View:
    """The same view, which answers 429 to what is posted from one address too often."""

    @wraps(view)
    def throttling(request: HttpRequest, *arguments: Any, **options: Any) -> HttpResponseBase:
        if request.method == "POST":
            throttle = LoginThrottle()
            if not throttle.allow_request(request, None):  # type: ignore[arg-type]
                return _too_often(request, throttle.wait())
        return view(request, *arguments, **options)

    return throttling


def _too_often(request: HttpRequest, seconds: float | None) -> HttpResponse:
    text = _("Too many attempts came from your address. Wait a minute, and try again.")
    answer = wrong.page(request, 429, _("Too many attempts"), text)
    answer.headers["Retry-After"] = str(int(seconds or 60) + 1)
    return answer
