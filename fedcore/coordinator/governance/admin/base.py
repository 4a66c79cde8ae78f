"""The admin's base class: what a person sees and edits follows from `fedcore.coordinator.governance.rules`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.filters import FieldListFilter, RelatedFieldListFilter
from django.contrib.admin.options import BaseModelAdmin, IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import ForeignKey, Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from unfold.admin import ModelAdmin, TabularInline
from unfold.views import ChangeList

from fedcore.coordinator.governance import audit, rules
from fedcore.coordinator.governance.models import Organisation, Person
from fedcore.coordinator.governance.people import person_of

NO_BREAK: Final = "\N{NO-BREAK SPACE}"
ABOUT: Final = "about"
"""The parameter by which the list of the audit shows what concerns one thing."""


class Governed(BaseModelAdmin):  # type: ignore[type-arg]
    """Lists are cut down to what the person may see; what the rules do not let the person edit is read-only."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: Any = super().get_queryset(request)
        visible: QuerySet[Any] = rows.visible_to(person_of(request))
        return visible

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _is_inside(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if not _is_inside(request):
            return False
        if obj is None or obj.pk is None or not isinstance(obj, self.model):
            return True
        visible: QuerySet[Any] = self.model.objects.visible_to(person_of(request))
        return visible.filter(pk=obj.pk).exists()

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return _is_inside(request) and rules.may_edit(person_of(request), self.model, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_change_permission(request, obj) and person_of(request).administers_everything

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.related_model is Organisation:
            kwargs["queryset"] = person_of(request).organisations_with_oversight()
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


class VisibleFilter(RelatedFieldListFilter):
    """The filter of a list by another row offers only rows that the person may see: names are told, too."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        visible = field.remote_field.model.objects.visible_to(person_of(request))
        ordering = self.field_admin_ordering(field, request, model_admin)
        return field.get_choices(
            include_blank=False, ordering=ordering, limit_choices_to={"pk__in": visible.values("pk")}
        )


FieldListFilter.register(
    lambda field: hasattr(getattr(field.related_model, "objects", None), "visible_to"),
    VisibleFilter,
    take_priority=True,
)


class GovernedList(ChangeList):
    """A list that is filtered by what its own links and fields filter by, and by nothing else.

    Django lets whoever writes an address filter by every field of a row, shown or not, and by the rows that point to
    it. Which rows are left would then answer questions about values and rows that are hidden.
    """

    def get_filters(self, request: HttpRequest) -> Any:
        try:
            found = super().get_filters(request)
        except IncorrectLookupParameters:
            raise DisallowedModelAdminLookup("Filtering by what is no field.") from None
        _filters, _has_filters, left_over, *_more = found
        # The dates of the hierarchy stand there too, under names that no address gave.
        unknown = sorted(left_over.keys() & self.filter_params.keys())
        if unknown:
            raise DisallowedModelAdminLookup(f"Filtering by {', '.join(unknown)} is no filter of this list.")
        return found


class GovernedAdmin(Governed, ModelAdmin):
    """A page for each row, under the rules of roles."""

    compressed_fields = True
    warn_unsaved_form = True
    list_filter_submit = True
    show_full_result_count = False
    empty_text: Any = ""
    """What is said where the list has no rows: whence they come. Commands stand between backticks."""

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[GovernedList]:
        return GovernedList

    def _changeform_view(self, *arguments: Any, **options: Any) -> Any:
        with audit.atomic():
            return super()._changeform_view(*arguments, **options)

    def _delete_view(self, *arguments: Any, **options: Any) -> Any:
        with audit.atomic():
            return super()._delete_view(*arguments, **options)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What the audit has of it: Django's own history knows only what was edited in the admin."""
        found = self.get_object(request, unquote(object_id))
        if found is None or not audit.is_subject(found):
            page: HttpResponse = super().history_view(request, object_id, extra_context)
            return page
        if not self.has_view_permission(request, found):
            raise PermissionDenied
        subject = audit.subject_of(found)
        about = urlencode({ABOUT: audit.mark(subject.thing, subject.id)})
        return redirect(f"{reverse('admin:governance_auditentry_changelist')}?{about}")

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with audit.atomic():
            super().delete_queryset(request, queryset)


class GovernedInline(Governed, TabularInline):
    """Rows within another row's page, under the rules of roles."""

    extra = 0
    hide_title = True

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_change_permission(request, obj)


def code(text: str) -> SafeString:
    """A key, card, digest or fingerprint, in letters that are told apart easily."""
    return format_html('<code class="fedcore-code">{}</code>', text)


def badge(text: Any, kind: str = "") -> SafeString:
    """A state as a coloured word; `kind` is `success`, `warn`, `danger` or nothing."""
    return format_html('<span class="fedcore-badge fedcore-{}">{}</span>', kind or "plain", text)


def code_badge(text: str, kind: str) -> SafeString:
    """A code of a refusal, coloured, as it is written elsewhere."""
    return format_html('<span class="fedcore-badge fedcore-{} fedcore-verbatim">{}</span>', kind, text)


def ago(moment: datetime | None) -> str:
    """How long ago, in words that stay on one line."""
    if moment is None:
        return _("never")
    if (timezone.now() - moment).total_seconds() < 60:
        text = _("just now")
    else:
        text = _("%(time)s ago") % {"time": timesince(moment, depth=1)}
    return text.replace(" ", NO_BREAK)


def _is_inside(request: HttpRequest) -> bool:
    return isinstance(request.user, Person) and request.user.is_active and request.user.is_staff
