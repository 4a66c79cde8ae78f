"""The audit: to look through, to search, to export, and never to change."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any, ClassVar, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from unfold.contrib.filters.admin import (
    ChoicesDropdownFilter,
    DropdownFilter,
    RangeDateFilter,
    TextFilter,
)

from fedcore.coordinator.governance.admin.audit_names import Named, name_subjects, named_thing
from fedcore.coordinator.governance.admin.base import (
    ABOUT,
    GovernedAdmin,
    GovernedList,
    badge,
    code,
    code_badge,
)
from fedcore.coordinator.governance.audit import Action, Subject, Thing, exporting, record
from fedcore.coordinator.governance.models import AuditEntry, Dataset
from fedcore.coordinator.governance.people import person_of
from fedcore.wire.codes import EXPLANATIONS, RefusalCode

EXPORTED_AT_MOST: Final = 20_000
"""Entries in one export from a page; `manage.py audit export` has no limit."""


class PeriodFilter(RangeDateFilter):
    """From the beginning of one day to the end of another, by UTC."""

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        first, last = (_midnight(self.used_parameters.get(f"at_{end}")) for end in ("from", "to"))
        if first is not None:
            queryset = queryset.filter(at__gte=first)
        return queryset if last is None else queryset.filter(at__lt=last + timedelta(days=1))


class OrganisationFilter(DropdownFilter):
    title, parameter_name = _("organisation"), "organisation"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        seen = person_of(request).organisations_with_oversight()
        return [(str(organisation.pk), organisation.title) for organisation in seen]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        return queryset.concerning(Thing.ORGANISATION, value) if value else queryset


class DatasetFilter(DropdownFilter):
    title, parameter_name = _("dataset"), "dataset"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        seen = Dataset.objects.visible_to(person_of(request)).select_related("host")
        return [(str(dataset.pk), str(dataset)) for dataset in seen]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        return queryset.concerning(Thing.DATASET, value) if value else queryset


class AboutFilter(DropdownFilter):
    """What concerns one thing, as the buttons “History” name it: offered only where one is named."""

    title, parameter_name = _("about"), ABOUT

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        named = request.GET.get(ABOUT, "")
        thing, _colon, id = named.partition(":")
        if thing not in Thing.values or not id:
            return []
        found = named_thing(Thing(thing), id, person_of(request))
        return [(named, f"{Thing(thing).label}: {found.text}" if found.address else found.text)]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        thing, _colon, id = (self.value() or "").partition(":")
        return queryset.concerning(Thing(thing), id) if thing in Thing.values and id else queryset


class RunFilter(TextFilter):
    title, parameter_name = _("run (its id)"), "run"

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        return queryset.concerning(Thing.RUN, value.strip()) if value else queryset


class NamingList(GovernedList):
    """The list's page, with the names of what its entries are about."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        name_subjects(self.result_list, person_of(request))


@admin.register(AuditEntry)
class AuditEntryAdmin(GovernedAdmin):
    list_display = ("serial", "moment", "shown_who", "what", "shown_subject", "result", "whence")
    list_display_links = ("serial", "moment")
    list_filter = (
        ("at", PeriodFilter),
        ("action", ChoicesDropdownFilter),
        ("outcome", ChoicesDropdownFilter),
        ("who", ChoicesDropdownFilter),
        *(OrganisationFilter, DatasetFilter, RunFilter, AboutFilter),
    )
    list_before_template = "governance/audit_exports.html"
    list_per_page = 50
    search_fields = (
        "person__username",
        "person__first_name",
        "person__last_name",
        "host__name",
        "thing_id",
        "code",
    )
    search_help_text = _("Who, the id of what, or a code.")
    change_form_outer_before_template = "governance/audit_entry.html"
    fieldsets: ClassVar = (
        (
            _("In the chain"),
            {
                "classes": ("collapse",),
                "fields": (
                    "shown_previous",
                    "shown_digest",
                    "shown_signer",
                    "shown_signature",
                    "shown_content",
                ),
            },
        ),
    )
    readonly_fields = ("shown_previous", "shown_digest", "shown_signer", "shown_signature", "shown_content")

    @admin.display(description=_("when"), ordering="at")
    def moment(self, entry: AuditEntry) -> str:
        return format_html('<span class="fedcore-moment">{}</span>', f"{entry.at:%Y-%m-%d %H:%M:%S}")

    @admin.display(description=_("who"), ordering="person__username")
    def shown_who(self, entry: AuditEntry) -> str:
        return who(entry)

    @admin.display(description=_("what"), ordering="action")
    def what(self, entry: AuditEntry) -> str:
        return entry.get_action_display()

    @admin.display(description=_("on what"))
    def shown_subject(self, entry: AuditEntry) -> Any:
        subject: Named = entry.__dict__["subject"]
        return subject.link

    @admin.display(description=_("outcome"), ordering="outcome")
    def result(self, entry: AuditEntry) -> str:
        return outcome_badge(entry)

    @admin.display(description=_("from where"))
    def whence(self, entry: AuditEntry) -> str:
        return f"{entry.get_channel_display()} {entry.origin or ''}".strip()

    @admin.display(description=_("digest of the entry before"))
    def shown_previous(self, entry: AuditEntry) -> str:
        return code(entry.previous)

    @admin.display(description=_("digest"))
    def shown_digest(self, entry: AuditEntry) -> str:
        return code(entry.digest)

    @admin.display(description=_("signing key"))
    def shown_signer(self, entry: AuditEntry) -> str:
        return code(entry.signer)

    @admin.display(description=_("signature"))
    def shown_signature(self, entry: AuditEntry) -> str:
        return code(entry.signature)

    @admin.display(description=_("concerns, and detail"))
    def shown_content(self, entry: AuditEntry) -> str:
        return code(f"{entry.concerns.strip()}\n{entry.detail}")

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        # Joined also for one entry: whoever was deleted is then nobody, and no error.
        rows: QuerySet[AuditEntry] = super().get_queryset(request).select_related("person", "host", "origin")
        return rows

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[GovernedList]:
        return NamingList

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [
            path("export/", view(require_POST(self.export)), name="governance_auditentry_export"),
            path("processing/", view(require_POST(self.processing)), name="governance_auditentry_processing"),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        shown = {"title": _("Audit"), "oversees": person_of(request).organisations_with_oversight().exists()}
        page: HttpResponse = super().changelist_view(request, (extra_context or {}) | shown)
        return page

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        entry = self.get_object(request, object_id)
        shown: dict[str, Any] = {"title": _("Entry of the audit"), "show_history": False}
        if entry is not None:
            name_subjects([entry], person_of(request))
            shown |= {
                "entry": entry,
                "who": who(entry),
                "explanation": explained_code(entry.code),
                "facts": facts(entry),
            }
        page: HttpResponse = super().change_view(request, object_id, form_url, (extra_context or {}) | shown)
        return page

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> AuditEntry | None:
        found: AuditEntry | None = super().get_object(request, object_id, from_field)
        return found

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def export(self, request: HttpRequest) -> HttpResponse:
        """The entries that the list shows under its filters, as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            format = exporting.Format(request.POST.get("format", ""))
        except ValueError:
            return HttpResponse(status=400)
        entries: QuerySet[AuditEntry] = self.get_changelist_instance(request).get_queryset(request)
        count = entries.count()
        if count > EXPORTED_AT_MOST:
            text = _(
                "%(count)d entries are too many for a page: filter them, or use `manage.py audit export`."
            )
            messages.error(request, text % {"count": count})
            return HttpResponseRedirect(reverse("admin:governance_auditentry_changelist"))
        lines = list(exporting.exported(entries, format, names="names" in request.POST))
        record(Action.EXPORT_AUDIT, Subject(Thing.AUDIT), format=format.value, entries=count)
        return _file("".join(lines), exporting.file_name(format, timezone.now()), "text/plain; charset=utf-8")

    def processing(self, request: HttpRequest) -> HttpResponse:
        """The record of processing activities of the organisations that the person oversees."""
        from fedcore.coordinator.processing import record_of_processing

        organisations = person_of(request).organisations_with_oversight()
        if not organisations.exists():
            raise PermissionDenied
        found = record_of_processing(organisations)
        form = "json" if request.POST.get("format") == "json" else "html"
        count = len(found["organisations"])
        record(Action.EXPORT_AUDIT, Subject(Thing.AUDIT), format=f"processing.{form}", entries=count)
        name = f"processing-{timezone.now():%Y%m%d}.{form}"
        if form == "json":
            answer = JsonResponse(found, json_dumps_params={"indent": 1, "ensure_ascii": False})
            answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
            return answer
        return _file(render_to_string("governance/processing.html", found), name, "text/html; charset=utf-8")


def _midnight(text: Any) -> datetime | None:
    """The beginning of a day as a form names it; nothing for what is no day."""
    try:
        day = parse_date(text or "")
    except ValueError:
        return None
    return None if day is None else datetime.combine(day, time(), UTC)


def who(entry: AuditEntry) -> str:
    """Who acted, by the name of now."""
    named = entry.person if entry.who == "person" else entry.host
    if named is not None:
        return str(named)
    id = entry.person_id or entry.host_id
    return f"{entry.get_who_display()} {id or ''}".strip()


def outcome_badge(entry: AuditEntry) -> SafeString:
    """Whether it was done, or the code with which it was refused."""
    if entry.outcome != "refused":
        return badge(_("done"), "success")
    return code_badge(entry.code, "danger") if entry.code else badge(_("refused"), "danger")


def explained_code(found: str) -> str:
    """What a code means, where it is one of the codes that travel."""
    return EXPLANATIONS[RefusalCode(found)] if found in set(RefusalCode) else ""


def facts(entry: AuditEntry) -> list[tuple[str, str]]:
    """The detail, a line each."""
    return [(name.replace("_", " "), _shown(name, value)) for name, value in entry.facts.items()]


def _shown(name: str, value: Any) -> str:
    if name == "expires_at":
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M} UTC"
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _file(text: str, name: str, kind: str) -> HttpResponse:
    return HttpResponse(
        text, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
