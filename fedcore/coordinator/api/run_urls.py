"""The addresses of runs, and those for owner hosts."""

from __future__ import annotations

from django.urls import path

from fedcore.coordinator.api import host, runs

urlpatterns = [
    path("runs", runs.RunsView.as_view(), name="runs"),
    path("runs/<str:run_id>", runs.RunView.as_view(), name="run"),
    path("runs/<str:run_id>/wait", runs.wait, name="run-wait"),
    path("runs/<str:run_id>/report", runs.ReportView.as_view(), name="run-report"),
    path("runs/<str:run_id>/model", runs.ModelView.as_view(), name="run-model"),
    path("runs/<str:run_id>/dataset", runs.DatasetView.as_view(), name="run-dataset"),
    path("runs/<str:run_id>/cancel", runs.CancelView.as_view(), name="run-cancel"),
    path("host/orders", host.orders, name="host-orders"),
    path("host/reports", host.reports, name="host-reports"),
    path("host/announcements", host.announcements, name="host-announcements"),
    path("host/artefacts/<str:order_id>/<str:digest>", host.artefact, name="host-artefact"),
]
