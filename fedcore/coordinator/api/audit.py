"""The audit, for auditors' own programs: entries exactly as the chain covers them."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fedcore.coordinator.api.catalogue import visible
from fedcore.coordinator.api.schema import ErrorSerializer
from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.audit import Action, Thing, exporting
from fedcore.coordinator.governance.models import AuditEntry

MOST: Final = 500


class EntrySerializer(serializers.Serializer[AuditEntry]):
    """One entry. `digest` is the SHA-256 of the other fields but `signature`, as JSON with sorted names, without
    spaces, in ASCII."""

    serial = serializers.IntegerField()
    at = serializers.CharField()
    who = serializers.CharField()
    person = serializers.IntegerField(allow_null=True)
    host = serializers.IntegerField(allow_null=True)
    channel = serializers.CharField()
    origin = serializers.CharField(allow_null=True, help_text="The commitment of an address.")
    action = serializers.CharField()
    thing = serializers.CharField()
    thing_id = serializers.CharField()
    concerns = serializers.CharField()
    outcome = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField(help_text="JSON text.")
    previous = serializers.CharField()
    digest = serializers.CharField()
    signer = serializers.CharField()
    signature = serializers.CharField()


class PageSerializer(serializers.Serializer[Any]):
    entries = EntrySerializer(many=True)
    next = serializers.IntegerField(allow_null=True, help_text="`after` for the next page; none at the end.")


class AskedSerializer(serializers.Serializer[Any]):
    after = serializers.IntegerField(min_value=0, max_value=2**53, default=0)
    limit = serializers.IntegerField(min_value=1, max_value=MOST, default=100)
    action = serializers.ChoiceField(Action.choices, required=False)
    run = serializers.RegexField(r"^[0-9a-f]{64}\Z", required=False)


class HeadSerializer(serializers.Serializer[Any]):
    serial = serializers.IntegerField()
    digest = serializers.CharField()


class AuditView(APIView):
    """Entries of the audit, in pages by serial."""

    @extend_schema(
        parameters=[
            OpenApiParameter("after", int, description="Entries with a higher serial."),
            OpenApiParameter("limit", int, description=f"At most so many, {MOST} at the most."),
            OpenApiParameter("action", str, enum=Action.values),
            OpenApiParameter("run", str, description="What concerned this run."),
        ],
        responses={200: PageSerializer, 400: ErrorSerializer},
    )
    def get(self, request: Request) -> Response:
        """What one may see of the audit, in the order of its serials: the own acts, and what one oversees."""
        asked = AskedSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        found = list(_chosen(request, given).order_by("serial")[: given["limit"] + 1])
        page, more = found[: given["limit"]], len(found) > given["limit"]
        rows = [exporting.row_of(entry) for entry in page]
        return Response({"entries": rows, "next": page[-1].serial if more else None})


class AuditHeadView(APIView):
    """The last entry of the audit, to be kept elsewhere."""

    @extend_schema(responses=HeadSerializer)
    def get(self, request: Request) -> Response:
        """The audit's last entry, to be kept elsewhere: it shows later whether entries were cut off."""
        head = audit.head()
        return Response({"serial": head.serial, "digest": head.digest})


def _chosen(request: Request, given: dict[str, Any]) -> QuerySet[AuditEntry]:
    entries: Any = visible(AuditEntry, request).filter(serial__gt=given["after"])
    if "action" in given:
        entries = entries.filter(action=given["action"])
    if "run" in given:
        entries = entries.concerning(Thing.RUN, given["run"])
    chosen: QuerySet[AuditEntry] = entries
    return chosen
