"""The admin's theme: title, navigation, front page."""

from __future__ import annotations

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _


def _entry(title: Any, icon: str, name: str, **more: Any) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{name}"), **more}


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "fedcore",
    "SITE_HEADER": "fedcore",
    "SITE_SUBHEADER": _("coordinator"),
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("governance/icon.svg")}
    ],
    "SITE_URL": None,
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "DASHBOARD_CALLBACK": "fedcore.coordinator.dashboard.fill",
    "ACCOUNT": {
        "navigation": [
            {"title": _("My security"), "link": reverse_lazy("admin:security")},
            {"title": _("Change password"), "link": reverse_lazy("admin:password_change")},
        ]
    },
    "STYLES": [lambda request: static("governance/coordinator.css")],
    "BORDER_RADIUS": "6px",
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [
                    _entry(_("Overview"), "dashboard", "index"),
                    _entry(
                        _("Notices"),
                        "notifications",
                        "governance_notice_changelist",
                        badge="fedcore.coordinator.governance.notices.badge",
                    ),
                ]
            },
            {
                "title": _("Access"),
                "items": [
                    _entry(
                        _("Access requests"),
                        "inbox",
                        "governance_accessrequest_changelist",
                        badge="fedcore.coordinator.dashboard.waiting_badge",
                    ),
                    _entry(_("Grants"), "verified_user", "governance_grant_changelist"),
                ],
            },
            {
                "title": _("Work"),
                "items": [_entry(_("Runs"), "play_circle", "runs_run_changelist")],
            },
            {
                "title": _("Catalogue"),
                "items": [
                    _entry(_("Datasets"), "table_view", "governance_dataset_changelist"),
                    _entry(_("Owner hosts"), "dns", "governance_ownerhost_changelist"),
                ],
            },
            {
                "title": _("Evidence"),
                "items": [_entry(_("Audit"), "fact_check", "governance_auditentry_changelist")],
            },
            {
                "title": _("People"),
                "items": [
                    _entry(_("Organisations"), "apartment", "governance_organisation_changelist"),
                    _entry(_("People"), "group", "governance_person_changelist"),
                    _entry(_("Signing keys"), "key", "governance_personkey_changelist"),
                    _entry(
                        _("Failed logins"),
                        "lock_clock",
                        "governance_lockout_changelist",
                        permission="fedcore.coordinator.governance.admin.lockouts.may_see",
                    ),
                    _entry(_("My security"), "shield_person", "security"),
                ],
            },
        ],
    },
}
