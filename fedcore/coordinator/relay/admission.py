"""Who may use the relay: a compute owner of a run under `shared`, with an open order to train in it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.utils import timezone

from fedcore.coordinator.api.host_auth import Refusal, authenticate
from fedcore.coordinator.governance.models import OwnerHost
from fedcore.coordinator.runs.models import RunOrder
from fedcore.coordinator.runs.states import ENDED
from fedcore.wire.orders import Phase
from fedcore.wire.relay import RELAY_PATH


@dataclass(frozen=True)
class Admission:
    """A host's leave to use the relay: as which of the two sides of its run, and for which order."""

    run: str
    side: int
    order: str
    key: str


def admit(scope: dict[str, Any]) -> Admission:
    """The leave of the host that signed the request to connect. One look at the database.

    Raises `Refusal` (401) for whoever is no host, and (404) in the same words for every order that is not one of this
    host's to train on shares, or no longer.
    """
    request = ASGIRequest({**scope, "type": "http", "method": "GET"}, io.BytesIO())
    host = authenticate(request, b"")
    order = _open_orders(scope["path"].removeprefix(RELAY_PATH), host.signing_key).first()
    sides = order.run.spec.compute_owners if order is not None else ()
    if order is None or host.signing_key not in sides:
        raise Refusal(404, "not_found", "There is no such order to train on shares.")
    return Admission(order.run_id, sides.index(host.signing_key), order.pk, host.signing_key)


def is_still_admitted(admission: Admission) -> bool:
    """Whether order, run and host are still as they were when the host was let in."""
    return _open_orders(admission.order, admission.key).exists()


def _open_orders(order: str, key: str) -> QuerySet[RunOrder]:
    hosts = OwnerHost.objects.active().filter(signing_key=key)
    found: QuerySet[RunOrder] = RunOrder.objects.filter(
        pk=order, host__in=hosts, phase=Phase.TRAIN, status="", expires_at__gt=timezone.now()
    )
    return found.exclude(run__state__in=ENDED).select_related("run")
