"""The addresses of runs, and those for owner hosts."""

from __future__ import annotations

from django.urls import path

from fedcore.coordinator.api import (
    addresses,  # noqa: F401 (registers what may stand in an address)
    host,
    runs,
)

urlpatterns = [
    path("runs", runs.RunsView.as_view(), name="runs"),
    path("runs/<digest:run_id>", runs.RunView.as_view(), name="run"),
    path("runs/<digest:run_id>/wait", runs.wait, name="run-wait"),
    path("runs/<digest:run_id>/report", runs.ReportView.as_view(), name="run-report"),
    path("runs/<digest:run_id>/rights", runs.RightsView.as_view(), name="run-rights"),
    path("runs/<digest:run_id>/model", runs.ModelView.as_view(), name="run-model"),
    path("runs/<digest:run_id>/dataset", runs.DatasetView.as_view(), name="run-dataset"),
    path("runs/<digest:run_id>/cancel", runs.CancelView.as_view(), name="run-cancel"),
    path("host/orders", host.orders, name="host-orders"),
    path("host/reports", host.reports, name="host-reports"),
    path("host/announcements", host.announcements, name="host-announcements"),
    path("host/mocks", host.mocks, name="host-mocks"),
    path("host/mocks/<digest:digest>", host.mock, name="host-mock"),
    path("host/grants", host.grants, name="host-grants"),
    path("host/standings", host.standing, name="host-standings"),
    path("host/heads", host.heads, name="host-heads"),
    path("host/head-receipts", host.head_receipts, name="host-head-receipts"),
    path("host/artefacts/<order:order_id>/<digest:digest>", host.artefact, name="host-artefact"),
]
