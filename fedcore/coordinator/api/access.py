"""Access requests: scientists hand them in, answer and withdraw; data owners ask back, decide and tighten."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fedcore.coordinator.api.catalogue import visible
from fedcore.coordinator.api.dry_runs import DryRunSerializer
from fedcore.coordinator.api.limits import EpsilonField, GivenLimitsSerializer, as_limits
from fedcore.coordinator.api.paging import PARAMETERS, newest
from fedcore.coordinator.api.parsers import SignedParser, signed_body
from fedcore.coordinator.api.schema import ErrorSerializer, SignedSerializer
from fedcore.coordinator.governance import booking, decisions, renewals, standings, submissions
from fedcore.coordinator.governance.models import AccessRequest, Grant, Proposal, ThreadEntry
from fedcore.coordinator.governance.people import person_of

_REFUSALS = {400: ErrorSerializer, 403: ErrorSerializer, 404: ErrorSerializer, 409: ErrorSerializer}
_LIMITS = (
    *("protocols", "backends", "models", "epsilon_micro", "releases", "minimum_owners", "expires_at"),
    "download",
)


class LimitedSerializer(serializers.ModelSerializer[Any]):
    """The eight limits of a request, of a first approval, or of a grant."""

    protocols = serializers.ListField(child=serializers.CharField())
    backends = serializers.ListField(child=serializers.CharField())
    models = serializers.ListField(child=serializers.CharField(), source="model_types")
    epsilon_micro = EpsilonField()


class GrantSerializer(LimitedSerializer):
    usable = serializers.BooleanField(source="is_usable")
    releases_used = serializers.IntegerField()
    epsilon_spent_micro = serializers.SerializerMethodField()
    at_host = serializers.SerializerMethodField()

    def get_at_host(self, grant: Grant) -> str:
        """How the grant stands at its owner's host, in words."""
        return standings.in_words(grant, grant.request.dataset.host)

    class Meta:
        model = Grant
        fields = (
            *_LIMITS,
            *("releases_used", "epsilon_spent_micro", "approved_at", "tightened_at", "revoked_at", "usable"),
            *("standing", "standing_at", "at_host"),
        )

    def get_epsilon_spent_micro(self, grant: Grant) -> int:
        """The epsilon of all runs under it that promised one, in millionths."""
        return booking.spent_micro(grant)


class ProposalSerializer(LimitedSerializer):
    proposed_by = serializers.CharField(source="proposed_by.username")

    class Meta:
        model = Proposal
        fields = (*_LIMITS, "proposed_by", "proposed_at")


class ThreadEntrySerializer(serializers.ModelSerializer[ThreadEntry]):
    person = serializers.CharField(source="person.username")

    class Meta:
        model = ThreadEntry
        fields = ("said", "person", "text", "at")


class AccessRequestSerializer(LimitedSerializer):
    """A request as the scientist and the owner's side see it. `expired` follows from the limits."""

    host = serializers.CharField(source="dataset.host.signing_key")
    host_name = serializers.CharField(source="dataset.host.name")
    dataset = serializers.CharField(source="dataset.name")
    version = serializers.CharField(source="dataset_version")
    owner = serializers.CharField(source="dataset.host.organisation.name")
    requested_by = serializers.CharField(source="requested_by.username")
    organisation = serializers.CharField(source="requested_by.organisation.name", default="")
    fingerprint = serializers.CharField()
    pipelines = serializers.ListField(child=serializers.DictField())
    replaces = serializers.CharField(source="replaces_id", allow_null=True)
    decided_by = serializers.CharField(source="decided_by.username", default=None, allow_null=True)
    expired = serializers.BooleanField(source="is_over")
    grant = GrantSerializer(default=None, allow_null=True)
    dry_run = DryRunSerializer(default=None, allow_null=True)

    class Meta:
        model = AccessRequest
        fields: ClassVar[tuple[str, ...]] = (
            *("digest", "state", "expired", "host", "host_name", "dataset", "version", "owner"),
            *("requested_by", "organisation", "fingerprint", "purpose", "reason", "pipelines", *_LIMITS),
            *(
                "delta",
                "replaces",
                "created_at",
                "decided_by",
                "decided_at",
                "decision_reason",
                "grant",
                "dry_run",
            ),
        )


class FullRequestSerializer(AccessRequestSerializer):
    """The same with its thread, the first of two approvals where there is one, and what may be done now."""

    thread = ThreadEntrySerializer(many=True)
    first_approval = ProposalSerializer(source="proposal", default=None, allow_null=True)
    is_renewal = serializers.SerializerMethodField()
    may = serializers.SerializerMethodField()

    class Meta(AccessRequestSerializer.Meta):
        fields: ClassVar[tuple[str, ...]] = (
            *AccessRequestSerializer.Meta.fields,
            *("first_approval", "is_renewal", "thread", "may"),
        )

    def get_is_renewal(self, asked: AccessRequest) -> bool:
        """Whether it asks for a grant again, and differs in period and releases only."""
        return renewals.is_renewal(asked)

    def get_may(self, asked: AccessRequest) -> list[str]:
        """The decisions that the person who asks may take about it now."""
        return sorted(decisions.open_to(asked, self.context["person"]))


class ReasonSerializer(serializers.Serializer[None]):
    reason = serializers.CharField(max_length=2000)


class NoteSerializer(serializers.Serializer[None]):
    reason = serializers.CharField(required=False, allow_blank=True, max_length=2000, default="")


class TextSerializer(serializers.Serializer[None]):
    text = serializers.CharField(max_length=2000)


class ApprovalSerializer(GivenLimitsSerializer, NoteSerializer):
    """Limits tighter than those of the request; what is left out stays as asked."""


class TighteningSerializer(GivenLimitsSerializer, ReasonSerializer):
    """Limits tighter than those of the grant; what is left out stays as it is."""


class RequestsView(APIView):
    @extend_schema(responses=AccessRequestSerializer(many=True), parameters=PARAMETERS)
    def get(self, request: Request) -> Response:
        """One's own requests, and those for data of organisations that one oversees; newest first, in pages."""
        found = _requests(request).prefetch_related("grant__used")
        return newest(request, found, AccessRequestSerializer)

    @extend_schema(
        request=SignedSerializer,
        responses={201: FullRequestSerializer, 200: FullRequestSerializer} | _REFUSALS,
    )
    def post(self, request: Request) -> Response:
        """Hand in a signed access request. Handing in the same one again returns it as it is."""
        kept, is_new = submissions.submit_request(signed_body(request), person_of(request))
        return _answer(request, kept.digest, status=201 if is_new else 200)

    def get_parsers(self) -> list[Any]:
        return [SignedParser()]


class RequestView(APIView):
    @extend_schema(responses={200: FullRequestSerializer, 404: ErrorSerializer})
    def get(self, request: Request, digest: str) -> Response:
        """One request, with its thread and what may be done about it."""
        return _answer(request, digest)


class ApproveView(APIView):
    @extend_schema(request=ApprovalSerializer, responses={200: FullRequestSerializer} | _REFUSALS)
    def post(self, request: Request, digest: str) -> Response:
        """Grant a request, within its limits. What is handed over cannot be called back.

        Where the organisation wants two approvers, the first approval makes the request `proposed`.
        """
        found, given = _request(request, digest), _valid(ApprovalSerializer, request)
        decisions.approve(found, person_of(request), as_limits(given), given["reason"])
        return _answer(request, digest)


class RenewView(APIView):
    @extend_schema(request=NoteSerializer, responses={200: FullRequestSerializer} | _REFUSALS)
    def post(self, request: Request, digest: str) -> Response:
        """Approve a renewal with the limits of the grant that it renews, for the period and releases asked now."""
        found, given = _request(request, digest), _valid(NoteSerializer, request)
        decisions.renew(found, person_of(request), given["reason"])
        return _answer(request, digest)


class RefuseView(APIView):
    @extend_schema(request=ReasonSerializer, responses={200: FullRequestSerializer} | _REFUSALS)
    def post(self, request: Request, digest: str) -> Response:
        """Refuse a request, with a reason that the scientist reads."""
        found, given = _request(request, digest), _valid(ReasonSerializer, request)
        decisions.refuse(found, person_of(request), given["reason"])
        return _answer(request, digest)


class AskView(APIView):
    @extend_schema(request=TextSerializer, responses={200: FullRequestSerializer} | _REFUSALS)
    def post(self, request: Request, digest: str) -> Response:
        """Ask the scientist something about a request, which waits for the answer."""
        found, given = _request(request, digest), _valid(TextSerializer, request)
        decisions.ask(found, person_of(request), given["text"])
        return _answer(request, digest)


class AnswerView(APIView):
    @extend_schema(request=TextSerializer, responses={200: FullRequestSerializer} | _REFUSALS)
    def post(self, request: Request, digest: str) -> Response:
        """Answer an owner's question about one's own request, which then waits for a decision again."""
        found, given = _request(request, digest), _valid(TextSerializer, request)
        decisions.answer(found, person_of(request), given["text"])
        return _answer(request, digest)


class TightenView(APIView):
    @extend_schema(request=TighteningSerializer, responses={200: FullRequestSerializer} | _REFUSALS)
    def post(self, request: Request, digest: str) -> Response:
        """Lower limits of a grant at once. Runs under way that no longer keep them are stopped."""
        found, given = _request(request, digest), _valid(TighteningSerializer, request)
        decisions.tighten(found, person_of(request), as_limits(given), given["reason"])
        return _answer(request, digest)


class RevokeView(APIView):
    @extend_schema(request=ReasonSerializer, responses={200: FullRequestSerializer} | _REFUSALS)
    def post(self, request: Request, digest: str) -> Response:
        """End a grant at once: runs under it stop, and the coordinator deletes what it holds of them."""
        found, given = _request(request, digest), _valid(ReasonSerializer, request)
        decisions.revoke(found, person_of(request), given["reason"])
        return _answer(request, digest)


class WithdrawView(APIView):
    @extend_schema(request=NoteSerializer, responses={200: FullRequestSerializer} | _REFUSALS)
    def post(self, request: Request, digest: str) -> Response:
        """Take one's own request back, or give its grant back."""
        found, given = _request(request, digest), _valid(NoteSerializer, request)
        decisions.withdraw(found, person_of(request), given["reason"])
        return _answer(request, digest)


def _requests(request: Request) -> Any:
    joined = ("dataset__host__organisation", "requested_by__organisation", "decided_by", "grant", "dry_run")
    return visible(AccessRequest, request).select_related(*joined)


def _request(request: Request, digest: str) -> AccessRequest:
    found: AccessRequest | None = _requests(request).filter(digest=digest).first()
    if found is None:
        raise Http404
    return found


def _answer(request: Request, digest: str, status: int = 200) -> Response:
    """The request as it is now."""
    context = {"person": person_of(request)}
    return Response(FullRequestSerializer(_request(request, digest), context=context).data, status=status)


def _valid(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    given = serializer(data=request.data)
    given.is_valid(raise_exception=True)
    values: dict[str, Any] = given.validated_data
    return values
