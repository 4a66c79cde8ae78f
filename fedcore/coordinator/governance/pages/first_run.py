"""The page on which the first administrator is made. It is gone once there is somebody."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from fedcore.coordinator.governance import first_run
from fedcore.coordinator.governance.models import Organisation, Person
from fedcore.coordinator.governance.pages.throttled import throttled
from fedcore.coordinator.governance.people import check_plain


class FirstRunForm(forms.Form):
    """The code, and who is to administrate the site."""

    code = forms.CharField(
        label=gettext_lazy("Code"),
        max_length=40,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "autofocus": True}),
        help_text=gettext_lazy(
            "Printed where the site was started. It also lies in the data directory, in first-run.code."
        ),
    )
    username = forms.CharField(
        label=gettext_lazy("Username"),
        max_length=150,
        validators=Person._meta.get_field("username").validators,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "username"}),
    )
    password = forms.CharField(
        label=gettext_lazy("Password"),
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text=gettext_lazy("At least 12 characters."),
    )
    again = forms.CharField(
        label=gettext_lazy("Password again"),
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )
    title = forms.CharField(
        label=gettext_lazy("Your organisation"),
        max_length=Organisation._meta.get_field("title").max_length,
        validators=[check_plain],
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "organization"}),
        help_text=gettext_lazy("The one that runs this coordinator."),
    )

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if {"username", "password"} <= given.keys():
            if given["password"] != given.get("again"):
                self.add_error("again", _("The two passwords differ."))
            try:
                validate_password(given["password"], Person(username=given["username"]))
            except ValidationError as error:
                self.add_error("password", error)
        return given


@throttled
@never_cache
@sensitive_post_parameters("code", "password", "again")
def page(request: HttpRequest) -> HttpResponse:
    """Make the first administrator, who then logs in. 404 once there is somebody."""
    if not first_run.is_open():
        raise Http404
    first_run.code()
    form = FirstRunForm(request.POST or None)
    if form.is_valid():
        given = form.cleaned_data
        try:
            first_run.make_administrator(given["code"], given["username"], given["password"], given["title"])
        except first_run.WrongCode as error:
            form.add_error("code", str(error))
        except first_run.Closed:
            raise Http404 from None
        else:
            messages.success(request, _("You are the first administrator. Log in."))
            return redirect("admin:login")
    context = {**admin.site.each_context(request), "title": _("First run"), "form": form}
    return render(request, "governance/first_run.html", context)
