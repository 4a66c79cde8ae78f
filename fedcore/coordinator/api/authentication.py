"""Who a token of the API belongs to, and who a browser's session, for the pages that describe the API.

Views are not imported here: they import this by way of the settings.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.translation import gettext as _
from knox.auth import TokenAuthentication
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed

from fedcore.coordinator.governance import logins, second_factor
from fedcore.coordinator.governance.models import ApiToken, Person
from fedcore.coordinator.governance.people import person_of


class Authentication(TokenAuthentication):  # type: ignore[misc]
    """Token authentication that also refuses tokens given without a code to people who need one now."""

    def authenticate(self, request: Any) -> tuple[Person, ApiToken] | None:
        found: tuple[Person, ApiToken] | None = super().authenticate(request)
        if found is None:
            return None
        person, token = found
        if not token.has_factor and second_factor.is_required(person):
            raise AuthenticationFailed(
                _("Your roles need a second factor. Log in again, with its code."),
                code="second_factor_required",
            )
        token.note_use(logins.address_of(request))
        return found


class OfBrowser(SessionAuthentication):
    """Whoever is logged in to the admin, with every step of the login: to read about the API in a browser."""

    def authenticate(self, request: Any) -> tuple[Person, None] | None:
        asks = request._request
        if not admin.site.has_permission(asks):
            return None
        self.enforce_csrf(request)
        return person_of(asks), None
