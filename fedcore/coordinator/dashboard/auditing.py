"""What auditors see at a glance: the latest entries of the audit, what was refused, and where its chain ends."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django.db.models import Count
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from fedcore.coordinator.dashboard.panels import REFUSED_WITHIN, ROWS, Card, Panel, link, list_of
from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.admin.audit import explained_code, outcome_badge, who
from fedcore.coordinator.governance.admin.audit_names import name_subjects
from fedcore.coordinator.governance.admin.base import ago, code, code_badge
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.models import AuditEntry, Person

_LIST: Final = "governance_auditentry"


def of(person: Person, now: datetime) -> tuple[list[Card], list[Panel]]:
    """Cards and panels for whoever audits. Figures are those of the lists that they lead to."""
    seen: Any = AuditEntry.objects.visible_to(person)
    yesterday, month = _midnight(now - timedelta(days=1)), _midnight(now - REFUSED_WITHIN)
    refused = seen.filter(outcome="refused", at__gte=month)
    cards = [
        Card(
            _("Audit entries since yesterday"),
            seen.filter(at__gte=yesterday).count(),
            "fact_check",
            _filtered(at_from=f"{yesterday:%Y-%m-%d}"),
        ),
        Card(
            _("Refused within 30 days"),
            refused.count(),
            "block",
            _filtered(at_from=f"{month:%Y-%m-%d}", outcome__exact="refused"),
        ),
    ]
    return cards, [_latest(seen, person), _refusals(refused), _chain()]


def _latest(seen: Any, person: Person) -> Panel:
    entries = list(seen.select_related("person", "host").order_by("-serial")[:ROWS])
    name_subjects(entries, person)
    rows = [
        [
            link(_LIST, entry.serial, entry.serial),
            ago(entry.at),
            who(entry),
            entry.get_action_display(),
            entry.subject.link,
            outcome_badge(entry),
        ]
        for entry in entries
    ]
    headers = [_("Entry"), _("When"), _("Who"), _("What"), _("On what"), _("Outcome")]
    return Panel(_("Latest entries of the audit"), _("Nothing has been recorded yet."), headers, rows)


def _refusals(refused: Any) -> Panel:
    counted = refused.order_by().values("code", "action").annotate(count=Count("serial"))
    rows = [
        [
            format_html(
                '<a href="{}">{}</a>',
                _filtered(outcome__exact="refused", action__exact=found["action"], q=found["code"]),
                code_badge(found["code"], "danger"),
            ),
            Action(found["action"]).label,
            found["count"],
            explained_code(found["code"]) or "-",
        ]
        for found in counted.order_by("-count", "code", "action")[:ROWS]
    ]
    headers = [_("Code"), _("What was refused"), _("Entries"), _("What it means")]
    empty = _("Nothing was refused within 30 days.")
    return Panel(_("Refused within 30 days, by code"), empty, headers, rows)


def _chain() -> Panel:
    head = audit.head()
    last = AuditEntry.objects.filter(serial=head.serial).first()
    facts: list[tuple[str, str | SafeString]] = [
        (_("Last entry"), f"{head.serial}, {ago(last.at)}" if last else str(head.serial)),
        (_("Its digest"), code(head.digest)),
        (_("Last found whole"), _verified()),
    ]
    note = _(
        "Note number and digest down where the operator cannot reach them. Later, `manage.py audit verify --head "
        "DIGEST` shows whether anything before was altered or cut off."
    )
    return Panel(_("Head of the audit"), "", facts=facts, note=note)


def _verified() -> str:
    """When the audit was verified on the coordinator's machine, and how far. Not hidden from those who see only a
    part of the audit: they rely on it too."""
    entry = AuditEntry.objects.filter(action=Action.VERIFY_AUDIT, outcome="done").order_by("-serial").first()
    if entry is None:
        return _("It was never verified here: ask the operator for `manage.py audit verify`.")
    facts = entry.facts
    said = {"when": ago(entry.at), "first": facts["first"], "last": facts["last"]}
    text = _("%(when)s, entries %(first)d to %(last)d") % said
    return text if facts["head"] else _("%(text)s, without a head that was noted down") % {"text": text}


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _filtered(**filters: str) -> str:
    return list_of(_LIST, f"?{urlencode(filters)}")
