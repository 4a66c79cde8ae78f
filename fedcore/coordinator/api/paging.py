"""Pages of lists that grow: the next one is in the header `Link`, and nothing is shown twice or left out."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

PAGE: Final = 100


PARAMETERS: Final = [
    OpenApiParameter("cursor", str, description="Where a page begins: from the header `Link`."),
    OpenApiParameter("page_size", int, description=f"How many on a page: {PAGE} without it, 1000 at most."),
]
"""How a list in pages is asked for."""


class Pages(CursorPagination):
    page_size = PAGE
    page_size_query_param = "page_size"
    max_page_size = 1000

    def get_paginated_response(self, data: Any) -> Response:
        links = {"next": self.get_next_link(), "prev": self.get_previous_link()}
        shown = ", ".join(f'<{address}>; rel="{name}"' for name, address in links.items() if address)
        return Response(data, headers={"Link": shown} if shown else {})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return schema


class Newest(Pages):
    """The newest first."""

    ordering = ("-created_at", "pk")


def newest(
    request: Request, rows: QuerySet[Any], serializer: type[Any], context: dict[str, Any] | None = None
) -> Response:
    """The page of these rows that was asked for, the newest first."""
    pages = Newest()
    page = pages.paginate_queryset(rows, request)
    return pages.get_paginated_response(serializer(page, many=True, context=context or {}).data)
