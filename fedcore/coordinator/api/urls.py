"""The addresses of the API. Runs and owner hosts have their own in `run_urls`."""

from __future__ import annotations

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from fedcore.coordinator.api import (
    access,
    addresses,  # noqa: F401 (registers what may stand in an address)
    audit,
    catalogue,
    datasets,
    dry_runs,
    notices,
    people,
    public,
    tokens,
)

urlpatterns = [
    path("login", people.LoginView.as_view(), name="login"),
    path("logout", people.LogoutView.as_view(), name="logout"),
    path("me", people.MeView.as_view(), name="me"),
    path("tokens", tokens.TokensView.as_view(), name="tokens"),
    path("tokens/<token:name>", tokens.TokenView.as_view(), name="token"),
    path("keys", people.KeysView.as_view(), name="keys"),
    path("datasets", datasets.DatasetsView.as_view(), name="datasets"),
    path("datasets/<name:host>/<name:name>", datasets.DatasetView.as_view(), name="dataset"),
    path("datasets/<name:host>/<name:name>/mock", datasets.MockView.as_view(), name="dataset-mock"),
    path("hosts", catalogue.HostsView.as_view(), name="hosts"),
    path("plugins", catalogue.PluginsView.as_view(), name="plugins"),
    path("requests", access.RequestsView.as_view(), name="requests"),
    path("requests/<digest:digest>", access.RequestView.as_view(), name="request"),
    path("requests/<digest:digest>/approve", access.ApproveView.as_view(), name="request-approve"),
    path("requests/<digest:digest>/renew", access.RenewView.as_view(), name="request-renew"),
    path("requests/<digest:digest>/refuse", access.RefuseView.as_view(), name="request-refuse"),
    path("requests/<digest:digest>/ask", access.AskView.as_view(), name="request-ask"),
    path("requests/<digest:digest>/answer", access.AnswerView.as_view(), name="request-answer"),
    path("requests/<digest:digest>/tighten", access.TightenView.as_view(), name="request-tighten"),
    path("requests/<digest:digest>/revoke", access.RevokeView.as_view(), name="request-revoke"),
    path("requests/<digest:digest>/dry-run", dry_runs.RequestDryRunView.as_view(), name="request-dry-run"),
    path("dry-runs", dry_runs.DryRunsView.as_view(), name="dry-runs"),
    path("dry-runs/<dry_run:dry_run>", dry_runs.DryRunView.as_view(), name="dry-run"),
    path("requests/<digest:digest>/withdraw", access.WithdrawView.as_view(), name="request-withdraw"),
    path("notices", notices.NoticesView.as_view(), name="notices"),
    path("notices/read", notices.ReadView.as_view(), name="notices-read"),
    path("audit", audit.AuditView.as_view(), name="audit"),
    path("audit/head", audit.AuditHeadView.as_view(), name="audit-head"),
    path("coordinator", public.CoordinatorView.as_view(), name="coordinator"),
    path("health", public.HealthView.as_view(), name="health"),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path(
        "docs",
        SpectacularSwaggerSplitView.as_view(url_name="schema", http_method_names=["get", "head"]),
        name="docs",
    ),
    path("", include("fedcore.coordinator.api.run_urls")),
]
