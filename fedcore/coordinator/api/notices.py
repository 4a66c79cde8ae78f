"""One's own notices."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fedcore.coordinator.api.catalogue import visible
from fedcore.coordinator.api.schema import ErrorSerializer
from fedcore.coordinator.governance import notices
from fedcore.coordinator.governance.models import Notice
from fedcore.coordinator.governance.people import person_of


class NoticeSerializer(serializers.ModelSerializer[Notice]):
    address = serializers.CharField(help_text="The page in the admin of what it is about.")

    class Meta:
        model = Notice
        fields = ("id", "about", "subject", "text", "address", "created_at", "read_at")


class ReadSerializer(serializers.Serializer[None]):
    ids = serializers.ListField(
        child=serializers.IntegerField(min_value=1),
        required=False,
        max_length=notices.KEPT,
        help_text="Which to mark; all where it is left out.",
    )


class MarkedSerializer(serializers.Serializer[None]):
    marked = serializers.IntegerField(help_text="How many were unread before.")


class NoticesView(APIView):
    @extend_schema(responses=NoticeSerializer(many=True))
    def get(self, request: Request) -> Response:
        """One's own notices, newest first; the oldest go when there are many."""
        return Response(NoticeSerializer(visible(Notice, request), many=True).data)


class ReadView(APIView):
    @extend_schema(request=ReadSerializer, responses={200: MarkedSerializer, 400: ErrorSerializer})
    def post(self, request: Request) -> Response:
        """Mark one's own notices as read."""
        given = ReadSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        marked = notices.mark_read(person_of(request), given.validated_data.get("ids"))
        return Response({"marked": marked})
