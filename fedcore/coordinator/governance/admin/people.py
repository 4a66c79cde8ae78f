"""Organisations, people with their roles, and signing keys."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from knox.models import get_token_model
from unfold.decorators import action
from unfold.enums import ActionVariant

from fedcore.coordinator.governance import (
    audit,
    invitations,
    logins,
    rights,
    rules,
    second_factor,
    submissions,
)
from fedcore.coordinator.governance.admin.base import GovernedAdmin, GovernedInline, badge, code
from fedcore.coordinator.governance.admin.people_form import NewPersonForm, PersonForm
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.models import Organisation, Person, PersonKey, Role
from fedcore.coordinator.governance.people import person_of
from fedcore.coordinator.governance.problems import DecisionError

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
        return self._may_set(request, object_id, two=True)

    def has_two_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may_set(request, object_id, two=False)

    @staticmethod
    def _may_set(request: HttpRequest, object_id: str | None, two: bool) -> bool:
        """Only the other number than now is offered, to whoever may set it."""
        found = Organisation.objects.filter(pk=object_id or 0, two_approvers=not two).first()
        return found is not None and rules.may_set_approvers(person_of(request), found, two)

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
            "description": _(
                "What one data owner has approved still waits for a second one. All data owners are told."
            ),
            "form_submit_text": _("Require one"),
        },
    )
    def ask_one_approver(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._set(request, object_id, two=False)

    @staticmethod
    def _set(request: HttpRequest, object_id: str, two: bool) -> HttpResponse:
        rights.set_approvers(person_of(request), Organisation.objects.get(pk=object_id), two)
        messages.success(
            request, _("Requests need two approvals.") if two else _("Requests need one approval.")
        )
        address = reverse("admin:governance_organisation_change", args=(object_id,))
        return HttpResponse(headers={"HX-Redirect": address})

    def get_readonly_fields(self, request: HttpRequest, obj: Organisation | None = None) -> Any:
        """Signed requests, and the settings, name an organisation: another name would be another organisation."""
        return (*self.readonly_fields, *(("name",) if obj else ()))


class KeyInline(GovernedInline):
    model = PersonKey
    fields = readonly_fields = ("fingerprint", "created_at", "revoked_at")

    @admin.display(description=_("fingerprint"))
    def fingerprint(self, key: PersonKey) -> str:
        return code(key.fingerprint)


@admin.register(Person)
class PersonAdmin(GovernedAdmin):
    """People. What may be changed, and which roles given, is said in `rules`; what follows from it, in `rights`."""

    form = PersonForm
    list_display = ("username", "name", "organisation", "roles_in_words", "factor", "is_active")
    list_filter = ("organisation", "memberships__role", "is_active")
    list_select_related = ("organisation",)
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    inlines: ClassVar = [KeyInline]
    actions_detail: ClassVar = ["reset_password", "reset_second_factor", "end_logins"]
    readonly_fields = ("roles_in_words", "factor", "logins", "last_login", "date_joined")

    @admin.display(description=_("name"))
    def name(self, person: Person) -> str:
        return person.get_full_name() or "-"

    @admin.display(description=_("roles"))
    def roles_in_words(self, person: Person) -> str:
        return ", ".join(sorted(str(role.label) for role in person.roles)) or "-"

    @admin.display(description=_("second factor"))
    def factor(self, person: Person) -> str:
        if person.secondfactor_set.all():
            return badge(_("set up"), "success")
        return badge(_("missing"), "danger") if second_factor.is_required(person) else badge(_("none"))

    @admin.display(description=_("sessions and tokens"))
    def logins(self, person: Person) -> str:
        number = person.sessions.count() + person.auth_token_set.count()
        address = reverse("admin:security-of", args=(person.pk,))
        return format_html('<a class="fedcore-link" href="{}">{}</a>', address, number)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("memberships", "secondfactor_set")

    def get_form(
        self, request: HttpRequest, obj: Person | None = None, change: bool = False, **more: Any
    ) -> Any:
        form = super().get_form(request, obj, change, form=PersonForm if obj else NewPersonForm, **more)
        return type(form.__name__, (form,), {"editor": person_of(request)})

    def get_readonly_fields(self, request: HttpRequest, obj: Person | None = None) -> Any:
        if obj is None:
            return ()
        editor, fixed = person_of(request), ["username"]
        if not rules.may_move(editor, obj):
            fixed.append("organisation")
        if not rules.may_disable(editor, obj):
            fixed.append("is_active")
        return (*self.readonly_fields, *fixed)

    def get_fieldsets(self, request: HttpRequest, obj: Person | None = None) -> Any:
        person = (_("Person"), {"fields": ("first_name", "last_name", "email")})
        if obj is None:
            return [(None, {"fields": ("username", "organisation")}), person]
        gives = any(rules.may_appoint(person_of(request), obj, role) for role in Role)
        roles = "roles" if gives and self.has_change_permission(request, obj) else "roles_in_words"
        coming_in = ["factor", "last_login", "date_joined"]
        if rules.may_administrate(person_of(request), obj):
            coming_in.insert(1, "logins")
        return [
            (None, {"fields": ("username", "organisation", roles, "is_active")}),
            person,
            (_("Logging in"), {"fields": coming_in}),
        ]

    def get_inlines(self, request: HttpRequest, obj: Person | None) -> Any:
        return self.inlines if obj and obj.keys.exists() else []

    def save_model(self, request: HttpRequest, obj: Person, form: Any, change: bool) -> None:
        """Save what was entered; a new person gets a link, which is shown now and never again."""
        if not change:
            obj.set_unusable_password()
        # Not the row as it was when the form was made: somebody may have set a password meanwhile.
        rights.save(obj, [name for name in form.changed_data if name != "roles"] if change else None)
        if "roles" in form.cleaned_data:
            kept = obj.roles - form.offered
            try:
                rights.appoint(person_of(request), obj, kept | form.cleaned_data["roles"])
            except DecisionError as error:
                audit.record(Action.GIVE_ROLE, obj, refused=error.code)
                messages.error(request, error.detail)
        if not change:
            self._show_link(request, obj)

    def response_add(self, request: HttpRequest, obj: Person, post_url_continue: str | None = None) -> Any:
        """Go on with the roles of the new person."""
        if "_addanother" not in request.POST:
            onwards: Any = request.POST.copy()
            onwards["_continue"] = "1"
            request.POST = onwards
        return super().response_add(request, obj, post_url_continue)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """People are disabled, never deleted: what they did keeps their name."""
        return False

    def has_let_in_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        other = self._other(request, object_id)
        return other is not None and rules.may_let_in_again(person_of(request), other)

    def has_factor_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        other = self._other(request, object_id)
        return self.has_let_in_permission(request, object_id) and other is not None and _has_factor(other)

    def has_end_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        other = self._other(request, object_id)
        return other is not None and rules.may_administrate(person_of(request), other)

    @action(
        description=_("Reset password"),
        icon="lock_reset",
        permissions=["let_in"],
        dialog={
            "title": _("Reset this person's password?"),
            "description": _(
                "The present one ends at once, with all sessions and tokens. You get a link by which the person sets "
                "another."
            ),
            "form_submit_text": _("Reset password"),
        },
    )
    def reset_password(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        person = Person.objects.get(pk=object_id)
        invitations.reset(person)
        self._show_link(request, person)
        return self._back(object_id)

    @action(
        description=_("Reset second factor"),
        icon="phonelink_erase",
        permissions=["factor"],
        dialog={
            "title": _("Take this person's second factor away?"),
            "description": _(
                "Make sure that it is this person who asks. All sessions and tokens end; at the next login the person "
                "sets up another factor, where the site requires one."
            ),
            "form_submit_text": _("Reset second factor"),
        },
    )
    def reset_second_factor(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        second_factor.remove(Person.objects.get(pk=object_id))
        messages.success(request, _("The second factor is gone."))
        return self._back(object_id)

    @action(
        description=_("Log out everywhere"),
        icon="logout",
        permissions=["end"],
        dialog={
            "title": _("Log this person out everywhere?"),
            "description": _("All sessions and API tokens end at once."),
            "form_submit_text": _("Log out"),
        },
    )
    def end_logins(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        logins.end_all(Person.objects.get(pk=object_id))
        messages.success(request, _("All sessions and tokens are ended."))
        return self._back(object_id)

    @staticmethod
    def _other(request: HttpRequest, object_id: str | None) -> Person | None:
        """The person, if whoever looks may see them: a hidden one is looked up as a missing one is."""
        seen = Person.objects.visible_to(person_of(request))
        found: Person | None = seen.filter(pk=object_id or 0).first()
        return found

    @staticmethod
    def _show_link(request: HttpRequest, person: Person) -> None:
        text = _(
            "Give {} this link, by which a password is set. It is shown only now, and works once, for three days:"
        )
        link = request.build_absolute_uri(invitations.path_for(person))
        messages.info(request, format_html("{} {}", format_html(str(text), person), code(link)))

    @staticmethod
    def _back(object_id: str) -> HttpResponse:
        return HttpResponse(
            headers={"HX-Redirect": reverse("admin:governance_person_change", args=(object_id,))}
        )


def _has_factor(person: Person) -> bool:
    return second_factor.of(person) is not None


@admin.register(PersonKey)
class PersonKeyAdmin(GovernedAdmin):
    list_display = ("shown_fingerprint", "person", "organisation", "created_at", "state")
    list_filter = ("person__organisation",)
    list_select_related = ("person__organisation",)
    search_fields = ("public_key", "person__username")
    empty_text = _("The command `fedcore login` makes a person's key and registers it.")
    fields = readonly_fields = ("person", "shown_fingerprint", "shown_key", "created_at", "revoked_at")
    actions_detail: ClassVar = ["revoke"]

    @admin.display(description=_("fingerprint"))
    def shown_fingerprint(self, key: PersonKey) -> str:
        return code(key.fingerprint)

    @admin.display(description=_("public key"))
    def shown_key(self, key: PersonKey) -> str:
        return code(key.public_key)

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
        return key.person_id == request.user.pk or rules.may_administrate(request.user, key.person)

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
