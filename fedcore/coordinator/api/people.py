"""Logging in and out, the person who is logged in, and the person's signing keys."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fedcore.coordinator.api.schema import ErrorSerializer
from fedcore.coordinator.governance import audit, logins, second_factor, submissions
from fedcore.coordinator.governance.audit import Action, Kind
from fedcore.coordinator.governance.models import Person, PersonKey
from fedcore.coordinator.governance.pages.throttled import LoginThrottle
from fedcore.coordinator.governance.people import person_of


class LoginSerializer(serializers.Serializer[None]):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=256, trim_whitespace=False, write_only=True)
    otp = serializers.CharField(
        max_length=40,
        required=False,
        write_only=True,
        help_text="The code of the second factor, or a recovery code, where the person has one.",
    )


class TokenSerializer(serializers.Serializer[None]):
    token = serializers.CharField()
    expiry = serializers.DateTimeField()


class MeSerializer(serializers.ModelSerializer[Person]):
    name = serializers.CharField(source="__str__")
    organisation = serializers.CharField(source="organisation.name", default=None, allow_null=True)
    organisation_title = serializers.CharField(source="organisation.title", default=None, allow_null=True)
    roles = serializers.SerializerMethodField()

    class Meta:
        model = Person
        fields = ("username", "name", "organisation", "organisation_title", "roles")

    def get_roles(self, person: Person) -> list[str]:
        return sorted(person.roles)


class KeySerializer(serializers.ModelSerializer[PersonKey]):
    fingerprint = serializers.CharField(read_only=True)

    class Meta:
        model = PersonKey
        fields = ("public_key", "fingerprint", "created_at", "revoked_at")


class NewKeySerializer(serializers.Serializer[None]):
    public_key = serializers.RegexField(r"^[A-Za-z0-9_-]{43}\Z")
    signature = serializers.CharField(
        max_length=88,
        help_text="Base64: the key's signature of `fedcore/key/v1`, a zero byte, and the username.",
    )


class LoginView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (LoginThrottle,)

    @extend_schema(
        request=LoginSerializer,
        responses={
            200: TokenSerializer,
            401: ErrorSerializer,
            403: ErrorSerializer,
            429: ErrorSerializer,
        },
    )
    def post(self, request: Request) -> Response:
        """Exchange username and password, and the code of the second factor, for a token that expires.

        Without the code the answer to whoever has a second factor is `second_factor_required`.
        """
        given = LoginSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        code = given.validated_data.pop("otp", None)
        # The plain request underneath: the lockout notes its verdict there for its middleware.
        person = authenticate(request._request, **given.validated_data)
        if not isinstance(person, Person):
            raise AuthenticationFailed(_("Wrong username or password."))
        has_factor = _pass_second_factor(request, person, code)
        user_logged_in.send(sender=type(person), request=request._request, user=person)
        issued, token = logins.issue_token(person, request._request, has_factor)
        return Response({"token": token, "expiry": issued.expiry})

    def get_authenticate_header(self, request: Request) -> str:
        return "Token"


def _pass_second_factor(request: Request, person: Person, code: str | None) -> bool:
    """Whether the person has a second factor, whose code was given then. Raises where it was not, or must be."""
    if second_factor.of(person) is None:
        if second_factor.is_required(person):
            audit.record(Action.LOG_IN, person, by=Kind.UNKNOWN, refused="second_factor_missing")
            raise PermissionDenied(
                _("Your roles need a second factor. Log in to the admin and set one up, then log in here."),
                code="second_factor_missing",
            )
        return False
    if not code:
        audit.record(Action.PASS_PASSWORD, person, by=Kind.UNKNOWN)
        raise AuthenticationFailed(
            _("Send the code that your authenticator app shows, or a recovery code, as `otp`."),
            code="second_factor_required",
        )
    try:
        second_factor.check(request._request, person, code)
    except second_factor.WrongCode as error:
        raise AuthenticationFailed(str(error), code="second_factor_wrong") from None
    return True


class LogoutView(APIView):
    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        """Revoke the token of this request."""
        token: Any = request.auth
        token.delete()
        user_logged_out.send(sender=Person, request=request._request, user=request.user)
        return Response(status=204)


class MeView(APIView):
    @extend_schema(responses=MeSerializer)
    def get(self, request: Request) -> Response:
        """The person who is logged in."""
        return Response(MeSerializer(person_of(request)).data)


class KeysView(APIView):
    @extend_schema(responses=KeySerializer(many=True))
    def get(self, request: Request) -> Response:
        """The signing keys of the person who is logged in, revoked ones among them."""
        return Response(KeySerializer(PersonKey.objects.filter(person=person_of(request)), many=True).data)

    @extend_schema(request=NewKeySerializer, responses={201: KeySerializer, 400: ErrorSerializer})
    def post(self, request: Request) -> Response:
        """Register a signing key, with a proof that the person holds it."""
        given = NewKeySerializer(data=request.data)
        given.is_valid(raise_exception=True)
        key = submissions.register_key(person_of(request), **given.validated_data)
        return Response(KeySerializer(key).data, status=201)
