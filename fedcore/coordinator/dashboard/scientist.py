"""What data scientists see at a glance: the own requests, grants and runs."""

from __future__ import annotations

from datetime import datetime

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from fedcore.coordinator.dashboard.panels import ROWS, Card, Panel, link, list_of
from fedcore.coordinator.governance.admin.access import request_badge
from fedcore.coordinator.governance.admin.base import ago, badge
from fedcore.coordinator.governance.models import UNDECIDED, AccessRequest, Person, RequestState
from fedcore.coordinator.runs.admin import run_badge
from fedcore.coordinator.runs.models import Run


def of(person: Person, now: datetime) -> tuple[list[Card], list[Panel]]:
    """Cards and panels for a data scientist."""
    joined = AccessRequest.objects.filter(requested_by=person).select_related("dataset__host", "grant")
    requests = list(joined.prefetch_related("grant__used"))
    runs = Run.objects.filter(scientist=person)
    usable = [
        asked for asked in requests if asked.state == RequestState.APPROVED and asked.grant.is_usable(now)
    ]
    undecided = [asked for asked in requests if asked.state in UNDECIDED and not asked.is_over(now)]
    questions = [asked for asked in undecided if asked.state == RequestState.ASKED_BACK]
    cards = [
        Card(
            _("Questions to answer"),
            len(questions),
            "forum",
            list_of("governance_accessrequest", "?waits=answer"),
        ),
        Card(_("My open requests"), len(undecided), "inbox", list_of("governance_accessrequest")),
        Card(_("My grants with runs left"), len(usable), "verified_user", list_of("governance_grant")),
        Card(_("My runs in progress"), runs.unfinished().count(), "play_circle", list_of("runs_run")),
    ]
    return cards, [
        _requests(requests, now),
        _grants(usable),
        _runs(list(runs.defer("envelope", "report")[:ROWS])),
    ]


def _requests(requests: list[AccessRequest], now: datetime) -> Panel:
    rows = [
        [
            link("governance_accessrequest", asked.pk, asked.dataset),
            asked.purpose,
            _state(asked, now),
            ago(asked.created_at),
        ]
        for asked in requests[:ROWS]
    ]
    headers = [_("Dataset"), _("Purpose"), _("State"), _("Asked")]
    empty = _("You have asked for nothing yet. Look into the catalogue, and ask with `fedcore request`.")
    return Panel(_("My requests"), empty, headers, rows)


def _grants(requests: list[AccessRequest]) -> Panel:
    rows = [
        [
            link("governance_accessrequest", asked.pk, asked.dataset),
            _("%(left)d of %(all)d")
            % {"left": asked.grant.releases - asked.grant.releases_used, "all": asked.grant.releases},
            f"{asked.grant.expires_at:%Y-%m-%d}",
        ]
        for asked in requests[:ROWS]
    ]
    headers = [_("Dataset"), _("Runs left"), _("Ends")]
    return Panel(_("My grants"), _("No grant is in force."), headers, rows)


def _runs(runs: list[Run]) -> Panel:
    rows = [
        [
            link("runs_run", run.pk, run.title),
            run.protocol,
            run_badge(run),
            f"{run.progress:.0%}",
            ago(run.created_at),
        ]
        for run in runs
    ]
    headers = [_("Run"), _("Protocol"), _("State"), _("Progress"), _("Submitted")]
    return Panel(_("My runs"), _("No run yet. Submit one with `fedcore submit`."), headers, rows)


def _state(asked: AccessRequest, now: datetime) -> SafeString:
    if asked.is_over(now):
        return badge(_("expired"))
    return request_badge(asked)
