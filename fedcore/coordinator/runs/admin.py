"""The admin of runs: where each is, how good its model is, and where it was stopped. Nothing here is edited."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Exists, Model, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.admin.base import (
    GovernedAdmin,
    GovernedInline,
    GovernedList,
    ago,
    badge,
    code,
    code_badge,
)
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.models import AccessRequest
from fedcore.coordinator.governance.people import person_of
from fedcore.coordinator.runs import ending
from fedcore.coordinator.runs.models import LARGE, Artefact, Run, RunDataset, RunEvent, RunOrder
from fedcore.coordinator.runs.parts import Ending, Parts
from fedcore.coordinator.runs.shown import show

STATE_COLOURS = {
    "submitted": "info",
    "checking": "info",
    "awaiting_grants": "warn",
    "preparing": "info",
    "running": "info",
    "evaluating": "info",
    "finished": "success",
    "failed": "danger",
    "cancelled": "",
    "expired": "danger",
}


def run_badge(run: Run) -> SafeString:
    """The state of a run, coloured."""
    return badge(run.get_state_display(), STATE_COLOURS[run.state])


class ReadOnlyInline(GovernedInline):
    """The parts of a run that the person may see, which is the rule of the parts themselves."""

    can_delete = False
    show_change_link = False

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class DatasetInline(ReadOnlyInline):
    model = RunDataset
    verbose_name_plural = _("Datasets")
    fields = ("host", "name", "shown_request", "short_version")
    readonly_fields = fields
    tab = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        seen = AccessRequest.objects.visible_to(person_of(request)).filter(pk=OuterRef("request"))
        rows: QuerySet[Any] = super().get_queryset(request).annotate(sees_request=Exists(seen))
        return rows.select_related("request__dataset__host")

    @display(description=_("request"))
    def shown_request(self, entry: Any) -> str:
        """The request whose grant covers it, for whoever may see it: another owner's is not told."""
        if not entry.sees_request:
            return "-"
        address = reverse("admin:governance_accessrequest_change", args=(entry.request_id,))
        return format_html('<a class="fedcore-link" href="{}">{}</a>', address, entry.request)

    @display(description=_("version"))
    def short_version(self, entry: RunDataset) -> str:
        return code(entry.version[:16])


class OrderInline(ReadOnlyInline):
    model = RunOrder
    fields = ("phase", "part", "host", "shown_status", "code", "issued_at", "reported_at")
    readonly_fields = fields
    tab = True

    @display(description=_("step and round"))
    def part(self, order: RunOrder) -> str:
        return f"{order.step} / {order.round}"

    @display(description=_("status"))
    def shown_status(self, order: RunOrder) -> str:
        return order.status or gettext("sent")


class ArtefactInline(ReadOnlyInline):
    model = Artefact
    fields = ("role", "sender", "size", "received", "created_at", "deleted_at")
    readonly_fields = fields
    tab = True

    @display(description=_("from"))
    def sender(self, artefact: Artefact) -> str:
        return artefact.order.host.name if artefact.order else gettext("coordinator")

    @display(description=_("received"))
    def received(self, artefact: Artefact) -> str:
        return f"{artefact.offset / artefact.size:.0%}" if artefact.size else "100%"


class EventInline(ReadOnlyInline):
    model = RunEvent
    fields = ("at", "state", "told")
    readonly_fields = fields
    tab = True
    parts: Parts
    """Set with the rows: an inline is made anew for each request."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        self.parts = Parts(person_of(request))
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.select_related("run", "host")

    @display(description=_("text"))
    def told(self, event: RunEvent) -> str:
        return self.parts.text_of(event)


class RunList(GovernedList):
    """The list of runs, with why each ended, as far as whoever looks is told."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        parts = Parts(person_of(request))
        for run in self.result_list:
            run.__dict__["ending"] = parts.ending_of(run)


@admin.register(Run)
class RunAdmin(GovernedAdmin):
    list_display = (
        *("title", "scientist", "how", "coloured_state", "bar", "created"),
        "stopped_at",
    )
    list_filter = ("state", "protocol", "backend", "model_type")
    list_select_related = ("scientist", "culprit")
    search_fields = ("id", "title", "scientist__username")
    date_hierarchy = "created_at"
    empty_text = _("Scientists submit runs with the command `fedcore submit`, under grants.")
    actions_detail: ClassVar = ["cancel"]
    inlines = (EventInline, OrderInline, DatasetInline, ArtefactInline)
    change_form_outer_before_template = "runs/run.html"
    delete_confirmation_template = "runs/delete.html"
    fieldsets = (
        (
            _("What"),
            {"fields": ("protocol", "backend", "model_type", "reference_host", "shown_id")},
        ),
        (
            _("When"),
            {"fields": ("created_at", "started_at", "finished_at", "deadline", "heartbeat")},
        ),
        (_("What was signed"), {"classes": ("collapse",), "fields": ("shown_spec",)}),
    )
    readonly_fields = (
        *("protocol", "backend", "model_type", "reference_host", "shown_id"),
        *("created_at", "started_at", "finished_at", "deadline", "heartbeat", "shown_spec"),
    )

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[GovernedList]:
        return RunList

    @display(description=_("state"), ordering="state")
    def coloured_state(self, run: Run) -> SafeString:
        return run_badge(run)

    @display(description=_("protocol and backend"), ordering="protocol")
    def how(self, run: Run) -> str:
        return f"{run.protocol}, {run.backend}"

    @display(description=_("progress"), ordering="progress")
    def bar(self, run: Run) -> SafeString:
        percent = round(100 * run.progress)
        return format_html(
            '<progress class="fedcore-progress" max="100" value="{}"></progress> {}%', percent, percent
        )

    @display(description=_("submitted"), ordering="created_at")
    def created(self, run: Run) -> str:
        return ago(run.created_at)

    @display(description=_("stopped at"))
    def stopped_at(self, run: Run) -> str:
        if not run.code:
            return "-"
        where = "/".join(filter(None, (run.culprit.name, run.culprit_dataset))) if run.culprit else ""
        ending: Ending = run.__dict__["ending"]
        return (
            format_html("{} {}", where, code_badge(ending.code, STATE_COLOURS[run.state]))
            if ending.code
            else where
        )

    @display(description=_("heartbeat of the training"))
    def heartbeat(self, run: Run) -> str:
        return ago(run.heartbeat_at) if run.lease else "-"

    @display(description=_("run"))
    def shown_id(self, run: Run) -> str:
        return code(run.pk)

    @display(description=_("signed spec"))
    def shown_spec(self, run: Run) -> SafeString:
        text = json.dumps(json.loads(run.signed.text), indent=2, ensure_ascii=False)
        return format_html('<pre style="white-space: pre-wrap">{}</pre>', text)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer(*LARGE)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        run = self.get_object(request, object_id)
        if run is not None and run.report is not None:
            audit.record(Action.READ_REPORT, run)
        shown = show(run, Parts(person_of(request)), STATE_COLOURS[run.state]) if run else None
        page: HttpResponse = super().change_view(
            request, object_id, form_url, (extra_context or {}) | {"shown": shown}
        )
        return page

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Deleting a run deletes its model: for its scientist, when it has ended."""
        return isinstance(obj, Run) and obj.ended and obj.scientist_id == request.user.pk

    def has_cancel_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return Run.objects.unfinished().filter(pk=object_id, scientist=request.user.pk).exists()

    @action(
        description=_("Cancel"),
        icon="close",
        variant=ActionVariant.DANGER,
        permissions=["cancel"],
        dialog={
            "title": _("Cancel this run?"),
            "description": _("The owners are told to delete what they made for it."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Cancel the run"),
        },
    )
    def cancel(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        try:
            with audit.refusals(Action.CANCEL_RUN, self.get_object(request, object_id)):
                ending.cancel(object_id)
            messages.success(request, gettext("The run was cancelled."))
        except ending.NotAllowed as error:
            messages.error(request, str(error))
        return HttpResponse(headers={"HX-Redirect": reverse("admin:runs_run_change", args=(object_id,))})
