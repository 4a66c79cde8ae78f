"""What those see at a glance who own data, administrate, or audit, of requests, runs and hosts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Count, Q
from django.utils.translation import gettext as _

from fedcore.coordinator.dashboard.panels import REFUSED_WITHIN, ROWS, Card, Panel, bars, link, list_of
from fedcore.coordinator.governance.admin.base import ago, badge, code_badge
from fedcore.coordinator.governance.budget import budgets_of
from fedcore.coordinator.governance.models import (
    AccessRequest,
    Dataset,
    Grant,
    OwnerHost,
    Person,
)
from fedcore.coordinator.governance.reminders import ENDING_SOON
from fedcore.coordinator.runs.admin import run_badge
from fedcore.coordinator.runs.models import Run, RunOrder
from fedcore.wire.codes import EXPLANATIONS, RefusalCode


def of(person: Person, now: datetime) -> tuple[list[Card], list[Panel]]:
    """Cards and panels for a person of an owner's or of the operator's side."""
    waiting = AccessRequest.objects.to_decide(person, now)
    running = Run.objects.visible_to(person).unfinished().exclude(scientist=person)
    hosts = list(_hosts(person))
    away = [host for host in hosts if host.is_away(now)]
    ending = _ending(person, now)
    cards = [
        Card(
            _("Requests waiting"),
            waiting.count(),
            "inbox",
            list_of("governance_accessrequest", "?waits=decision"),
        ),
        Card(_("Runs in progress"), running.count(), "play_circle", list_of("runs_run")),
        Card(_("Hosts away"), f"{len(away)} / {len(hosts)}", "cloud_off", list_of("governance_ownerhost")),
        Card(_("Grants about to end"), len(ending), "hourglass_bottom", list_of("governance_grant")),
    ]
    panels = [
        _requests(waiting),
        _runs(running),
        _budgets(person, now),
        _refusals(person, now),
        _grants(ending[:ROWS]),
        _hosts_panel(sorted(hosts, key=lambda host: not host.is_away(now))[:ROWS]),
        *_for_administrators(person),
    ]
    return cards, panels


def _hosts(person: Person) -> Any:
    return OwnerHost.objects.visible_to(person).filter(is_active=True).select_related("organisation")


def _of_organisations(person: Person, path: str) -> Q:
    """Rows of the organisations that the person oversees: the catalogue of others is not what a glance is for."""
    return Q() if person.sees_everything else Q(**{f"{path}__in": person.organisations_with_oversight()})


def _ending(person: Person, now: datetime) -> list[Grant]:
    grants = Grant.objects.visible_to(person).filter(
        revoked_at=None, expires_at__gt=now, expires_at__lt=now + ENDING_SOON
    )
    joined = grants.exclude(request__requested_by=person).select_related(
        "request__dataset__host", "request__requested_by"
    )
    listed = joined.prefetch_related("used").order_by("expires_at")
    return [grant for grant in listed if grant.is_usable(now)]


def _requests(waiting: Any) -> Panel:
    rows = [
        [
            link("governance_accessrequest", asked.pk, asked.dataset),
            str(asked.requested_by),
            str(asked.requested_by.organisation or "-"),
            asked.purpose,
            ago(asked.created_at),
        ]
        for asked in waiting.select_related("dataset__host", "requested_by__organisation")[:ROWS]
    ]
    headers = [_("Dataset"), _("Who asks"), _("Organisation"), _("Purpose"), _("Asked")]
    return Panel(_("Requests waiting for a decision"), _("Nothing waits for a decision."), headers, rows)


def _runs(running: Any) -> Panel:
    rows = [
        [
            link("runs_run", run.pk, run.title),
            str(run.scientist),
            run.protocol,
            run_badge(run),
            f"{run.progress:.0%}",
        ]
        for run in running.select_related("scientist")[:ROWS]
    ]
    headers = [_("Run"), _("Scientist"), _("Protocol"), _("State"), _("Progress")]
    return Panel(_("Runs in progress"), _("No run is in progress."), headers, rows)


def _budgets(person: Person, now: datetime) -> Panel:
    own = Dataset.objects.visible_to(person).filter(_of_organisations(person, "host__organisation"))
    budgets = [budget for budget in budgets_of(own.select_related("host"), now) if budget.is_used][:ROWS]
    rows = [
        [
            link("governance_dataset", budget.dataset.pk, budget.dataset),
            budget.spent,
            budget.open_epsilon,
            budget.unbounded,
            budget.open_releases,
        ]
        for budget in budgets
    ]
    labels = [str(budget.dataset) for budget in budgets]
    series = [
        (_("runs with an epsilon"), [budget.bounded for budget in budgets]),
        (_("runs without a bound"), [budget.unbounded for budget in budgets]),
    ]
    has_runs = any(budget.bounded or budget.unbounded for budget in budgets)
    chart, options = bars(labels, series) if has_runs else ("", "")
    headers = [_("Dataset"), _("Spent epsilon"), _("Open epsilon"), _("Unbounded runs"), _("Runs left")]
    return Panel(
        _("What datasets have given"), _("No dataset has been used yet."), headers, rows, chart, options
    )


def _refusals(person: Person, now: datetime) -> Panel:
    refused = RunOrder.objects.filter(reported_at__gt=now - REFUSED_WITHIN).exclude(code="")
    counted = refused.filter(_of_organisations(person, "host__organisation")).values("code")
    rows = [
        [code_badge(found["code"], "warn"), found["count"], EXPLANATIONS[RefusalCode(found["code"])]]
        for found in counted.annotate(count=Count("pk")).order_by("-count", "code")[:ROWS]
    ]
    headers = [_("Reason"), _("Orders"), _("What it means")]
    empty = _("No order was refused within 30 days.")
    return Panel(_("Orders refused within 30 days, by reason"), empty, headers, rows)


def _grants(grants: list[Grant]) -> Panel:
    rows = [
        [
            link("governance_accessrequest", grant.pk, grant.request.dataset),
            str(grant.request.requested_by),
            _("%(used)d of %(all)d") % {"used": grant.releases_used, "all": grant.releases},
            f"{grant.expires_at:%Y-%m-%d}",
        ]
        for grant in grants
    ]
    headers = [_("Dataset"), _("Scientist"), _("Releases used"), _("Ends")]
    return Panel(_("Grants that end within 14 days"), _("No grant ends soon."), headers, rows)


def _hosts_panel(hosts: list[OwnerHost]) -> Panel:
    rows = [
        [
            link("governance_ownerhost", host.pk, host.name),
            str(host.organisation),
            badge(_("away"), "danger") if host.is_away() else badge(_("here"), "success"),
            ago(host.last_contact),
        ]
        for host in hosts
    ]
    headers = [_("Host"), _("Organisation"), _("Contact"), _("Last contact")]
    return Panel(_("Owner hosts"), _("No host is registered."), headers, rows)


def _for_administrators(person: Person) -> Iterator[Panel]:
    if not (person.administers_everything or person.administers_own_organisation):
        return
    without = Person.objects.visible_to(person).filter(is_active=True, is_superuser=False, memberships=None)
    rows = [
        [link("governance_person", found.pk, found), str(found.organisation or "-")]
        for found in without.select_related("organisation")[:ROWS]
    ]
    headers = [_("Person"), _("Organisation")]
    yield Panel(_("People without a role"), _("Everybody has a role."), headers, rows)
