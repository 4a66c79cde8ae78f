"""The admin's front page: what waits for a decision, what runs, which hosts are away, which grants end soon."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from fedcore.coordinator.governance.admin.base import ago, badge
from fedcore.coordinator.governance.models import AccessRequest, Grant, OwnerHost, Person, RequestState
from fedcore.coordinator.runs.models import Run

ENDING_SOON: Final = timedelta(days=14)
ROWS: Final = 8


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the front page's figures and tables, as far as the person may see them."""
    person = request.user
    assert isinstance(person, Person)
    waiting = AccessRequest.objects.visible_to(person).filter(state=RequestState.WAITING)
    running = Run.objects.visible_to(person).unfinished()
    hosts = list(OwnerHost.objects.visible_to(person).filter(is_active=True).select_related("organisation"))
    away = [host for host in hosts if host.is_away()]
    ending = _ending(person)
    context["cards"] = [
        _card(
            _("Requests waiting"), waiting.count(), "inbox", _list("accessrequest", "?state__exact=waiting")
        ),
        _card(_("Runs in progress"), running.count(), "play_circle", reverse("admin:runs_run_changelist")),
        _card(_("Hosts away"), f"{len(away)} / {len(hosts)}", "cloud_off", _list("ownerhost")),
        _card(_("Grants about to end"), len(ending), "hourglass_bottom", _list("grant")),
    ]
    context["tables"] = [
        _requests(waiting.select_related("dataset__host", "requested_by__organisation")[:ROWS]),
        _runs(running.select_related("scientist")[:ROWS]),
        _hosts(sorted(hosts, key=lambda host: not host.is_away())[:ROWS]),
        _grants(ending[:ROWS]),
    ]
    return context


def waiting_badge(request: HttpRequest) -> str:
    """How many requests wait, beside their name in the navigation."""
    if not isinstance(request.user, Person):
        return ""
    waiting = AccessRequest.objects.visible_to(request.user).filter(state=RequestState.WAITING).count()
    return str(waiting) if waiting else ""


def _ending(person: Person) -> list[Grant]:
    now = timezone.now()
    grants = Grant.objects.visible_to(person).filter(
        revoked_at=None, expires_at__gt=now, expires_at__lt=now + ENDING_SOON
    )
    joined = grants.select_related("request__dataset__host", "request__requested_by").order_by("expires_at")
    return [grant for grant in joined if grant.is_usable(now)]


def _requests(requests: Any) -> dict[str, Any]:
    rows = [
        [
            _link("accessrequest", asked.pk, str(asked.dataset)),
            str(asked.requested_by),
            str(asked.requested_by.organisation or "-"),
            asked.purpose,
            ago(asked.created_at),
        ]
        for asked in requests
    ]
    headers = [_("Dataset"), _("Who asks"), _("Organisation"), _("Purpose"), _("Asked")]
    return _table(_("Requests waiting for a decision"), headers, rows, _("Nothing waits for a decision."))


def _runs(runs: Any) -> dict[str, Any]:
    rows = [
        [
            format_html('<a href="{}">{}</a>', reverse("admin:runs_run_change", args=(run.pk,)), run.title),
            str(run.scientist),
            run.protocol,
            run.get_state_display(),
            f"{run.progress:.0%}",
        ]
        for run in runs
    ]
    headers = [_("Run"), _("Scientist"), _("Protocol"), _("State"), _("Progress")]
    return _table(_("Runs in progress"), headers, rows, _("No run is in progress."))


def _hosts(hosts: list[OwnerHost]) -> dict[str, Any]:
    rows = [
        [
            _link("ownerhost", host.pk, host.name),
            str(host.organisation),
            badge(_("away"), "danger") if host.is_away() else badge(_("here"), "success"),
            ago(host.last_contact),
        ]
        for host in hosts
    ]
    headers = [_("Host"), _("Organisation"), _("Contact"), _("Last contact")]
    return _table(_("Owner hosts"), headers, rows, _("No host is registered."))


def _grants(grants: list[Grant]) -> dict[str, Any]:
    rows = [
        [
            _link("grant", grant.pk, str(grant.request.dataset)),
            str(grant.request.requested_by),
            _("%(used)d of %(all)d") % {"used": grant.releases_used, "all": grant.releases},
            f"{grant.expires_at:%Y-%m-%d}",
        ]
        for grant in grants
    ]
    headers = [_("Dataset"), _("Scientist"), _("Releases used"), _("Ends")]
    return _table(_("Grants that end within 14 days"), headers, rows, _("No grant ends soon."))


def _card(title: str, figure: Any, icon: str, address: str) -> dict[str, Any]:
    return {"title": title, "figure": figure, "icon": icon, "address": address}


def _table(title: str, headers: list[str], rows: list[list[Any]], empty: str) -> dict[str, Any]:
    return {"title": title, "empty": empty, "table": {"headers": headers, "rows": rows}}


def _list(model: str, query: str = "") -> str:
    return reverse(f"admin:governance_{model}_changelist") + query


def _link(model: str, key: Any, text: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(f"admin:governance_{model}_change", args=(key,)), text)
