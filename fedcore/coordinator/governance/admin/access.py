"""Access requests, in plain words and with the owner's decision, and the grants that came of them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action

from fedcore.coordinator.governance import standings, trying
from fedcore.coordinator.governance.admin.base import GovernedAdmin, badge, code
from fedcore.coordinator.governance.admin.deciding import DecidingAdmin
from fedcore.coordinator.governance.explained import explain
from fedcore.coordinator.governance.limits import shown_epsilon
from fedcore.coordinator.governance.models import AccessRequest, Grant, HostStanding
from fedcore.coordinator.governance.people import person_of
from fedcore.coordinator.governance.problems import DecisionError

STANDING_COLOURS = {
    HostStanding.IN_FORCE: "success",
    HostStanding.WAITING: "warn",
    HostStanding.REFUSED: "danger",
    HostStanding.REVOKED: "danger",
}
STATE_COLOURS = {
    "waiting": "warn",
    "asked_back": "info",
    "proposed": "warn",
    "approved": "success",
    "refused": "",
    "revoked": "danger",
    "withdrawn": "",
}


def request_badge(asked: AccessRequest) -> SafeString:
    """The state of a request, coloured."""
    return badge(asked.get_state_display(), STATE_COLOURS[asked.state])


class WaitingFilter(DropdownFilter):
    """What waits for somebody, and can still be decided or answered: as the front page counts it."""

    title, parameter_name = _("waits"), "waits"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("decision", _("for a decision")), ("answer", _("for my answer"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        person, now = person_of(request), timezone.now()
        if self.value() == "decision":
            return queryset.to_decide(person, now)
        return queryset.to_answer(person, now) if self.value() == "answer" else queryset


@admin.register(AccessRequest)
class AccessRequestAdmin(DecidingAdmin):
    actions_detail: ClassVar = [*DecidingAdmin.actions_detail, "try_again"]
    list_display = ("subject", "requested_by", "organisation", "purpose", "what", "asked", "coloured_state")
    empty_text = _("Scientists ask with the command `fedcore request`; what concerns your data appears here.")
    list_filter = (WaitingFilter, "state", "dataset__host__organisation", "dataset")
    list_select_related = ("dataset__host__organisation", "requested_by__organisation", "grant")
    search_fields = ("digest", "purpose", "requested_by__username", "dataset__name")
    date_hierarchy = "created_at"
    change_form_outer_before_template = "governance/request.html"
    fieldsets = (
        (
            _("What was signed"),
            {
                "classes": ("collapse",),
                "fields": ("shown_digest", "shown_signer", "shown_signature", "shown_text"),
            },
        ),
    )
    readonly_fields = ("shown_digest", "shown_signer", "shown_signature", "shown_text")

    @admin.display(description=_("dataset"), ordering="dataset__name")
    def subject(self, asked: AccessRequest) -> str:
        return str(asked.dataset)

    @admin.display(description=_("organisation"))
    def organisation(self, asked: AccessRequest) -> str:
        return str(asked.requested_by.organisation or "-")

    @admin.display(description=_("asks for"))
    def what(self, asked: AccessRequest) -> str:
        return f"{', '.join(asked.protocols)} · {', '.join(asked.backends)} · {', '.join(asked.model_types)}"

    @admin.display(description=_("asked"), ordering="created_at")
    def asked(self, asked: AccessRequest) -> Any:
        return asked.created_at

    @admin.display(description=_("state"), ordering="state")
    def coloured_state(self, asked: AccessRequest) -> str:
        if asked.is_over():
            return badge(_("expired"))
        return request_badge(asked)

    @admin.display(description=_("digest"))
    def shown_digest(self, asked: AccessRequest) -> str:
        return code(asked.digest)

    @admin.display(description=_("signing key"))
    def shown_signer(self, asked: AccessRequest) -> str:
        return code(asked.signer)

    @admin.display(description=_("signature"))
    def shown_signature(self, asked: AccessRequest) -> str:
        return code(asked.signature)

    @admin.display(description=_("signed text"))
    def shown_text(self, asked: AccessRequest) -> str:
        return code(asked.text)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        asked = self.get_object(request, object_id)
        grant = Grant.objects.filter(pk=object_id).select_related("request__dataset__host").first()
        shown = {
            "explained": explain(asked, person_of(request)) if asked else None,
            "title": _("Access request"),
            "at_host": standings.in_words(grant, grant.request.dataset.host) if grant else "",
            "is_owner": asked is not None and person_of(request).owns_data_of(asked.dataset.organisation.pk),
            "may_try_again": self.has_try_again_permission(request, object_id),
        }
        page: HttpResponse = super().change_view(request, object_id, form_url, (extra_context or {}) | shown)
        return page

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """The decisions. That a dry run is tried again is offered where its outcome stands."""
        return [
            found
            for found in super().get_actions_detail(request, object_id)
            if not found.action_name.endswith("_try_again")
        ]

    def has_try_again_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        asked = self.get_queryset(request).filter(pk=object_id).first()
        return asked is not None and trying.is_worth_again(asked, person_of(request))

    @action(
        description=_("Try again"),
        permissions=["try_again"],
        dialog={
            "title": _("Try this request again?"),
            "description": _(
                "The coordinator tries pipelines, backends and model types anew, on made-up rows. What came of it "
                "before is forgotten. No host and no real row takes part."
            ),
            "form_submit_text": _("Try again"),
        },
    )
    def try_again(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        try:
            trying.ask_again(AccessRequest.objects.get(pk=object_id), person_of(request))
            messages.success(request, gettext("It is tried again. The outcome appears on this page."))
        except DecisionError as error:
            messages.error(request, error.detail)
        return self._to_request(object_id)


@admin.register(Grant)
class GrantAdmin(GovernedAdmin):
    list_display = (
        "subject",
        "scientist",
        "used",
        "expires_at",
        "download",
        "state",
        "at_host",
        "approved_by",
    )
    list_filter = ("request__dataset__host__organisation", "revoked_at", "standing", "download")
    list_select_related = ("request__dataset__host__organisation", "request__requested_by", "approved_by")
    search_fields = ("request__digest", "request__requested_by__username", "request__dataset__name")
    empty_text = _("A grant comes of an access request that a data owner approves.")
    fields = readonly_fields = (
        *("asked", "scientist", "state", "used", "expires_at", "in_words", "epsilon", "minimum_owners"),
        *("download", "approved_by", "proposed_by", "approved_at", "tightened_at", "revoked_at"),
        *("at_host_in_words", "standing_at", "shown_standing"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Grant]:
        return super().get_queryset(request).prefetch_related("used")

    @admin.display(description=_("access request"))
    def asked(self, grant: Grant) -> str:
        address = reverse("admin:governance_accessrequest_change", args=(grant.pk,))
        return format_html('<a class="fedcore-link" href="{}">{}</a>', address, grant.request)

    @admin.display(description=_("covers"))
    def in_words(self, grant: Grant) -> str:
        return f"{', '.join(grant.protocols)} · {', '.join(grant.backends)} · {', '.join(grant.model_types)}"

    @admin.display(description=_("privacy limit (epsilon of all runs)"))
    def epsilon(self, grant: Grant) -> str:
        return shown_epsilon(grant.epsilon_micro)

    @admin.display(description=_("dataset"))
    def subject(self, grant: Grant) -> str:
        return str(grant.request.dataset)

    @admin.display(description=_("scientist"))
    def scientist(self, grant: Grant) -> str:
        return str(grant.request.requested_by)

    @admin.display(description=_("releases used"))
    def used(self, grant: Grant) -> str:
        return _("%(used)d of %(all)d") % {"used": grant.releases_used, "all": grant.releases}

    @admin.display(description=_("state"))
    def state(self, grant: Grant) -> str:
        if grant.revoked_at is not None:
            return request_badge(grant.request)
        if grant.request.is_over():
            return badge(_("expired"), "warn")
        return badge(_("usable"), "success") if grant.is_usable() else badge(_("used up"), "warn")

    @admin.display(description=_("at the host"), ordering="standing")
    def at_host(self, grant: Grant) -> str:
        return standing_badge(grant)

    @admin.display(description=_("at the host"))
    def at_host_in_words(self, grant: Grant) -> str:
        return standings.in_words(grant, grant.request.dataset.host)

    @admin.display(description=_("signed standing"))
    def shown_standing(self, grant: Grant) -> str:
        return code(grant.standing_signed) if grant.standing_signed else "-"


def standing_badge(grant: Grant) -> str:
    """How a grant stands at its owner's host, as a coloured word."""
    if not grant.standing:
        return badge(_("not answered yet"), "warn")
    return badge(grant.get_standing_display(), STANDING_COLOURS[HostStanding(grant.standing)])
