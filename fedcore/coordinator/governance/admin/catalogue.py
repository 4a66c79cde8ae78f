"""Owner hosts with fingerprints and last contact, and the datasets that they announce."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from fedcore.coordinator.governance.admin.base import GovernedAdmin, ago, badge, code
from fedcore.coordinator.governance.models import Dataset, OwnerHost
from fedcore.wire.keys import HostCard


class OwnerHostForm(forms.ModelForm):  # type: ignore[type-arg]
    """A host is entered by its card, which the owner reads out and both sides compare by fingerprint."""

    card = forms.CharField(
        label=_("Card"),
        widget=UnfoldAdminTextInputWidget,
        help_text=_("The line that `fedcore-owner init` printed: fedcore-host:SIGNING:SEALING."),
    )

    class Meta:
        model = OwnerHost
        fields = ("organisation", "name", "is_reference", "is_active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["card"].initial = self.instance.card

    def clean_card(self) -> HostCard:
        try:
            card = HostCard.parse(self.cleaned_data["card"])
        except ValueError as error:
            raise ValidationError(str(error)) from None
        if OwnerHost.objects.filter(signing_key=card.signing).exclude(pk=self.instance.pk).exists():
            raise ValidationError(_("A host with this signing key is registered already."))
        return card

    def save(self, commit: bool = True) -> OwnerHost:
        card: HostCard = self.cleaned_data["card"]
        self.instance.signing_key, self.instance.sealing_key = card.signing, card.sealing
        saved: OwnerHost = super().save(commit)
        return saved


@admin.register(OwnerHost)
class OwnerHostAdmin(GovernedAdmin):
    form = OwnerHostForm
    list_display = ("name", "organisation", "contact", "last", "shown_fingerprint", "kind", "is_active")
    list_filter = ("organisation", "is_reference", "is_active")
    list_select_related = ("organisation",)
    search_fields = ("name", "signing_key", "organisation__title")
    readonly_fields = ("contact", "last", "version", "shown_fingerprint", "shown_card")

    def get_fieldsets(self, request: HttpRequest, obj: OwnerHost | None = None) -> Any:
        entered = ["organisation", "name", "is_reference", "is_active"]
        if self.has_change_permission(request, obj):
            entered.insert(2, "card")
        seen = (_("As seen"), {"fields": ("contact", "last", "version", "shown_fingerprint", "shown_card")})
        return [(None, {"fields": entered}), *([seen] if obj else [])]

    @admin.display(description=_("contact"))
    def contact(self, host: OwnerHost) -> str:
        return badge(_("away"), "danger") if host.is_away() else badge(_("here"), "success")

    @admin.display(description=_("last contact"), ordering="last_contact")
    def last(self, host: OwnerHost) -> str:
        return ago(host.last_contact)

    @admin.display(description=_("fingerprint"))
    def shown_fingerprint(self, host: OwnerHost) -> str:
        return code(host.fingerprint)

    @admin.display(description=_("card"))
    def shown_card(self, host: OwnerHost) -> str:
        return code(host.card)

    @admin.display(description=_("kind"))
    def kind(self, host: OwnerHost) -> str:
        return badge(_("reference host"), "warn") if host.is_reference else badge(_("owner host"))


@admin.register(Dataset)
class DatasetAdmin(GovernedAdmin):
    list_display = ("title", "name", "host", "organisation", "shown_rows", "classes_in_words", "offered")
    list_filter = ("host__organisation", "is_offered")
    list_select_related = ("host__organisation",)
    search_fields = ("name", "title", "description")
    fieldsets = (
        (None, {"fields": ("title", "name", "host", "organisation", "description", "offered")}),
        (_("Schema"), {"fields": ("reader", "columns_in_words", "classes_in_words", "shown_rows")}),
        (_("Version"), {"fields": ("shown_version", "announced_at")}),
    )
    readonly_fields = (
        "organisation",
        "offered",
        "columns_in_words",
        "classes_in_words",
        "shown_rows",
        "shown_version",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Dataset]:
        return super().get_queryset(request).select_related("host__organisation")

    @admin.display(description=_("organisation"))
    def organisation(self, dataset: Dataset) -> str:
        return str(dataset.organisation)

    @admin.display(description=_("columns"))
    def columns_in_words(self, dataset: Dataset) -> str:
        return ", ".join(dataset.columns)

    @admin.display(description=_("classes"))
    def classes_in_words(self, dataset: Dataset) -> str:
        return ", ".join(dataset.classes) or "-"

    @admin.display(description=_("rows (rounded)"), ordering="rows")
    def shown_rows(self, dataset: Dataset) -> str:
        return f"{dataset.rows:,}"

    @admin.display(description=_("version"))
    def shown_version(self, dataset: Dataset) -> str:
        return code(dataset.current_version)

    @admin.display(description=_("offered"))
    def offered(self, dataset: Dataset) -> str:
        return badge(_("offered"), "success") if dataset.is_offered else badge(_("withdrawn"), "danger")
