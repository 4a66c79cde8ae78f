"""The catalogue: datasets, owner hosts, and the plugins of the coordinator."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fedcore.coordinator import plugins
from fedcore.coordinator.governance.models import Dataset, OwnerHost
from fedcore.coordinator.governance.people import person_of


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    host = serializers.CharField(source="host.signing_key")
    host_name = serializers.CharField(source="host.name")
    host_card = serializers.CharField(source="host.card")
    organisation = serializers.CharField(source="host.organisation.name")
    version = serializers.CharField(source="current_version")
    columns = serializers.ListField(child=serializers.CharField())
    classes = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Dataset
        fields = (
            *("host", "host_name", "host_card", "organisation", "name", "version", "title", "description"),
            *("reader", "columns", "classes", "rows", "announced_at"),
        )


class HostSerializer(serializers.ModelSerializer[OwnerHost]):
    organisation = serializers.CharField(source="organisation.name")
    card = serializers.CharField()
    fingerprint = serializers.CharField()
    away = serializers.BooleanField(source="is_away")

    class Meta:
        model = OwnerHost
        fields = ("name", "organisation", "card", "fingerprint", "is_reference", "last_contact", "away")


@extend_schema(parameters=[OpenApiParameter("search", str, description="In name, title and description.")])
class DatasetsView(generics.ListAPIView[Dataset]):
    """The datasets that owners offer now."""

    serializer_class = DatasetSerializer

    def get_queryset(self) -> QuerySet[Dataset]:
        offered = visible(Dataset, self.request).filter(is_offered=True, host__is_active=True)
        words = self.request.query_params.get("search", "")
        found = Q(name__icontains=words) | Q(title__icontains=words) | Q(description__icontains=words)
        return offered.filter(found).select_related("host__organisation")


class HostsView(generics.ListAPIView[OwnerHost]):
    """The active owner hosts, reference hosts among them."""

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
