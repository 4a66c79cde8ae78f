"""Every error of the API in one shape: `{"code": …, "detail": …}`."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.defaults import page_not_found
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

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
    "not_own_request": 403,
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
    context = {**admin.site.each_context(request), "title": _("Locked out"), "text": text}
    return render(request, "governance/locked_out.html", context, status=429)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What is answered at an address that does not exist: in the API's shape for programs, else a page."""
    if request.path.startswith("/api/"):
        text = _("There is nothing at this address.")
        return JsonResponse({"code": "not_found", "detail": text}, status=404)
    return page_not_found(request, exception)


def _refusal(code: str, detail: str) -> Response:
    return Response({"code": str(code), "detail": detail}, status=STATUS_OF_CODE.get(code, 400))


def _sentence(detail: Any) -> str:
    if isinstance(detail, dict):
        return "; ".join(f"{field}: {_sentence(problem)}" for field, problem in detail.items())
    if isinstance(detail, list):
        return " ".join(_sentence(problem) for problem in detail)
    return str(detail)
