"""What anybody may ask: who runs this coordinator, and whether it works."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from django.conf import settings
from django.db import DatabaseError, connection
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fedcore.coordinator.identity import coordinator_key


def _program_version() -> str:
    try:
        return version("fedcore")
    except PackageNotFoundError:
        return "0"


PROGRAM_VERSION: Final = _program_version()


class CoordinatorSerializer(serializers.Serializer[None]):
    key = serializers.CharField(help_text="The public key that signs orders: owner hosts pin it.")
    operator = serializers.CharField(help_text="The organisation that runs the coordinator.")
    version = serializers.CharField()


class HealthSerializer(serializers.Serializer[None]):
    status = serializers.ChoiceField(["ok", "failing"])
    database = serializers.BooleanField()


class PublicView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)


class CoordinatorView(PublicView):
    @extend_schema(responses=CoordinatorSerializer)
    def get(self, request: Request) -> Response:
        """The coordinator's public key and operator, for owner hosts to pin."""
        return Response(
            {
                "key": coordinator_key().public,
                "operator": settings.FEDCORE_OPERATOR_ORGANISATION,
                "version": PROGRAM_VERSION,
            }
        )


class HealthView(PublicView):
    @extend_schema(responses={200: HealthSerializer, 503: HealthSerializer})
    def get(self, request: Request) -> Response:
        """Whether the coordinator can do its work; 503 when its database does not answer."""
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except DatabaseError:
            return Response({"status": "failing", "database": False}, status=503)
        return Response({"status": "ok", "database": True})
