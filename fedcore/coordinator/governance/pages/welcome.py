"""Where a person sets a password, by a link that works once."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpResponse
from django.urls import reverse_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fedcore.coordinator.governance import logins
from fedcore.coordinator.governance.pages.fields import NewPasswordForm


class WelcomeView(PasswordResetConfirmView):
    """Django's page, which takes the secret out of the address before it shows a form."""

    form_class = NewPasswordForm
    template_name = "governance/welcome.html"
    title = gettext_lazy("Set your password")
    success_url = reverse_lazy("admin:login")

    def form_valid(self, form: Any) -> HttpResponse:
        answer: HttpResponse = super().form_valid(form)
        logins.end_all(form.user)
        messages.success(self.request, _("Your password is set. Log in with it."))
        return answer

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        return {**admin.site.each_context(self.request), **super().get_context_data(**more)}
