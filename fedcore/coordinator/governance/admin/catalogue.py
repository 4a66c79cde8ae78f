"""Owner hosts with fingerprints and last contact, and the datasets that they announce."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from fedcore.coordinator.governance.admin.base import GovernedAdmin, ago, badge, code
from fedcore.coordinator.governance.models import Dataset, OwnerHost, Sensitivity
from fedcore.coordinator.governance.people import person_of
from fedcore.coordinator.governance.search import SEARCHED, with_mocks, with_texts
from fedcore.coordinator.governance.shown_dataset import SENSITIVITY_COLOURS, show
from fedcore.wire.keys import HostCard


class OwnerHostForm(forms.ModelForm):  # type: ignore[type-arg]
    """A host is entered by its card, which the owner reads out and both sides compare by fingerprint."""

    card = forms.CharField(
        label=_("Card"),
        widget=UnfoldAdminTextInputWidget,
        help_text=_("The line fedcore-host:…:… that the command fedcore-owner init has printed on the host."),
    )

    class Meta:
        model = OwnerHost
        fields = ("organisation", "name", "is_reference", "is_dealer", "is_active")

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
    list_filter = ("organisation", "is_reference", "is_dealer", "is_active")
    list_select_related = ("organisation",)
    search_fields = ("name", "signing_key", "organisation__title")
    readonly_fields = ("contact", "last", "version", "shown_fingerprint", "shown_card")
    empty_text = _("An administrator registers a host by the card that `fedcore-owner init` prints on it.")

    def get_fieldsets(self, request: HttpRequest, obj: OwnerHost | None = None) -> Any:
        entered = ["organisation", "name", "is_reference", "is_dealer", "is_active"]
        if self.has_change_permission(request, obj):
            entered.insert(2, "card")
        seen = (
            _("As the coordinator sees it"),
            {"fields": ("contact", "last", "version", "shown_fingerprint", "shown_card")},
        )
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
        if host.is_reference:
            return badge(_("reference host"), "warn")
        return badge(_("dealer")) if host.is_dealer else badge(_("owner host"))


@admin.register(Dataset)
class DatasetAdmin(GovernedAdmin):
    list_display = (
        *("title", "path", "organisation", "shown_sensitivity", "shown_rows", "has_mock", "offered"),
    )
    list_filter = ("host__organisation", "sensitivity", "reader", "is_offered")
    list_select_related = ("host__organisation",)
    empty_text = _("Owner hosts announce datasets when they run, as their `owner.toml` says.")
    search_fields = SEARCHED
    search_help_text = _("In names, descriptions, terms, contacts, columns and classes")
    change_form_outer_before_template = "governance/dataset.html"
    fieldsets = (
        (
            _("As programs name it"),
            {
                "classes": ("collapse",),
                "fields": ("shown_host", "name", "shown_version", "announced_at"),
            },
        ),
    )
    readonly_fields = ("shown_host", "shown_version")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Dataset]:
        rows: QuerySet[Dataset] = super().get_queryset(request)
        return with_mocks(with_texts(rows)).select_related("host__organisation")

    @admin.display(description=_("organisation"))
    def organisation(self, dataset: Dataset) -> str:
        return str(dataset.organisation)

    @admin.display(description=_("name"), ordering="name")
    def path(self, dataset: Dataset) -> str:
        return code(str(dataset))

    @admin.display(description=_("sensitivity"), ordering="sensitivity")
    def shown_sensitivity(self, dataset: Dataset) -> str:
        colour = SENSITIVITY_COLOURS[Sensitivity(dataset.sensitivity)]
        return badge(dataset.get_sensitivity_display(), colour)

    @admin.display(description=_("rows (rounded)"), ordering="rows")
    def shown_rows(self, dataset: Dataset) -> str:
        return f"{dataset.rows:,}"

    @admin.display(description=_("mock sample"), boolean=True)
    def has_mock(self, dataset: Any) -> bool:
        return dataset.mock_digest is not None

    @admin.display(description=_("owner host's key"))
    def shown_host(self, dataset: Dataset) -> str:
        return code(dataset.host.signing_key)

    @admin.display(description=_("version"))
    def shown_version(self, dataset: Dataset) -> str:
        return code(dataset.current_version)

    @admin.display(description=_("offered"))
    def offered(self, dataset: Dataset) -> str:
        return badge(_("offered"), "success") if dataset.is_offered else badge(_("withdrawn"), "danger")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        dataset = self.get_object(request, object_id)
        shown = {"shown": show(dataset, person_of(request)) if dataset else None, "title": _("Dataset")}
        page: HttpResponse = super().change_view(request, object_id, form_url, (extra_context or {}) | shown)
        return page
