"""The page of one's own notices."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import action

from fedcore.coordinator.governance import notices
from fedcore.coordinator.governance.admin.base import GovernedAdmin, ago, badge
from fedcore.coordinator.governance.models import Notice
from fedcore.coordinator.governance.people import person_of


@admin.register(Notice)
class NoticeAdmin(GovernedAdmin):
    """Reading is marked by a button, which posts; following a link marks nothing."""

    list_display = ("shown_text", "shown_about", "when", "state")
    list_display_links = None
    list_filter = ("about", ("read_at", admin.EmptyFieldListFilter))
    actions = ("mark_chosen",)
    empty_text = _("What happens to requests, grants, runs and hosts of yours is told here.")
    actions_list: ClassVar = ["mark_all"]

    @admin.display(description=_("what happened"))
    def shown_text(self, notice: Notice) -> SafeString:
        return format_html('<a class="fedcore-link" href="{}">{}</a>', notice.address, notice.text)

    @admin.display(description=_("about"), ordering="about")
    def shown_about(self, notice: Notice) -> str:
        return notice.get_about_display()

    @admin.display(description=_("when"), ordering="created_at")
    def when(self, notice: Notice) -> str:
        return ago(notice.created_at)

    @admin.display(description=_("state"), ordering="read_at")
    def state(self, notice: Notice) -> SafeString:
        return badge(_("read")) if notice.read_at else badge(_("new"), "info")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_own_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Everybody who enters has notices of their own."""
        return self.has_view_permission(request)

    @admin.action(description=_("Mark as read"), permissions=["own"])
    def mark_chosen(self, request: HttpRequest, chosen: QuerySet[Notice]) -> None:
        marked = notices.mark_read(person_of(request), chosen.values_list("pk", flat=True))
        self._told(request, marked)

    @action(
        description=_("Mark all as read"),
        icon="done_all",
        permissions=["own"],
        dialog={
            "title": _("Mark all notices as read?"),
            "description": _("They stay in the list, until newer ones take their place."),
            "form_submit_text": _("Mark as read"),
        },
    )
    def mark_all(self, request: HttpRequest, form: Any) -> HttpResponse:
        self._told(request, notices.mark_read(person_of(request)))
        return HttpResponse(headers={"HX-Redirect": reverse("admin:governance_notice_changelist")})

    def _told(self, request: HttpRequest, marked: int) -> None:
        text = ngettext(
            "%(count)d notice is marked as read.", "%(count)d notices are marked as read.", marked
        )
        messages.success(request, text % {"count": marked})
