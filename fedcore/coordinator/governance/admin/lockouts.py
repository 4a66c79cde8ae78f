"""Failed logins, and how an administrator lifts a lock-out."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action
from unfold.enums import ActionVariant

from fedcore.coordinator.governance import lockouts
from fedcore.coordinator.governance.admin.base import GovernedAdmin, badge
from fedcore.coordinator.governance.models import Lockout
from fedcore.coordinator.governance.people import person_of


def may_see(request: HttpRequest) -> bool:
    """Whether the person who asks sees failed logins of others."""
    person = person_of(request)
    return person.administers_anything or person.sees_everything


@admin.register(Lockout)
class LockoutAdmin(GovernedAdmin):
    """Shown is the name only where a person has it: whoever mistypes may have typed a password.

    Nor does the list sort by it, which would tell between which two names it stands.
    """

    list_display = ("shown_name", "ip_address", "failures_since_start", "attempt_time", "state")
    ordering = ("-attempt_time",)
    empty_text = _("Nobody has given a wrong password or code lately.")
    fields = readonly_fields = (
        *("shown_name", "ip_address", "user_agent", "failures_since_start", "attempt_time", "state"),
    )
    actions_detail: ClassVar = ["lift"]

    def get_queryset(self, request: HttpRequest) -> Any:
        rows: Any = super().get_queryset(request)
        return rows.with_known_names()

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) and may_see(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_module_permission(request) and super().has_view_permission(request, obj)

    @admin.display(description=_("person"))
    def shown_name(self, lockout: Any) -> str:
        return str(lockout.username) if lockout.is_known else str(_("nobody's name"))

    @admin.display(description=_("state"))
    def state(self, lockout: Lockout) -> str:
        return badge(_("locked out"), "danger") if lockout.is_locked else badge(_("counted"))

    def has_lift_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        found = Lockout.objects.visible_to(person_of(request)).filter(pk=object_id or "0")
        return person_of(request).administers_anything and found.exists()

    @action(
        description=_("Lift lock-out"),
        icon="lock_open",
        variant=ActionVariant.PRIMARY,
        permissions=["lift"],
        dialog={
            "title": _("Lift this lock-out?"),
            "description": _(
                "Failed logins under this name are forgotten, from every address. Make sure that it was the person."
            ),
            "form_submit_text": _("Lift"),
        },
    )
    def lift(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        lockouts.lift(Lockout.objects.get(pk=object_id))
        messages.success(request, _("The lock-out is lifted."))
        return HttpResponse(headers={"HX-Redirect": reverse("admin:governance_lockout_changelist")})
