"""The tables of the audit: entries that are only ever added, the head of their chain, and erasable addresses.

Nothing here is personal by itself: an entry has the id of a person and the commitment of an address. Names are looked
up when an entry is shown; erasing a name, or an address, changes no entry and breaks no chain.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final, NoReturn, Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from fedcore.coordinator.governance import rules
from fedcore.coordinator.governance.audit.actions import action_choices
from fedcore.coordinator.governance.audit.origin import Channel, Kind
from fedcore.coordinator.governance.audit.subjects import Thing, mark, thing_choices
from fedcore.coordinator.governance.catalogue import DIGEST_LENGTH, OwnerHost
from fedcore.coordinator.governance.people import KEY_LENGTH, Person

FIRST: Final = "0" * DIGEST_LENGTH
"""What stands in the first entry for the digest of the entry before."""


class AppendOnly(Exception):
    """Somebody tried to change or delete an entry of the audit."""

    def __init__(self) -> None:
        super().__init__(
            "Entries of the audit are only added. What was wrong is set right by a further entry."
        )


class Outcome(models.TextChoices):
    DONE = "done", _("done")
    REFUSED = "refused", _("refused")


class Entries(rules.AuditEntries):
    """Entries, to be read. The database itself refuses what is refused here."""

    def concerning(self, thing: Thing, id: object) -> Self:
        """The entries about a thing, or about something that belongs to it."""
        return self.filter(concerns__contains=f" {mark(thing, id)} ")

    def update(self, **values: Any) -> NoReturn:
        raise AppendOnly

    def delete(self) -> NoReturn:
        raise AppendOnly

    def bulk_update(self, *arguments: Any, **options: Any) -> NoReturn:
        raise AppendOnly

    def bulk_create(self, *arguments: Any, **options: Any) -> NoReturn:
        raise AppendOnly

    update.alters_data = delete.alters_data = True  # type: ignore[attr-defined]


class AuditAddress(models.Model):
    """An address that somebody acted from. An entry has only its commitment: this row can be deleted."""

    commitment = models.CharField(_("commitment"), max_length=DIGEST_LENGTH, primary_key=True)
    salt = models.CharField(_("salt"), max_length=32)
    address = models.CharField(_("address"), max_length=45)
    person = models.ForeignKey(
        Person, verbose_name=_("person"), on_delete=models.CASCADE, null=True, related_name="+"
    )

    class Meta:
        verbose_name = _("address")
        verbose_name_plural = _("addresses")

    def __str__(self) -> str:
        return self.address


class AuditEntry(models.Model):
    """One decision or access. Made by `fedcore.coordinator.governance.audit.record` alone."""

    serial = models.BigIntegerField(_("serial"), primary_key=True)
    at = models.DateTimeField(_("when"), db_index=True)
    who = models.CharField(_("kind of actor"), max_length=7, choices=Kind.choices)
    # No constraint: a person or host that is deleted leaves its id here, and with that the chain whole.
    person = models.ForeignKey(
        Person, models.DO_NOTHING, null=True, db_constraint=False, related_name="+", verbose_name=_("person")
    )
    host = models.ForeignKey(
        OwnerHost,
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        related_name="+",
        verbose_name=_("owner host"),
    )
    channel = models.CharField(_("channel"), max_length=7, choices=Channel.choices)
    origin = models.ForeignKey(
        AuditAddress,
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        db_index=False,
        related_name="+",
        verbose_name=_("address"),
    )
    action = models.CharField(_("action"), max_length=40, choices=action_choices, db_index=True)
    thing = models.CharField(_("kind of subject"), max_length=12, choices=thing_choices)
    thing_id = models.CharField(_("subject"), max_length=64, blank=True)
    concerns = models.TextField(_("concerns"), blank=True)
    outcome = models.CharField(_("outcome"), max_length=7, choices=Outcome.choices)
    code = models.CharField(_("code"), max_length=40, blank=True)
    detail = models.TextField(_("detail"))
    previous = models.CharField(_("digest of the entry before"), max_length=DIGEST_LENGTH)
    digest = models.CharField(_("digest"), max_length=DIGEST_LENGTH)
    signer = models.CharField(_("signing key"), max_length=KEY_LENGTH)
    signature = models.CharField(_("signature"), max_length=88)

    objects: ClassVar = Entries.as_manager()

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        ordering = ("-serial",)
        base_manager_name = "objects"

    def __str__(self) -> str:
        return f"{self.serial}: {self.get_action_display()}"

    def save(self, *arguments: Any, **options: Any) -> None:
        """Add the entry. Raises `AppendOnly` for one that is stored already."""
        if not self._state.adding:
            raise AppendOnly
        super().save(force_insert=True)

    def delete(self, *arguments: Any, **options: Any) -> NoReturn:
        raise AppendOnly

    @property
    def facts(self) -> dict[str, Any]:
        """The detail, read."""
        found: dict[str, Any] = json.loads(self.detail)
        return found


class AuditHead(models.Model):
    """The last entry, in one row whose lock puts all who append in a queue."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    serial = models.BigIntegerField(_("serial"), default=0)
    digest = models.CharField(_("digest"), max_length=DIGEST_LENGTH, default=FIRST)

    class Meta:
        verbose_name = _("head of the audit")
        verbose_name_plural = _("heads of the audit")

    def __str__(self) -> str:
        return f"{self.serial} {self.digest}"
