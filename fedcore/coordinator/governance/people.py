"""Organisations, the people in them with their roles, and the keys that people sign with."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, UserManager
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from fedcore.coordinator.governance import rules
from fedcore.wire.keys import fingerprint
from fedcore.wire.text import is_plain

KEY_LENGTH = 43
"""Characters of a public key in unpadded URL-safe base64."""

NAME_LENGTH = 63
"""Characters of a `fedcore.wire.encoding.Name`."""

is_name = RegexValidator(
    r"^[a-z0-9][a-z0-9_.-]{0,62}\Z",
    _("A name has lower-case letters, digits, “_”, “.” and “-”, and starts with a letter or digit."),
)
is_key = RegexValidator(r"^[A-Za-z0-9_-]{43}\Z", _("A public key has 43 characters of URL-safe base64."))


def check_plain(text: str) -> None:
    """Names and titles stand in mails and notices of other organisations. Raises `ValidationError`."""
    if any((character.isspace() and character != " ") or not is_plain(character) for character in text):
        raise ValidationError(_("Leave out line breaks and control characters."), code="control_characters")


def _check_all_plain(row: models.Model, *names: str) -> None:
    mistakes: dict[str, Any] = {}
    for name in names:
        try:
            check_plain(getattr(row, name))
        except ValidationError as error:
            mistakes[name] = error
    if mistakes:
        raise ValidationError(mistakes)


class Role(models.TextChoices):
    """What a person may do in their organisation."""

    ADMINISTRATOR = "administrator", _("administrator")
    DATA_OWNER = "data_owner", _("data owner")
    DATA_SCIENTIST = "data_scientist", _("data scientist")
    AUDITOR = "auditor", _("auditor")


class Organisation(models.Model):
    """Owns data, employs scientists, or runs the coordinator."""

    name = models.CharField(_("name"), max_length=NAME_LENGTH, unique=True, validators=[is_name])
    title = models.CharField(_("title"), max_length=200)
    two_approvers = models.BooleanField(
        _("two data owners approve"),
        default=False,
        help_text=_(
            "A request is granted once two data owners have approved it, the second at most what the first did."
        ),
    )

    objects: ClassVar = rules.Organisations.as_manager()

    class Meta:
        verbose_name = _("organisation")
        verbose_name_plural = _("organisations")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.title

    def clean(self) -> None:
        super().clean()
        _check_all_plain(self, "title")

    @property
    def is_operator(self) -> bool:
        """Whether this organisation runs the coordinator."""
        return bool(self.name == settings.FEDCORE_OPERATOR_ORGANISATION)


class PersonManager(UserManager["Person"].from_queryset(rules.People)):  # type: ignore[misc]
    """Makes people. Whether a person may enter the admin follows from their roles and is never stored."""

    def create_user(
        self, username: str, email: str | None = None, password: str | None = None, **fields: Any
    ) -> Person:
        return self._create(username, email, password, fields)

    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **fields: Any
    ) -> Person:
        return self._create(username, email, password, {**fields, "is_superuser": True})

    def _create(
        self, username: str, email: str | None, password: str | None, fields: dict[str, Any]
    ) -> Person:
        person: Person = self.model(
            username=self.model.normalize_username(username), email=self.normalize_email(email), **fields
        )
        person.set_password(password)
        person.save(using=self._db)
        return person


class Person(AbstractUser):  # type: ignore[django-manager-missing]  # knox and django-otp are untyped
    """Somebody who logs in. Roles hold in the person's own organisation."""

    organisation = models.ForeignKey(
        Organisation,
        verbose_name=_("organisation"),
        on_delete=models.PROTECT,
        related_name="people",
        null=True,
        blank=True,
    )

    roles_lost = models.JSONField(
        _("roles lost"), default=dict, editable=False, help_text=_("By organisation: when moved or disabled.")
    )

    objects: ClassVar[PersonManager] = PersonManager()

    class Meta:
        verbose_name = _("person")
        verbose_name_plural = _("people")
        ordering = ("username",)

    def __str__(self) -> str:
        return self.get_full_name() or self.username

    def clean(self) -> None:
        super().clean()
        _check_all_plain(self, "first_name", "last_name")

    @property
    def is_staff(self) -> bool:  # type: ignore[override]
        """Whether the person may enter the admin: everyone with a role may, and sees what the role allows."""
        return self.is_superuser or bool(self.roles)

    @property
    def roles(self) -> frozenset[Role]:
        """The person's roles; none without an organisation. Read once, and kept for this object's life."""
        if self.organisation_id is None or self.pk is None:
            return frozenset()
        if "_roles" not in self.__dict__:
            self.__dict__["_roles"] = frozenset(Role(m.role) for m in self.memberships.all())
        found: frozenset[Role] = self.__dict__["_roles"]
        return found

    def roles_ever_in(self, organisation_id: int | None) -> frozenset[Role]:
        """The roles that the person has in an organisation, and those that were lost there by moving or by being
        disabled: who takes the person's place has to hold them all."""
        lost = frozenset(Role(role) for role in self.roles_lost.get(str(organisation_id), ()))
        return lost | (self.roles if self.organisation_id == organisation_id else frozenset())

    def had_roles_outside(self, organisation_id: int | None) -> bool:
        """Whether the person has or has lost a role in an organisation other than this."""
        places = {place for place, roles in self.roles_lost.items() if roles}
        return bool(places - {str(organisation_id)}) or (
            self.organisation_id != organisation_id and bool(self.roles)
        )

    def has_role(self, role: Role) -> bool:
        return role in self.roles

    @property
    def administers_everything(self) -> bool:
        """Whether this person administrates the coordinator."""
        return self.is_superuser or (self._works_for_operator and self.has_role(Role.ADMINISTRATOR))

    @property
    def administers_own_organisation(self) -> bool:
        return self.has_role(Role.ADMINISTRATOR)

    @property
    def administers_anything(self) -> bool:
        return self.administers_everything or self.administers_own_organisation

    @property
    def sees_everything(self) -> bool:
        """Whether this person sees the rows of all organisations."""
        return self.administers_everything or (self._works_for_operator and self.has_role(Role.AUDITOR))

    @property
    def _works_for_operator(self) -> bool:
        return self.organisation is not None and self.organisation.is_operator

    def organisations_with_oversight(self) -> models.QuerySet[Organisation]:
        """The organisations whose requests, grants and runs this person sees without having a part in them."""
        if self.sees_everything:
            return Organisation.objects.all()
        oversees = self.roles & {Role.ADMINISTRATOR, Role.DATA_OWNER, Role.AUDITOR}
        return Organisation.objects.filter(people=self) if oversees else Organisation.objects.none()

    def oversees(self, organisation: Organisation) -> bool:
        """Whether this person sees the organisation's requests, grants and runs without having a part in them."""
        return self.organisations_with_oversight().filter(pk=organisation.pk).exists()

    def owns_data_of(self, organisation_id: int) -> bool:
        """Whether this person decides about the data of an organisation."""
        return self.is_active and self.organisation_id == organisation_id and self.has_role(Role.DATA_OWNER)

    def forget_roles(self) -> None:
        """Read the roles again when they are next asked for."""
        self.__dict__.pop("_roles", None)
        self.__dict__.get("_prefetched_objects_cache", {}).pop("memberships", None)

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        self.forget_roles()
        super().refresh_from_db(*args, **kwargs)


def person_of(request: HttpRequest) -> Person:
    """Who makes the request. Raises `PermissionDenied` where nobody is logged in."""
    if not isinstance(request.user, Person):
        raise PermissionDenied
    return request.user


class Membership(models.Model):
    """One role of one person in the person's organisation."""

    person = models.ForeignKey(
        Person, verbose_name=_("person"), on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.CharField(_("role"), max_length=20, choices=Role.choices)

    objects: ClassVar = rules.OfPeople.as_manager()

    class Meta:
        verbose_name = _("role")
        verbose_name_plural = _("roles")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["person", "role"], name="governance_one_membership_per_role")
        ]

    def __str__(self) -> str:
        return f"{self.person} ({self.get_role_display()})"


class PersonKey(models.Model):
    """A public key (Ed25519) that a person proved to hold. What it signs counts as said by the person."""

    person = models.ForeignKey(
        Person, verbose_name=_("person"), on_delete=models.PROTECT, related_name="keys"
    )
    public_key = models.CharField(_("public key"), max_length=KEY_LENGTH, unique=True, validators=[is_key])
    created_at = models.DateTimeField(_("registered"), default=timezone.now)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    objects: ClassVar = rules.PersonKeys.as_manager()

    class Meta:
        verbose_name = _("signing key")
        verbose_name_plural = _("signing keys")
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return self.fingerprint

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint, as people compare it."""
        return fingerprint(self.public_key)
