"""What owner hosts ask of the coordinator: their orders, and to take reports, announcements, samples and artefacts."""

from __future__ import annotations

import re
import time
from typing import Final

from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from fedcore.coordinator.api.files import file_response
from fedcore.coordinator.api.host_auth import Refusal, authenticate, check_method, for_hosts, unknown
from fedcore.coordinator.api.waiting import in_database, latest_for_hosts, watch
from fedcore.coordinator.governance import audit, standings
from fedcore.coordinator.governance import heads as carried_heads
from fedcore.coordinator.governance.announcements import announce, keep_mock, wanted_mocks
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.models import OwnerHost
from fedcore.coordinator.runs import storage
from fedcore.coordinator.runs.audited import facts_of
from fedcore.coordinator.runs.models import Artefact, RunOrder
from fedcore.coordinator.runs.receiving import accept, uploads_allowed
from fedcore.coordinator.runs.states import ENDED
from fedcore.wire.catalogue import MAXIMUM_MOCK_BYTES
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import MAXIMUM_MESSAGE_BYTES, WireError
from fedcore.wire.orders import Phase
from fedcore.wire.signing import Signed

CHUNK_BYTES: Final = 4 * 1024 * 1024
ENVELOPE_BYTES: Final = 2 * MAXIMUM_MESSAGE_BYTES
HEAD_BYTES: Final = 16 * 1024
LONGEST_WAIT: Final = 30.0
ORDERS_PER_ANSWER: Final = 16
NOTICES_PER_ANSWER: Final = 16
_ANY_SERIAL: Final = 10**15 - 1
"""For hosts that do not ask about grants: no serial is above it."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_ORDER_ID: Final = re.compile(r"[0-9a-f]{32}")

NEEDS: Final = {
    Phase.SUMMARISE: {"summary"},
    Phase.SETTLE: {"summary"},
    Phase.DEAL: {"shares"},
    Phase.TRAIN: {"features", "shares", "dealt"},
    Phase.EVALUATE: {"model"},
}
"""Which artefacts of its run a host may fetch for an order of each phase, by their roles."""

SEALED: Final = {"features", "shares", "dealt"}
"""The roles of what a host may fetch only where it is sealed to it."""


@csrf_exempt
async def orders(request: HttpRequest) -> HttpResponseBase:
    """The host's unanswered orders after a serial, at once or when there are some: `?after=0&wait=20`.

    It is also answered when a grant on the host's data is new or has changed since `grants`, its serial.
    """
    try:
        check_method(request, "GET")
        host = await in_database(authenticate)(request, b"")
        after, grants = int(_number(request, "after", 0)), _number(request, "grants", _ANY_SERIAL)
        until = time.monotonic() + min(_number(request, "wait", 0), LONGEST_WAIT)
    except Refusal as refusal:
        return refusal.response()
    while True:
        # Looked up each time: the host may be closed out meanwhile, or have another key.
        if not await in_database(_is_known)(host):
            return unknown().response()
        found, serial, latest = await in_database(_deliverable)(host, after)
        left = until - time.monotonic()
        if found or serial > grants or left <= 0:
            break
        await watch(latest_for_hosts).beyond(latest, left)
    cursor = max((order.serial for order in found), default=after)
    envelopes = ",".join(order.envelope for order in found)
    answer = f'{{"cursor":{cursor},"orders":[{envelopes}],"grants":{serial}}}'
    return HttpResponse(answer, content_type="application/json")


def _is_known(host: OwnerHost) -> bool:
    found: bool = OwnerHost.objects.active().filter(pk=host.pk, signing_key=host.signing_key).exists()
    return found


def _deliverable(host: OwnerHost, after: int) -> tuple[list[RunOrder], int, int]:
    # The latest number first: what appears in between then only costs one more look.
    latest, serial = latest_for_hosts(), standings.serial_of(host)
    open_orders = RunOrder.objects.filter(host=host, status="", serial__gt=after)
    current = open_orders.exclude(run__state__in=ENDED) | open_orders.filter(phase=Phase.CLOSE)
    found = current.only("serial", "envelope").order_by("serial")[:ORDERS_PER_ANSWER]
    return list(found), serial, latest


def _number(request: HttpRequest, name: str, default: int) -> float:
    text = request.GET.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise Refusal(400, RefusalCode.MALFORMED, f"`{name}` is a whole number.")
    return float(text)


@for_hosts("POST", ENVELOPE_BYTES)
def reports(request: HttpRequest, host: OwnerHost, body: bytes) -> HttpResponse:
    """Take a signed report."""
    accept(host, Signed.from_bytes(body))
    return JsonResponse({"accepted": True})


@for_hosts("POST", ENVELOPE_BYTES)
def announcements(request: HttpRequest, host: OwnerHost, body: bytes) -> HttpResponse:
    """Take a signed announcement of the datasets that the host offers now."""
    announce(host, Signed.from_bytes(body))
    return JsonResponse({"accepted": True})


@for_hosts("GET")
def mocks(request: HttpRequest, host: OwnerHost, body: bytes) -> HttpResponse:
    """Which mock samples of the host's datasets are not here yet."""
    return JsonResponse({"wanted": wanted_mocks(host)})


@for_hosts("PUT", MAXIMUM_MOCK_BYTES)
def mock(request: HttpRequest, host: OwnerHost, body: bytes, digest: str) -> HttpResponse:
    """Take a mock sample that the host has announced."""
    keep_mock(host, digest, body)
    return JsonResponse({"accepted": True})


@for_hosts("GET")
def grants(request: HttpRequest, host: OwnerHost, body: bytes) -> HttpResponse:
    """Signed notices of the grants on the host's data that are new or have changed since a serial: `?after=0`."""
    cursor, found = standings.notices(host, int(_number(request, "after", 0)), NOTICES_PER_ANSWER)
    envelopes = ",".join(signed.encode() for signed in found)
    return HttpResponse(f'{{"cursor":{cursor},"notices":[{envelopes}]}}', content_type="application/json")


@for_hosts("POST", ENVELOPE_BYTES)
def standing(request: HttpRequest, host: OwnerHost, body: bytes) -> HttpResponse:
    """Take the host's signed word on how a grant stands there."""
    standings.receive(host, Signed.from_bytes(body))
    return JsonResponse({"accepted": True})


@for_hosts("POST", HEAD_BYTES)
def heads(request: HttpRequest, host: OwnerHost, body: bytes) -> HttpResponse:
    """Take how far the host's privacy ledger has come; what other hosts ask, and their receipts for it."""
    asked, receipts = carried_heads.exchange(host, Signed.from_bytes(body))
    found = {"heads": asked, "receipts": receipts}
    lists = (f'"{name}":[{",".join(signed.encode() for signed in group)}]' for name, group in found.items())
    return HttpResponse(f"{{{','.join(lists)}}}", content_type="application/json")


@for_hosts("POST", HEAD_BYTES)
def head_receipts(request: HttpRequest, host: OwnerHost, body: bytes) -> HttpResponse:
    """Take the host's signed receipt for the head of another host's privacy ledger."""
    carried_heads.keep_receipt(host, Signed.from_bytes(body))
    return JsonResponse({"accepted": True})


@csrf_exempt
def artefact(request: HttpRequest, order_id: str, digest: str) -> HttpResponseBase:
    """The bytes of an artefact: how far an upload is, a further chunk of it, or what another host sent."""
    views = {"HEAD": upload_state, "PATCH": upload_chunk, "GET": download}
    view = views.get(request.method or "")
    if not _DIGEST.fullmatch(digest):
        return Refusal(404, "not_found", "An artefact is known by its SHA-256.").response()
    if view is None:
        allowed = {"Allow": ", ".join(views)}
        return Refusal(405, "method_not_allowed", "Use HEAD, PATCH or GET.", allowed).response()
    return view(request, order_id=order_id, digest=digest)


@for_hosts("HEAD")
def upload_state(
    request: HttpRequest, host: OwnerHost, body: bytes, order_id: str, digest: str
) -> HttpResponse:
    found = Artefact.objects.filter(order=_own_order(host, order_id), digest=digest).first()
    if found is None:
        raise Refusal(404, "not_found", "Nothing was uploaded yet.")
    return HttpResponse(headers={"Upload-Offset": str(found.offset), "Upload-Length": str(found.size)})


@for_hosts("PATCH", CHUNK_BYTES)
def upload_chunk(
    request: HttpRequest, host: OwnerHost, body: bytes, order_id: str, digest: str
) -> HttpResponse:
    order = _own_order(host, order_id)
    if not uploads_allowed(order):
        raise Refusal(409, RefusalCode.CONFLICT, "The order takes no uploads (any more).")
    offset, size = _header(request, "Upload-Offset"), _header(request, "Upload-Length")
    try:
        taken = storage.append(storage.begin(order, digest, size), offset, body)
    except storage.UploadRefused as error:
        headers = {} if error.offset is None else {"Upload-Offset": str(error.offset)}
        status = Refusal.of(WireError(error.code, error.detail)).status
        raise Refusal(status, error.code, error.detail, headers) from None
    return HttpResponse(status=204, headers={"Upload-Offset": str(taken.offset)})


@for_hosts("GET")
def download(
    request: HttpRequest, host: OwnerHost, body: bytes, order_id: str, digest: str
) -> HttpResponseBase:
    order = _own_order(host, order_id)
    needed = NEEDS.get(Phase(order.phase), set())
    fitting = Q(role__in=needed & SEALED, audience=host.signing_key)
    fitting |= Q(role__in=needed - SEALED, audience__in=("", host.signing_key))
    found = Artefact.objects.filter(
        fitting, run=order.run_id, digest=digest, complete=True, deleted_at=None
    ).first()
    if found is None or order.answered or order.run.ended:
        raise Refusal(404, "not_found", "There is no such artefact for this order.")
    audit.record(Action.GIVE_ARTEFACT, found, **facts_of(found))
    return file_response(request, storage.file_of(found))


def _own_order(host: OwnerHost, order_id: str) -> RunOrder:
    known = RunOrder.objects.select_related("run").filter(host=host)
    order: RunOrder | None = known.filter(pk=order_id).first() if _ORDER_ID.fullmatch(order_id) else None
    if order is None:
        raise Refusal(404, "not_found", "This host has no such order.")
    return order


def _header(request: HttpRequest, name: str) -> int:
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise Refusal(400, RefusalCode.MALFORMED, f"The header {name} is a whole number of bytes.")
    return int(text)
