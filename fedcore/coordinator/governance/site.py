"""The admin site: its front page is the dashboard, and no page is shown before the login is complete."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from axes.helpers import get_lockout_response
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from unfold.sites import UnfoldAdminSite

View = Callable[..., HttpResponseBase]


class CoordinatorSite(UnfoldAdminSite):  # type: ignore[misc]
    """The theme's site. Who may enter follows from roles (`Person.is_staff`) and from the second factor."""

    index_title = _("Overview")

    def has_permission(self, request: HttpRequest) -> bool:
        from fedcore.coordinator.governance.pages.login import next_step

        return bool(super().has_permission(request)) and next_step(request) is None

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """Lead whoever owes a step of the login there, from every page; logging out is for everybody."""
        from fedcore.coordinator.governance.pages.login import next_step, with_next

        if view == self.logout:
            return never_cache(view)
        guarded: View = super().admin_view(view, cacheable)

        @wraps(guarded)
        def stepwise(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            step = next_step(request)
            if step is not None:
                return redirect(with_next(step, request.get_full_path()))
            return guarded(request, *args, **kwargs)

        return stepwise

    @method_decorator(never_cache)
    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """Ask for username and password; while there is nobody yet, lead to where the first administrator is made."""
        from fedcore.coordinator.governance import first_run
        from fedcore.coordinator.governance.pages.login import PasswordStep
        from fedcore.coordinator.governance.pages.throttled import throttled

        if first_run.is_open():
            return redirect("first-run")
        front = reverse("admin:index", current_app=self.name)
        if request.method == "GET" and self.has_permission(request):
            return redirect(front)
        context = {
            **self.each_context(request),
            "title": _("Log in"),
            "subtitle": None,
            "app_path": request.get_full_path(),
            "username": request.user.get_username(),
            **(extra_context or {}),
        }
        if REDIRECT_FIELD_NAME not in request.GET and REDIRECT_FIELD_NAME not in request.POST:
            context[REDIRECT_FIELD_NAME] = front
        request.current_app = self.name
        page = PasswordStep.as_view(
            extra_context=context, authentication_form=self.login_form, template_name="admin/login.html"
        )
        return throttled(page)(request)

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Change one's password; every other session and all tokens end with the old one.

        A wrong old password counts as one at the login: a session that was stolen finds out no password.
        """
        from fedcore.coordinator.governance import guesses, logins
        from fedcore.coordinator.governance.audit import Action
        from fedcore.coordinator.governance.people import person_of

        person = person_of(request)
        before = person.password
        if request.method == "POST":
            if not guesses.are_allowed(request, person):
                refusal: HttpResponse = get_lockout_response(
                    request, credentials={"username": person.username}
                )
                return refusal
            if not person.check_password(request.POST.get("old_password", "")):
                guesses.count(request, person, "wrong_password", Action.CHANGE_PERSON)
        answer: HttpResponse = super().password_change(request, extra_context)
        if person_of(request).password != before:
            logins.end_all(person_of(request), but=request.session.session_key)
        return answer

    def extra_urls(self) -> list[URLPattern]:
        """The pages on the security of people, the own and that of those whom one administrates."""
        from fedcore.coordinator.governance.pages import security

        return [
            path("security/", self.admin_view(security.own), name="security"),
            path("security/factor/", self.admin_view(security.factor), name="security-factor"),
            path("security/<int:person_id>/", self.admin_view(security.of_person), name="security-of"),
            path("security/<int:person_id>/end/", self.admin_view(security.end), name="security-end"),
        ]
