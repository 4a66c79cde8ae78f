"""Logging in, step by step: password, then the code of the second factor, or setting one up where it is required.

| who | after the password |
|---|---|
| has a second factor | is asked for its code; nobody is logged in before |
| must have one, and has none | is logged in, and sets one up before any other page |
| neither | is logged in |
"""

from __future__ import annotations

import time
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib.auth import REDIRECT_FIELD_NAME, authenticate, login
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from fedcore.coordinator.governance import audit, second_factor
from fedcore.coordinator.governance.audit import Action, Kind
from fedcore.coordinator.governance.models import Person
from fedcore.coordinator.governance.pages.fields import code_field, password_field
from fedcore.coordinator.governance.pages.throttled import throttled
from fedcore.coordinator.governance.people import person_of

PASSED: Final = "password_passed"
"""Where a session keeps whose password was right, until the code is."""

CODE_WITHIN: Final = 600
"""Seconds after the password in which the code is accepted."""

ENROLLING: Final = "enrolling"
_BACKEND: Final = "django.contrib.auth.backends.ModelBackend"


def next_step(request: HttpRequest) -> str | None:
    """The name of the page that a person who is logged in must pass before any other; None when there is none."""
    person = request.user
    if not isinstance(person, Person) or not person.is_active or _is_verified(request):
        return None
    if second_factor.of(person) is not None:
        return "second-factor-code"
    return "second-factor-enrol" if second_factor.is_required(person) else None


def onwards(request: HttpRequest) -> str:
    """Where the person wanted to go: an address of this site, else the front page."""
    wanted = request.POST.get(REDIRECT_FIELD_NAME) or request.GET.get(REDIRECT_FIELD_NAME) or ""
    own = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if own else reverse("admin:index")


def with_next(name: str, address: str) -> str:
    """The address of a step that leads on to `address`."""
    return f"{reverse(name)}?{urlencode({REDIRECT_FIELD_NAME: address})}"


class PasswordStep(LoginView):
    """Whoever has a second factor goes on to the code without being logged in."""

    def form_valid(self, form: Any) -> HttpResponse:
        person = form.get_user()
        if second_factor.of(person) is None:
            return super().form_valid(form)
        audit.record(Action.PASS_PASSWORD, person, by=Kind.UNKNOWN)
        self.request.session[PASSED] = {
            "person": person.pk,
            "password": person.get_session_auth_hash(),
            "at": int(time.time()),
        }
        return redirect(with_next("second-factor-code", self.get_success_url()))


class CodeForm(forms.Form):
    code = code_field()


class EnrolForm(forms.Form):
    code = code_field()
    password = password_field()


@throttled
@never_cache
@sensitive_post_parameters("code")
def enter_code(request: HttpRequest) -> HttpResponse:
    """Ask for the code, and log in whoever gives it."""
    person = _half_way(request)
    if person is None:
        return redirect("admin:login")
    form = CodeForm(request.POST or None)
    if form.is_valid():
        try:
            factor = second_factor.check(request, person, form.cleaned_data["code"])
        except second_factor.WrongCode as error:
            form.add_error("code", str(error))
        else:
            address = onwards(request)
            _log_in(request, person, factor)
            return redirect(address)
    return render(request, "governance/code.html", _context(request, _("Second factor"), form=form))


@throttled
@never_cache
@sensitive_post_parameters("code", "password")
def enrol(request: HttpRequest) -> HttpResponse:
    """Show a new secret, and keep it once the person's app has given a code of it."""
    person = request.user
    if not isinstance(person, Person) or not person.is_active or not person.is_staff:
        return redirect("admin:login")
    if second_factor.of(person) is not None:
        return redirect("admin:security" if _is_verified(request) else "second-factor-code")
    salt = request.session.setdefault(ENROLLING, second_factor.new_salt())
    form = EnrolForm(request.POST or None)
    if form.is_valid() and _is_password_of(request, person, form):
        try:
            factor, codes = second_factor.enrol(person, salt, form.cleaned_data["code"])
        except second_factor.WrongCode as error:
            form.add_error("code", str(error))
        else:
            address = onwards(request)
            _log_in(request, person, factor)
            return show_recovery_codes(request, codes, address)
    drawn = mark_safe(second_factor.qr_code(person, salt))  # noqa: S308 (drawn here, of our own text)
    more = {"form": form, "qr_code": drawn, "secret": second_factor.secret_of(salt)}
    more["is_required"] = second_factor.is_required(person)
    return render(request, "governance/enrol.html", _context(request, _("Second factor"), **more))


def show_recovery_codes(request: HttpRequest, codes: list[str], address: str) -> HttpResponse:
    """The codes, in the answer itself: no other page shows them."""
    context = _context(request, _("Recovery codes"), codes=codes, onwards=address)
    return render(request, "governance/recovery_codes.html", context)


def _half_way(request: HttpRequest) -> Person | None:
    """Who has given the password and still owes the code."""
    if isinstance(request.user, Person):
        owes = next_step(request) == "second-factor-code"
        return person_of(request) if owes else None
    passed = request.session.get(PASSED) or {}
    person: Person | None = Person.objects.filter(pk=passed.get("person"), is_active=True).first()
    if person is None or time.time() - passed["at"] > CODE_WITHIN:
        return None
    return person if person.get_session_auth_hash() == passed["password"] else None


def _log_in(request: HttpRequest, person: Person, factor: second_factor.SecondFactor) -> None:
    """Log in with both factors, under a new key of the session."""
    for name in (PASSED, ENROLLING):
        request.session.pop(name, None)
    # django-otp notes this at the login.
    person.otp_device = factor  # type: ignore[attr-defined]
    login(request, person, backend=_BACKEND)
    request.session.cycle_key()


def _is_verified(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "otp_device", None))


def _is_password_of(request: HttpRequest, person: Person, form: forms.Form) -> bool:
    """Whether it is the person who sits there. A wrong password counts, as at the login."""
    given = form.cleaned_data["password"]
    if authenticate(request, username=person.username, password=given) == person:
        return True
    form.add_error("password", _("This is not your password."))
    return False


def _context(request: HttpRequest, title: str, **more: Any) -> dict[str, Any]:
    from django.contrib import admin

    wanted = {"next": onwards(request), "title": title}
    return {**admin.site.each_context(request), **wanted, **more}
