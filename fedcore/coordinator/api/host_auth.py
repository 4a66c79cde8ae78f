"""How owner hosts are recognised: every request is signed with the key of a host that the coordinator knows.

A request of an unknown host, with a bad signature, or of a host that is not active gets the same answer.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Concatenate, Final, ParamSpec

from django.db.models import Q
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from fedcore.coordinator.api.errors import STATUS_OF_CODE
from fedcore.coordinator.governance.models import OwnerHost
from fedcore.wire.codes import EXPLANATIONS, RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.requests import KEY_HEADER, SIGNATURE_HEADER, TIME_HEADER, verify_request

CONTACT_SECONDS: Final = 5
"""How exactly a host's last contact is known: a write for every request would keep the database busy."""

Parameters = ParamSpec("Parameters")
HostView = Callable[Concatenate[HttpRequest, OwnerHost, bytes, Parameters], HttpResponseBase]


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.headers = status, code, detail, dict(headers or {})

    @classmethod
    def of(cls, error: WireError) -> Refusal:
        """What a host learns of a message that was refused: the rule, and the detail about its own message."""
        status = 404 if error.code is RefusalCode.WRONG_AUDIENCE else STATUS_OF_CODE.get(error.code, 400)
        return cls(status, error.code, f"{EXPLANATIONS[error.code]} ({error.detail})")

    def response(self) -> JsonResponse:
        return JsonResponse(
            {"code": self.code, "detail": self.detail}, status=self.status, headers=self.headers
        )


def for_hosts(
    method: str, limit: int = 0
) -> Callable[[HostView[Parameters]], Callable[..., HttpResponseBase]]:
    """A view for `method` that gets the host that signed the request, and a body of at most `limit` bytes."""

    def decorate(view: HostView[Parameters]) -> Callable[..., HttpResponseBase]:
        @csrf_exempt
        @functools.wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                check_method(request, method)
                body = read_body(request, limit)
                return view(request, authenticate(request, body), body, *args, **kwargs)
            except WireError as error:
                return Refusal.of(error).response()
            except Refusal as refusal:
                return refusal.response()

        return checked

    return decorate


def check_method(request: HttpRequest, method: str) -> None:
    """Raise `Refusal` (405) for another method."""
    if request.method != method:
        raise Refusal(405, "method_not_allowed", f"Use {method}.", {"Allow": method})


def read_body(request: HttpRequest, limit: int) -> bytes:
    """The body. Raises `Refusal` (413) without reading a body that is declared or turns out too large."""
    declared = request.META.get("CONTENT_LENGTH") or "0"
    fits = declared.isdigit() and int(declared) <= limit
    body = request.read(limit + 1) if fits else b""
    if not fits or len(body) > limit:
        raise Refusal(413, RefusalCode.TOO_LARGE, f"A body here has at most {limit} bytes.")
    return body


def authenticate(request: HttpRequest, body: bytes) -> OwnerHost:
    """The active host that signed this request; its last contact is noted. Raises `Refusal` (401)."""
    names = (KEY_HEADER, TIME_HEADER, SIGNATURE_HEADER)
    headers = {name: request.headers.get(name, "") for name in names}
    host: OwnerHost | None = OwnerHost.objects.active().filter(signing_key=headers[KEY_HEADER]).first()
    try:
        verify_request(headers, request.method or "", request.get_full_path(), body, int(time.time()))
    except WireError as error:
        if host is not None and error.code is RefusalCode.EXPIRED:
            raise Refusal(401, error.code, f"The request's time is off: {error.detail}.") from None
        raise unknown() from None
    if host is None:
        raise unknown()
    request.owner_host = host  # type: ignore[attr-defined]  # The audit reads there who acts.
    now = timezone.now()
    old = Q(last_contact=None) | Q(last_contact__lt=now - timedelta(seconds=CONTACT_SECONDS))
    if host.last_contact is None or now - host.last_contact > timedelta(seconds=CONTACT_SECONDS):
        OwnerHost.objects.filter(old, pk=host.pk).update(last_contact=now)
    return host


def unknown() -> Refusal:
    """What is answered to whoever is no host, or is one no more."""
    return Refusal(401, RefusalCode.UNKNOWN_SIGNER, "The request is not signed by a host that is known here.")
