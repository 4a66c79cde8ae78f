"""Dry runs on mock samples: of an access request, or of a plan before anybody is asked."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fedcore.coordinator.api.catalogue import visible
from fedcore.coordinator.api.parsers import read_at_most
from fedcore.coordinator.api.schema import ErrorSerializer
from fedcore.coordinator.governance import trying
from fedcore.coordinator.governance.models import AccessRequest, DryRun
from fedcore.coordinator.governance.people import person_of
from fedcore.wire.codes import RefusalCode
from fedcore.wire.dry_runs import DryRunPlan
from fedcore.wire.encoding import MAXIMUM_MESSAGE_BYTES, WireError

_REFUSALS = {400: ErrorSerializer, 403: ErrorSerializer, 404: ErrorSerializer, 429: ErrorSerializer}


class DryRunSerializer(serializers.ModelSerializer[DryRun]):
    """`trials` are `fedcore.wire.dry_runs.Trial`s. Their metrics are those of made-up rows."""

    passes = serializers.BooleanField()
    trials = serializers.ListField(child=serializers.DictField())

    class Meta:
        model = DryRun
        fields = ("id", "state", "passes", "trials", "remark", "asked_at", "finished_at")


class PlanParser(BaseParser):
    """A plan to try. `request.data` is a `DryRunPlan`. Raises `WireError`."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return DryRunPlan.parse(read_at_most(stream, MAXIMUM_MESSAGE_BYTES))


class DryRunsView(APIView):
    """Have a plan tried on mock samples."""

    parser_classes = (PlanParser,)

    @extend_schema(request=OpenApiTypes.OBJECT, responses={201: DryRunSerializer} | _REFUSALS)
    def post(self, request: Request) -> Response:
        """Have a plan tried on the mock samples of its datasets, before access is asked for."""
        plan: Any = request.data
        if not isinstance(plan, DryRunPlan):
            raise WireError(RefusalCode.MALFORMED, "the body is empty")
        return Response(DryRunSerializer(trying.ask(person_of(request), plan)).data, status=201)


class DryRunView(APIView):
    """A dry run and what came of it."""

    @extend_schema(responses={200: DryRunSerializer, 404: ErrorSerializer})
    def get(self, request: Request, dry_run: str) -> Response:
        """A dry run, as far as it is."""
        found = visible(DryRun, request).filter(pk=dry_run).first()
        if found is None:
            raise Http404
        return Response(DryRunSerializer(found).data)


class RequestDryRunView(APIView):
    """Have an access request tried again."""

    @extend_schema(request=None, responses={200: DryRunSerializer} | _REFUSALS)
    def post(self, request: Request, digest: str) -> Response:
        """Have an access request tried again, where its dry run is over."""
        found = visible(AccessRequest, request).filter(pk=digest).first()
        if found is None:
            raise Http404
        return Response(DryRunSerializer(trying.ask_again(found, person_of(request))).data)
