"""The addresses of the API. Runs and owner hosts have their own in `run_urls`."""

from __future__ import annotations

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from fedcore.coordinator.api import (
    access,
    addresses,  # noqa: F401 (registers what may stand in an address)
    audit,
    catalogue,
    people,
    public,
)

urlpatterns = [
    path("login", people.LoginView.as_view(), name="login"),
    path("logout", people.LogoutView.as_view(), name="logout"),
    path("me", people.MeView.as_view(), name="me"),
    path("keys", people.KeysView.as_view(), name="keys"),
    path("datasets", catalogue.DatasetsView.as_view(), name="datasets"),
    path("hosts", catalogue.HostsView.as_view(), name="hosts"),
    path("plugins", catalogue.PluginsView.as_view(), name="plugins"),
    path("requests", access.RequestsView.as_view(), name="requests"),
    path("requests/<digest:digest>", access.RequestView.as_view(), name="request"),
    path("requests/<digest:digest>/approve", access.ApproveView.as_view(), name="request-approve"),
    path("requests/<digest:digest>/refuse", access.RefuseView.as_view(), name="request-refuse"),
    path("requests/<digest:digest>/revoke", access.RevokeView.as_view(), name="request-revoke"),
    path("audit", audit.AuditView.as_view(), name="audit"),
    path("audit/head", audit.AuditHeadView.as_view(), name="audit-head"),
    path("coordinator", public.CoordinatorView.as_view(), name="coordinator"),
    path("health", public.HealthView.as_view(), name="health"),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("", include("fedcore.coordinator.api.run_urls")),
]
