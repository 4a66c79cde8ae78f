"""Access requests: scientists hand them in, data owners decide."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fedcore.coordinator.api.catalogue import visible
from fedcore.coordinator.api.parsers import SignedParser, signed_body
from fedcore.coordinator.api.schema import ErrorSerializer, SignedSerializer
from fedcore.coordinator.governance import decisions, standings, submissions
from fedcore.coordinator.governance.models import AccessRequest, Grant
from fedcore.coordinator.governance.people import person_of

_REFUSALS = {400: ErrorSerializer, 403: ErrorSerializer, 404: ErrorSerializer, 409: ErrorSerializer}


class GrantSerializer(serializers.ModelSerializer[Grant]):
    usable = serializers.BooleanField(source="is_usable")
    releases_used = serializers.IntegerField()
    at_host = serializers.SerializerMethodField()

    def get_at_host(self, grant: Grant) -> str:
        """How the grant stands at its owner's host, in words."""
        return standings.in_words(grant, grant.request.dataset.host)

    class Meta:
        model = Grant
        fields = (
            "releases",
            "releases_used",
            "expires_at",
            "download",
            "approved_at",
            "revoked_at",
            "usable",
            "standing",
            "standing_at",
            "at_host",
        )


class AccessRequestSerializer(serializers.ModelSerializer[AccessRequest]):
    host = serializers.CharField(source="dataset.host.signing_key")
    host_name = serializers.CharField(source="dataset.host.name")
    dataset = serializers.CharField(source="dataset.name")
    version = serializers.CharField(source="dataset_version")
    owner = serializers.CharField(source="dataset.host.organisation.name")
    requested_by = serializers.CharField(source="requested_by.username")
    organisation = serializers.CharField(source="requested_by.organisation.name", default="")
    fingerprint = serializers.CharField()
    pipelines = serializers.ListField(child=serializers.DictField())
    protocols = serializers.ListField(child=serializers.CharField())
    backends = serializers.ListField(child=serializers.CharField())
    models = serializers.ListField(child=serializers.CharField(), source="model_types")
    decided_by = serializers.CharField(source="decided_by.username", default=None, allow_null=True)
    grant = GrantSerializer(default=None, allow_null=True)

    class Meta:
        model = AccessRequest
        fields = (
            *("digest", "state", "host", "host_name", "dataset", "version", "owner", "requested_by"),
            *(
                "organisation",
                "fingerprint",
                "purpose",
                "reason",
                "pipelines",
                "protocols",
                "backends",
                "models",
            ),
            *(
                "releases",
                "minimum_owners",
                "download",
                "expires_at",
                "created_at",
                "decided_by",
                "decided_at",
            ),
            *("decision_reason", "grant"),
        )


class DecisionSerializer(serializers.Serializer[None]):
    reason = serializers.CharField(max_length=2000)


class ApprovalSerializer(serializers.Serializer[None]):
    """Limits below those of the request; what is left out stays as asked."""

    releases = serializers.IntegerField(required=False, min_value=1)
    expires_at = serializers.DateTimeField(required=False)
    download = serializers.BooleanField(required=False)
    reason = serializers.CharField(required=False, allow_blank=True, max_length=2000)


class RequestsView(APIView):
    @extend_schema(responses=AccessRequestSerializer(many=True))
    def get(self, request: Request) -> Response:
        """One's own requests, and those for data of organisations that one oversees; newest first."""
        return Response(AccessRequestSerializer(_requests(request), many=True).data)

    @extend_schema(
        request=SignedSerializer,
        responses={201: AccessRequestSerializer, 200: AccessRequestSerializer} | _REFUSALS,
    )
    def post(self, request: Request) -> Response:
        """Hand in a signed access request. Handing in the same one again returns it as it is."""
        kept, is_new = submissions.submit_request(signed_body(request), person_of(request))
        return Response(AccessRequestSerializer(kept).data, status=201 if is_new else 200)

    def get_parsers(self) -> list[Any]:
        return [SignedParser()]


class RequestView(APIView):
    @extend_schema(responses={200: AccessRequestSerializer, 404: ErrorSerializer})
    def get(self, request: Request, digest: str) -> Response:
        return Response(AccessRequestSerializer(_request(request, digest)).data)


class ApproveView(APIView):
    @extend_schema(request=ApprovalSerializer, responses={200: AccessRequestSerializer} | _REFUSALS)
    def post(self, request: Request, digest: str) -> Response:
        """Grant a waiting request, within its limits. What is handed over cannot be called back."""
        found, given = _request(request, digest), _valid(ApprovalSerializer, request)
        reason = given.pop("reason", "")
        decisions.approve(found, person_of(request), decisions.Limits(**given), reason)
        return Response(AccessRequestSerializer(_request(request, digest)).data)


class RefuseView(APIView):
    @extend_schema(request=DecisionSerializer, responses={200: AccessRequestSerializer} | _REFUSALS)
    def post(self, request: Request, digest: str) -> Response:
        """Refuse a waiting request, with a reason that the scientist reads."""
        found, given = _request(request, digest), _valid(DecisionSerializer, request)
        decisions.refuse(found, person_of(request), given["reason"])
        return Response(AccessRequestSerializer(found).data)


class RevokeView(APIView):
    @extend_schema(request=DecisionSerializer, responses={200: AccessRequestSerializer} | _REFUSALS)
    def post(self, request: Request, digest: str) -> Response:
        """End a grant at once: no further run starts under it."""
        found, given = _request(request, digest), _valid(DecisionSerializer, request)
        decisions.revoke(found, person_of(request), given["reason"])
        return Response(AccessRequestSerializer(_request(request, digest)).data)


def _requests(request: Request) -> Any:
    joined = ("dataset__host__organisation", "requested_by__organisation", "decided_by", "grant")
    return visible(AccessRequest, request).select_related(*joined)


def _request(request: Request, digest: str) -> AccessRequest:
    found: AccessRequest | None = _requests(request).filter(digest=digest).first()
    if found is None:
        raise Http404
    return found


def _valid(serializer: type[serializers.Serializer[None]], request: Request) -> dict[str, Any]:
    given = serializer(data=request.data)
    given.is_valid(raise_exception=True)
    values: dict[str, Any] = given.validated_data
    return values
