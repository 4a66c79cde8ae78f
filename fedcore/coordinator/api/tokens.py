"""The list of one's own API tokens."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from drf_spectacular.contrib.knox_auth_token import KnoxTokenScheme
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fedcore.coordinator.api.authentication import Authentication
from fedcore.coordinator.api.schema import ErrorSerializer
from fedcore.coordinator.governance.models import ApiToken
from fedcore.coordinator.governance.people import person_of


class Described(KnoxTokenScheme):  # type: ignore[no-untyped-call]
    """How the API's description names the tokens."""

    target_class = f"{Authentication.__module__}.{Authentication.__qualname__}"


class ListedTokenSerializer(serializers.ModelSerializer[ApiToken]):
    """A token, without its text: that is shown once, when it is made."""

    name = serializers.CharField(help_text="Names the token in lists and addresses; it lets nobody in.")
    current = serializers.SerializerMethodField(help_text="Whether this request came with it.")

    class Meta:
        model = ApiToken
        fields = ("name", "created", "expiry", "last_used_at", "address", "device", "current")

    def get_current(self, token: ApiToken) -> bool:
        return bool(token.pk == self.context["current"])


class TokensView(APIView):
    @extend_schema(responses=ListedTokenSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The tokens of the person who is logged in, newest first."""
        current: Any = request.auth
        shown = ListedTokenSerializer(_own(request), many=True, context={"current": current.pk})
        return Response(shown.data)


class TokenView(APIView):
    @extend_schema(responses={204: None, 404: ErrorSerializer})
    def delete(self, request: Request, name: str) -> Response:
        """End one of one's own tokens, at once."""
        ended, _rows = ApiToken.named(person_of(request), name).delete()
        if not ended:
            raise Http404
        return Response(status=204)


def _own(request: Request) -> Any:
    return ApiToken.objects.filter(user=person_of(request))
