"""The forms of people: they offer what the person who edits may choose, and refuse the rest."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from fedcore.coordinator.governance import rules
from fedcore.coordinator.governance.models import Person, Role


class NewPersonForm(forms.ModelForm):  # type: ignore[type-arg]
    """A new person. Roles are given afterwards, and the person sets the password."""

    editor: ClassVar[Person]

    class Meta:
        model = Person
        fields = ("username", "organisation", "first_name", "last_name", "email")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["organisation"].required = True


class PersonForm(forms.ModelForm):  # type: ignore[type-arg]
    """A person with the roles that the editor may give and take; others that the person has stay as they are."""

    editor: ClassVar[Person]

    roles = forms.MultipleChoiceField(
        label=_("Roles"),
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )

    class Meta:
        model = Person
        fields = ("username", "organisation", "is_active", "first_name", "last_name", "email")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "is_active" in self.fields:
            self.fields["is_active"].help_text = _(
                "Whoever is disabled, or moved to another organisation, loses roles, sessions, tokens and keys at once."
            )
        self.person: Person = Person.objects.get(pk=self.instance.pk)
        if self.offered:
            self._offer_roles()
        else:
            del self.fields["roles"]

    @property
    def offered(self) -> frozenset[Role]:
        """The roles that the editor may give this person, or take."""
        return frozenset(role for role in Role if rules.may_appoint(self.editor, self.person, role))

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if "roles" in given and {"organisation", "is_active"} & set(self.changed_data):
            # What was ticked was ticked for the former place.
            del given["roles"]
        return given

    def clean_roles(self) -> frozenset[Role]:
        return frozenset(Role(role) for role in self.cleaned_data["roles"])

    def _offer_roles(self) -> None:
        field: Any = self.fields["roles"]
        field.choices = [(role.value, role.label.capitalize()) for role in Role if role in self.offered]
        self.initial["roles"] = [role.value for role in sorted(self.person.roles & self.offered)]
        others = sorted(str(role.label) for role in self.person.roles - self.offered)
        if others:
            field.help_text = _("Also: %(roles)s. Not yours to give or take.") % {"roles": ", ".join(others)}
