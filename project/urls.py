"""The admin at `/admin/`, the REST API at `/api/`."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

handler404 = "fedcore.coordinator.api.errors.not_found"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/", include("fedcore.coordinator.api.urls")),
]
