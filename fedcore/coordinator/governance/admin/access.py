"""Access requests, in plain words and with the owner's decision, and the grants that came of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSingleDateWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from fedcore.coordinator.governance import decisions, standings
from fedcore.coordinator.governance.admin.base import GovernedAdmin, badge, code
from fedcore.coordinator.governance.decisions import DecisionError, Limits
from fedcore.coordinator.governance.explained import explain
from fedcore.coordinator.governance.models import AccessRequest, Grant, HostStanding, Person, RequestState
from fedcore.coordinator.governance.people import person_of

STANDING_COLOURS = {
    HostStanding.IN_FORCE: "success",
    HostStanding.WAITING: "warn",
    HostStanding.REFUSED: "danger",
    HostStanding.REVOKED: "danger",
}
STATE_COLOURS = {"waiting": "warn", "approved": "success", "refused": "", "revoked": "danger"}


class ReasonForm(BaseDialogForm):
    reason = forms.CharField(
        label=_("Reason"),
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text=_("The scientist reads it."),
    )


class ApprovalForm(BaseDialogForm):
    """The limits as they were asked for; the owner may lower them."""

    releases = forms.IntegerField(label=_("Releases"), min_value=1, widget=UnfoldAdminIntegerFieldWidget)
    expires_on = forms.DateField(label=_("Until the end of"), widget=UnfoldAdminSingleDateWidget)
    download = forms.BooleanField(
        label=_("May download the merged pseudonymised dataset"),
        required=False,
        widget=UnfoldBooleanSwitchWidget,
    )
    reason = forms.CharField(
        label=_("Note"),
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text=_("The scientist reads it."),
    )

    def __init__(self, request: HttpRequest, object_id: str | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, object_id, *args, **kwargs)
        self.asked = AccessRequest.objects.visible_to(person_of(request)).get(pk=object_id)
        self.fields["releases"].initial = self.asked.releases
        self.fields["releases"].help_text = _("How many runs may start. At most %(asked)d, as asked.") % {
            "asked": self.asked.releases
        }
        self.fields["expires_on"].initial = self.asked.expires_at.date()
        if not self.asked.download:
            del self.fields["download"]

    @property
    def limits(self) -> Limits:
        given = self.cleaned_data
        end = timezone.make_aware(
            timezone.datetime.combine(given["expires_on"], timezone.datetime.max.time())  # type: ignore[attr-defined]
        )
        # The day that was asked for ends at the moment that was asked for.
        on_that_day = given["expires_on"] == self.asked.expires_at.date()
        return Limits(
            releases=given["releases"],
            expires_at=self.asked.expires_at if on_that_day else end,
            download=given.get("download", False),
        )


@admin.register(AccessRequest)
class AccessRequestAdmin(GovernedAdmin):
    list_display = ("subject", "requested_by", "organisation", "purpose", "what", "asked", "coloured_state")
    list_filter = ("state", "dataset__host__organisation", "dataset")
    list_select_related = ("dataset__host__organisation", "requested_by__organisation")
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
    actions_detail: ClassVar = ["approve", "refuse", "revoke"]

    @admin.display(description=_("dataset"), ordering="dataset__name")
    def subject(self, asked: AccessRequest) -> str:
        return str(asked.dataset)

    @admin.display(description=_("organisation"))
    def organisation(self, asked: AccessRequest) -> str:
        return str(asked.requested_by.organisation or "-")

    @admin.display(description=_("what"))
    def what(self, asked: AccessRequest) -> str:
        return f"{', '.join(asked.protocols)} · {', '.join(asked.backends)} · {', '.join(asked.model_types)}"

    @admin.display(description=_("asked"), ordering="created_at")
    def asked(self, asked: AccessRequest) -> Any:
        return asked.created_at

    @admin.display(description=_("state"), ordering="state")
    def coloured_state(self, asked: AccessRequest) -> str:
        return badge(asked.get_state_display(), STATE_COLOURS[asked.state])

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
            "explained": explain(asked) if asked else None,
            "title": _("Access request"),
            "at_host": standings.in_words(grant, grant.request.dataset.host) if grant else "",
        }
        page: HttpResponse = super().change_view(request, object_id, form_url, (extra_context or {}) | shown)
        return page

    def has_decide_permission(self, request: HttpRequest, object_id: str | None, state: RequestState) -> bool:
        """Whether the person who looks may decide about this request in this state."""
        asked = AccessRequest.objects.filter(pk=object_id, state=state).first()
        person = request.user
        return (
            asked is not None
            and isinstance(person, Person)
            and person.owns_data_of(asked.dataset.organisation.pk)
            and asked.requested_by_id != person.pk
        )

    def has_waiting_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self.has_decide_permission(request, object_id, RequestState.WAITING)

    def has_granted_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self.has_decide_permission(request, object_id, RequestState.APPROVED)

    @action(
        description=_("Approve"),
        icon="check",
        variant=ActionVariant.PRIMARY,
        permissions=["waiting"],
        dialog={
            "title": _("Approve this request?"),
            "description": _(
                "Runs may start at once, within these limits. What is handed over cannot be called back."
            ),
            "form_class": ApprovalForm,
            "form_submit_text": _("Approve"),
        },
    )
    def approve(self, request: HttpRequest, form: ApprovalForm, object_id: str) -> HttpResponse:
        def decide(asked: AccessRequest, person: Person) -> None:
            decisions.approve(asked, person, form.limits, form.cleaned_data["reason"])

        return self._decided(request, object_id, decide)

    @action(
        description=_("Refuse"),
        icon="close",
        permissions=["waiting"],
        dialog={
            "title": _("Refuse this request?"),
            "description": _("The scientist may ask again, with another request."),
            "form_class": ReasonForm,
            "form_submit_text": _("Refuse"),
        },
    )
    def refuse(self, request: HttpRequest, form: ReasonForm, object_id: str) -> HttpResponse:
        def decide(asked: AccessRequest, person: Person) -> None:
            decisions.refuse(asked, person, form.cleaned_data["reason"])

        return self._decided(request, object_id, decide)

    @action(
        description=_("Revoke"),
        icon="block",
        variant=ActionVariant.DANGER,
        permissions=["granted"],
        dialog={
            "title": _("Revoke this grant?"),
            "description": _(
                "No further run starts under it. What was handed over before cannot be called back."
            ),
            "form_class": ReasonForm,
            "form_submit_text": _("Revoke"),
        },
    )
    def revoke(self, request: HttpRequest, form: ReasonForm, object_id: str) -> HttpResponse:
        def decide(asked: AccessRequest, person: Person) -> None:
            decisions.revoke(asked, person, form.cleaned_data["reason"])

        return self._decided(request, object_id, decide)

    def _decided(
        self, request: HttpRequest, object_id: str, decide: Callable[[AccessRequest, Person], None]
    ) -> HttpResponse:
        asked = AccessRequest.objects.get(pk=object_id)
        try:
            decide(asked, person_of(request))
        except DecisionError as error:
            messages.error(request, error.detail)
        else:
            asked.refresh_from_db()
            messages.success(request, _("The request is %(state)s.") % {"state": asked.get_state_display()})
        # The dialog is loaded by htmx, which follows this header; a 302 would leave the dialog open.
        address = reverse("admin:governance_accessrequest_change", args=(object_id,))
        return HttpResponse(headers={"HX-Redirect": address})


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
    fields = readonly_fields = (
        *("request", "scientist", "used", "expires_at", "download", "state"),
        *("approved_by", "approved_at", "revoked_at"),
        *("at_host_in_words", "standing_at", "shown_standing"),
    )

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
            return badge(_("revoked"), "danger")
        if grant.expires_at <= timezone.now():
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
