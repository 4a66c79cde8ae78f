"""Datasets of the catalogue: found, described with their versions, and their mock samples."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fedcore.coordinator.api.catalogue import visible
from fedcore.coordinator.api.paging import Pages
from fedcore.coordinator.api.schema import ErrorSerializer
from fedcore.coordinator.governance.models import Dataset, DatasetVersion, Sensitivity
from fedcore.coordinator.governance.search import DatasetSearch, with_mocks

ORDERINGS: Final = {
    "name": ("name", "pk"),
    "title": ("title", "pk"),
    "rows": ("-rows", "pk"),
    "newest": ("-pk",),
}


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    host = serializers.CharField(source="host.signing_key")
    host_name = serializers.CharField(source="host.name")
    host_card = serializers.CharField(source="host.card")
    organisation = serializers.CharField(source="host.organisation.name")
    version = serializers.CharField(source="current_version")
    columns = serializers.ListField(child=serializers.CharField())
    column_kinds = serializers.DictField(child=serializers.CharField())
    column_notes = serializers.DictField(child=serializers.CharField())
    classes = serializers.ListField(child=serializers.CharField())
    mock = serializers.CharField(
        source="mock_digest", allow_null=True, help_text="The digest of the mock sample, where there is one."
    )

    class Meta:
        model = Dataset
        fields = (
            *("host", "host_name", "host_card", "organisation", "name", "version", "title", "description"),
            *("reader", "columns", "column_kinds", "column_notes", "classes", "rows"),
            *("licence", "terms", "sensitivity", "price", "contact", "retention", "mock", "announced_at"),
        )


class VersionSerializer(serializers.ModelSerializer[DatasetVersion]):
    version = serializers.CharField(source="digest")

    class Meta:
        model = DatasetVersion
        fields = ("version", "rows", "first_announced", "last_announced")


class OneDatasetSerializer(DatasetSerializer):
    versions = VersionSerializer(many=True)

    class Meta:
        model = Dataset
        fields: Any = (*DatasetSerializer.Meta.fields, "versions")


class DatasetPages(Pages):
    """In the order that is asked for."""

    def get_ordering(self, request: Request, queryset: Any, view: Any) -> tuple[str, ...]:
        wanted = request.query_params.get("ordering", "name")
        if wanted not in ORDERINGS:
            raise ValidationError({"ordering": [f"Choose one of {', '.join(ORDERINGS)}."]})
        return ORDERINGS[wanted]


class QuerySerializer(serializers.Serializer[None]):
    """What a list of datasets may be cut down to."""

    search = serializers.CharField(required=False, allow_blank=True, max_length=200)
    organisation = serializers.CharField(required=False, max_length=63)
    sensitivity = serializers.ChoiceField(Sensitivity.choices, required=False)
    reader = serializers.CharField(required=False, max_length=63)
    class_name = serializers.CharField(required=False, max_length=63)
    columns = serializers.ListField(child=serializers.CharField(max_length=63), max_length=32)
    minimum_rows = serializers.IntegerField(required=False, min_value=0, max_value=2**53)


_PARAMETERS: Final = [
    OpenApiParameter("search", str, description="Words, all of which stand in what the owner tells."),
    OpenApiParameter("organisation", str, description="The name of the organisation that owns the data."),
    OpenApiParameter("sensitivity", str, enum=list(Sensitivity)),
    OpenApiParameter("reader", str),
    OpenApiParameter("class", str, description="A class that the rows have."),
    OpenApiParameter("column", str, many=True, description="Columns that the rows have, all of them."),
    OpenApiParameter("min_rows", int),
    OpenApiParameter("ordering", str, enum=list(ORDERINGS)),
]


@extend_schema(parameters=_PARAMETERS)
class DatasetsView(generics.ListAPIView[Dataset]):
    """The datasets that owners offer now. The header `Link` has the next page, where there is one."""

    serializer_class = DatasetSerializer
    pagination_class = DatasetPages

    def get_queryset(self) -> QuerySet[Dataset]:
        offered: Any = visible(Dataset, self.request)
        found = _asked_for(self.request).among(offered.offered())
        return with_mocks(found).select_related("host__organisation")


class DatasetView(APIView):
    """A dataset with the versions that its host has announced."""

    @extend_schema(responses={200: OneDatasetSerializer, 404: ErrorSerializer})
    def get(self, request: Request, host: str, name: str) -> Response:
        """A dataset with the versions that its host has announced, the latest first."""
        return Response(OneDatasetSerializer(_dataset(request, host, name)).data)


class MockView(APIView):
    """The mock sample of a dataset."""

    @extend_schema(
        parameters=[OpenApiParameter("version", str, description="Instead of the current version.")],
        responses={200: OpenApiTypes.OBJECT, 404: ErrorSerializer},
    )
    def get(self, request: Request, host: str, name: str) -> HttpResponse:
        """The mock sample: the cells of each column, the classes, and each row's label. The rows are made up."""
        dataset = _dataset(request, host, name)
        digest = request.query_params.get("version", dataset.current_version)
        version = dataset.versions.filter(digest=digest).first()
        mock = version.mock if version else None
        if mock is None:
            raise Http404
        saved_as = f'attachment; filename="{host}-{name}-mock.json"'
        return HttpResponse(
            bytes(mock.content),
            content_type="application/json",
            headers={"Content-Disposition": saved_as, "ETag": f'"{mock.digest}"'},
        )


def _asked_for(request: Request) -> DatasetSearch:
    given = request.query_params
    renamed = {"class": "class_name", "min_rows": "minimum_rows"}
    values: dict[str, Any] = {renamed.get(name, name): value for name, value in given.items()}
    query = QuerySerializer(data={**values, "columns": given.getlist("column")})
    query.is_valid(raise_exception=True)
    asked: dict[str, Any] = query.validated_data
    return DatasetSearch(words=asked.pop("search", ""), **asked)


def _dataset(request: Request, host: str, name: str) -> Dataset:
    found = with_mocks(visible(Dataset, request)).filter(host__name=host, name=name)
    dataset: Dataset | None = found.select_related("host__organisation").first()
    if dataset is None:
        raise Http404
    return dataset
