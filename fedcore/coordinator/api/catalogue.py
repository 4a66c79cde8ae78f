"""The catalogue: owner hosts, and the plugins of the coordinator. Datasets are in `datasets`."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fedcore.coordinator import plugins
from fedcore.coordinator.governance.models import OwnerHost
from fedcore.coordinator.governance.people import person_of


class HostSerializer(serializers.ModelSerializer[OwnerHost]):
    organisation = serializers.CharField(source="organisation.name")
    card = serializers.CharField()
    fingerprint = serializers.CharField()
    away = serializers.BooleanField(source="is_away")

    class Meta:
        model = OwnerHost
        fields = (
            "name",
            "organisation",
            "card",
            "fingerprint",
            "is_reference",
            "is_dealer",
            "last_contact",
            "away",
        )


class HostsView(generics.ListAPIView[OwnerHost]):
    """The active owner hosts, reference hosts and dealers among them."""

    serializer_class = HostSerializer

    def get_queryset(self) -> QuerySet[OwnerHost]:
        return visible(OwnerHost, self.request).filter(is_active=True).select_related("organisation")


class PluginsView(APIView):
    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """The plugins by group: options as JSON schemas; what backends leak, and which coalitions read rows."""
        return Response(plugins.described())


def visible(model: Any, request: Request) -> QuerySet[Any]:
    """The rows of `model` that the person who asks may see."""
    if not request.user.is_authenticated:
        # Only the API's description is made without anybody asking: permissions are checked before.
        nothing: QuerySet[Any] = model.objects.none()
        return nothing
    rows: QuerySet[Any] = model.objects.visible_to(person_of(request))
    return rows
