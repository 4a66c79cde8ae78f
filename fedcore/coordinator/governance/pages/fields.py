"""Fields that several pages ask for, in the theme's look."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.forms import SetPasswordForm
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget


def code_field(**more: Any) -> forms.CharField:
    """A code of the second factor. Phones offer it, and show digits."""
    attributes = {"autocomplete": "one-time-code", "autofocus": True, "spellcheck": "false"}
    return forms.CharField(
        label=_("Code"),
        max_length=40,
        widget=UnfoldAdminTextInputWidget(attrs=attributes),
        **more,
    )


def password_field() -> forms.CharField:
    """The present password."""
    widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"})
    return forms.CharField(label=_("Your password"), strip=False, widget=widget)


class NewPasswordForm(SetPasswordForm):  # type: ignore[type-arg]
    """A new password, twice, under the rules for passwords."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("new_password1", "new_password2"):
            self.fields[name].widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"})
