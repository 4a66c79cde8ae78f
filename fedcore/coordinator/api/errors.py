"""Every error of the API in one shape: `{"code": …, "detail": …}`."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from fedcore.coordinator.governance.pages import wrong
from fedcore.coordinator.governance.problems import DecisionError
from fedcore.wire.codes import EXPLANATIONS, RefusalCode
from fedcore.wire.encoding import WireError

STATUS_OF_CODE: Final = {
    RefusalCode.TOO_LARGE: 413,
    RefusalCode.CONFLICT: 409,
    RefusalCode.ARTEFACT_INVALID: 422,
    "not_data_owner": 403,
    "not_data_scientist": 403,
    "own_request": 403,
    "too_many_dry_runs": 429,
    "too_many_requests": 429,
    "not_own_request": 403,
    "run_deleted": 409,
    "second_person": 403,
}
"""The HTTP status of a refusal; all others are 400."""


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """What a view's exception becomes. Anything unexpected stays a 500 without detail."""
    if isinstance(error, WireError):
        return _refusal(error.code, f"{EXPLANATIONS[error.code]} ({error.detail})")
    if isinstance(error, DecisionError):
        return _refusal(error.code, error.detail)
    response = exception_handler(error, context)
    if response is None:
        return None
    if isinstance(error, exceptions.ValidationError):
        response.data = {"code": "invalid", "detail": _sentence(error.detail)}
    elif isinstance(response.data, dict) and "detail" in response.data:
        detail = response.data["detail"]
        response.data = {"code": getattr(detail, "code", "error"), "detail": str(detail)}
    return response


def locked_out(request: HttpRequest, original: HttpResponse | None, credentials: Any = None) -> HttpResponse:
    """What somebody gets who has given wrong passwords too often, in the admin as in the API."""
    text = _("Too many wrong passwords or codes for this name. Wait 15 minutes, or ask an administrator.")
    if request.path.startswith("/api/"):
        return JsonResponse({"code": "locked_out", "detail": text}, status=429)
    return wrong.page(request, 429, _("Locked out"), text)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What is answered to what no view has looked at, such as an unknown host name: see `not_found`."""
    text = _("This was not understood.")
    return _for_programs(request, 400, "bad_request", text) or wrong.not_understood(request)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What is answered where a page is not for whoever asks: see `not_found`."""
    text = _("This is not allowed.")
    return _for_programs(request, 403, "forbidden", text) or wrong.page(request, 403, *wrong.WORDS[403])


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What is answered at an address that does not exist: in the API's shape for programs, else a page."""
    text = _("There is nothing at this address.")
    if request.path.startswith(settings.STATIC_URL):
        return wrong.plain(404, *wrong.WORDS[404])
    return _for_programs(request, 404, "not_found", text) or wrong.page(request, 404, *wrong.WORDS[404])


def _for_programs(request: HttpRequest, status: int, code: str, detail: str) -> HttpResponse | None:
    if not request.path.startswith("/api/"):
        return None
    return JsonResponse({"code": code, "detail": detail}, status=status)


def _refusal(code: str, detail: str) -> Response:
    return Response({"code": str(code), "detail": detail}, status=STATUS_OF_CODE.get(code, 400))


def _sentence(detail: Any) -> str:
    if isinstance(detail, dict):
        return "; ".join(f"{field}: {_sentence(problem)}" for field, problem in detail.items())
    if isinstance(detail, list):
        return " ".join(_sentence(problem) for problem in detail)
    return str(detail)
