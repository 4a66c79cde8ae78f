"""The admin at `/admin/`, the REST API at `/api/`."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from fedcore.coordinator.governance.pages import first_run, login
from fedcore.coordinator.governance.pages.welcome import WelcomeView

handler400 = "fedcore.coordinator.api.errors.bad_request"
handler403 = "fedcore.coordinator.api.errors.forbidden"
handler404 = "fedcore.coordinator.api.errors.not_found"
handler500 = "fedcore.coordinator.governance.pages.wrong.failed"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/login/code/", login.enter_code, name="second-factor-code"),
    path("admin/login/second-factor/", login.enrol, name="second-factor-enrol"),
    path("admin/welcome/<uidb64>/<token>/", WelcomeView.as_view(), name="welcome"),
    path("admin/first-run/", first_run.page, name="first-run"),
    path("admin/", admin.site.urls),
    path("api/", include("fedcore.coordinator.api.urls")),
]
