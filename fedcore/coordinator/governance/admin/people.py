"""Organisations, people with their roles, and signing keys."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from knox.models import get_token_model
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from fedcore.coordinator.governance import submissions
from fedcore.coordinator.governance.admin.base import GovernedAdmin, GovernedInline, badge, code
from fedcore.coordinator.governance.models import Membership, Organisation, Person, PersonKey
from fedcore.coordinator.governance.people import may_set_approvers, person_of, set_two_approvers

# Roles decide here; Django's groups would be a second, silent source of permissions. A token is made by logging in:
# its page would hand out tokens of other people.
for foreign in (Group, get_token_model()):
    if admin.site.is_registered(foreign):
        admin.site.unregister(foreign)


@admin.register(Organisation)
class OrganisationAdmin(GovernedAdmin):
    list_display = ("title", "name", "part", "approvers")
    search_fields = ("name", "title")
    fieldsets = ((None, {"fields": ("title", "name", "approvers")}),)
    readonly_fields = ("approvers",)
    actions_detail: ClassVar = ["ask_two_approvers", "ask_one_approver"]

    @admin.display(description=_("part"))
    def part(self, organisation: Organisation) -> str:
        return badge(_("operator"), "warn") if organisation.is_operator else badge(_("member"))

    @admin.display(description=_("approvals of a request"))
    def approvers(self, organisation: Organisation) -> str:
        return str(_("two data owners") if organisation.two_approvers else _("one data owner"))

    def has_one_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may_set(request, object_id, now=False)

    def has_two_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may_set(request, object_id, now=True)

    @staticmethod
    def _may_set(request: HttpRequest, object_id: str | None, now: bool) -> bool:
        """An organisation's own administrator says how many approve, and only the other number than now."""
        found = Organisation.objects.filter(pk=object_id or 0, two_approvers=now).first()
        return found is not None and may_set_approvers(person_of(request), found)

    @action(
        description=_("Require two approvers"),
        icon="group_add",
        permissions=["one"],
        dialog={
            "title": _("Require two approvers?"),
            "description": _(
                "A request is granted once two data owners have approved it, the second at most as much."
            ),
            "form_submit_text": _("Require two"),
        },
    )
    def ask_two_approvers(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._set(request, object_id, two=True)

    @action(
        description=_("Require one approver"),
        icon="person",
        permissions=["two"],
        dialog={
            "title": _("Require one approver only?"),
            "description": _("What one data owner has approved still waits for a second one."),
            "form_submit_text": _("Require one"),
        },
    )
    def ask_one_approver(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._set(request, object_id, two=False)

    @staticmethod
    def _set(request: HttpRequest, object_id: str, two: bool) -> HttpResponse:
        set_two_approvers(Organisation.objects.get(pk=object_id), person_of(request), two)
        messages.success(
            request, _("Requests need two approvals.") if two else _("Requests need one approval.")
        )
        address = reverse("admin:governance_organisation_change", args=(object_id,))
        return HttpResponse(headers={"HX-Redirect": address})


class MembershipInline(GovernedInline):
    model = Membership
    verbose_name_plural = _("roles in the organisation")


class KeyInline(GovernedInline):
    model = PersonKey
    fields = readonly_fields = ("fingerprint", "created_at", "revoked_at")

    @admin.display(description=_("fingerprint"))
    def fingerprint(self, key: PersonKey) -> str:
        return code(key.fingerprint)


@admin.register(Person)
class PersonAdmin(GovernedAdmin, UserAdmin):  # type: ignore[type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "name", "organisation", "roles_in_words", "is_active")
    list_filter = ("organisation", "memberships__role", "is_active")
    list_select_related = ("organisation",)
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    filter_horizontal = ()
    inlines: ClassVar = [MembershipInline, KeyInline]
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password", "organisation", "is_active")}),
        (_("Person"), {"fields": ("first_name", "last_name", "email")}),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("username", "organisation", "password1", "password2")}),
    )

    @admin.display(description=_("name"))
    def name(self, person: Person) -> str:
        return person.get_full_name() or "-"

    @admin.display(description=_("roles"))
    def roles_in_words(self, person: Person) -> str:
        return ", ".join(sorted(str(role.label) for role in person.roles)) or "-"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("memberships")


@admin.register(PersonKey)
class PersonKeyAdmin(GovernedAdmin):
    list_display = ("shown_fingerprint", "person", "organisation", "created_at", "state")
    list_filter = ("person__organisation",)
    list_select_related = ("person__organisation",)
    search_fields = ("public_key", "person__username")
    fields = readonly_fields = ("person", "shown_fingerprint", "public_key", "created_at", "revoked_at")
    actions_detail: ClassVar = ["revoke"]

    @admin.display(description=_("fingerprint"))
    def shown_fingerprint(self, key: PersonKey) -> str:
        return code(key.fingerprint)

    @admin.display(description=_("organisation"))
    def organisation(self, key: PersonKey) -> str:
        return str(key.person.organisation or "-")

    @admin.display(description=_("state"))
    def state(self, key: PersonKey) -> str:
        return badge(_("revoked"), "danger") if key.revoked_at else badge(_("active"), "success")

    def has_revoke_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """The person who holds the key may end it, and whoever administrates the person."""
        if not isinstance(request.user, Person):
            return False
        seen = PersonKey.objects.visible_to(request.user).select_related("person")
        key = seen.filter(pk=object_id or "0", revoked_at=None).first()
        if key is None:
            return False
        return key.person_id == request.user.pk or self._administrates(request.user, key.person)

    @staticmethod
    def _administrates(person: Person, other: Person) -> bool:
        return person.administers_everything or (
            person.administers_own_organisation and person.organisation_id == other.organisation_id
        )

    @action(
        description=_("Revoke key"),
        icon="key_off",
        variant=ActionVariant.DANGER,
        permissions=["revoke"],
        dialog={
            "title": _("Revoke this key?"),
            "description": _("Nothing that it signs is accepted from now on. This cannot be undone."),
            "form_submit_text": _("Revoke"),
        },
    )
    def revoke(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        submissions.revoke_key(PersonKey.objects.get(pk=object_id))
        messages.success(request, _("The key is revoked."))
        address = reverse("admin:governance_personkey_change", args=(object_id,))
        return HttpResponse(headers={"HX-Redirect": address})
