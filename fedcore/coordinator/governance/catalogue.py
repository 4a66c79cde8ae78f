"""Owner hosts, and the datasets that they announce: descriptions, schemas and mock samples, never rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Final

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from fedcore.coordinator.governance import rules
from fedcore.coordinator.governance.people import KEY_LENGTH, NAME_LENGTH, Organisation, is_key, is_name
from fedcore.wire import catalogue as wire
from fedcore.wire.keys import HostCard, fingerprint

AWAY_AFTER: Final = timedelta(seconds=60)
"""A host that has not asked for orders for this long is shown as away; it asks every 20 seconds."""

DIGEST_LENGTH: Final = 64


class OwnerHost(models.Model):
    """A host of one owner, known by the two public keys of its card.

    A reference host is the same program at a place that owners may trust with plaintext, for baselines only. A dealer
    is one that deals randomness for runs on shares, and sees no row.
    """

    organisation = models.ForeignKey(
        Organisation, verbose_name=_("organisation"), on_delete=models.PROTECT, related_name="hosts"
    )
    name = models.CharField(_("name"), max_length=NAME_LENGTH, unique=True, validators=[is_name])
    signing_key = models.CharField(_("signing key"), max_length=KEY_LENGTH, unique=True, validators=[is_key])
    sealing_key = models.CharField(_("sealing key"), max_length=KEY_LENGTH, validators=[is_key])
    is_reference = models.BooleanField(
        _("reference host"),
        default=False,
        help_text=_("Trains baselines on plaintext that owners seal to it."),
    )
    is_dealer = models.BooleanField(
        _("dealer"),
        default=False,
        help_text=_(
            "Deals the randomness of runs on shares, for owners of other organisations that trust it."
        ),
    )
    is_active = models.BooleanField(
        _("active"),
        default=True,
        help_text=_("An inactive host gets no orders, and nothing from it is accepted."),
    )
    version = models.CharField(_("program version"), max_length=40, blank=True, editable=False)
    last_contact = models.DateTimeField(_("last contact"), null=True, editable=False)
    away_told_at = models.DateTimeField(_("told that it is away"), null=True, editable=False)
    grants_serial = models.BigIntegerField(_("serial of its grants"), default=1, editable=False)

    objects: ClassVar = rules.OwnerHosts.as_manager()

    class Meta:
        verbose_name = _("owner host")
        verbose_name_plural = _("owner hosts")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def card(self) -> str:
        """The host's card, as `fedcore-owner init` printed it."""
        return str(HostCard(self.signing_key, self.sealing_key))

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the signing key, as people compare it."""
        return fingerprint(self.signing_key)

    def is_away(self, now: datetime | None = None) -> bool:
        """Whether the host has been silent for more than a minute."""
        return self.last_contact is None or (now or timezone.now()) - self.last_contact > AWAY_AFTER


class Sensitivity(models.TextChoices):
    """How much harm it would do if the rows became known (see `fedcore.wire.catalogue`)."""

    PUBLIC = wire.Sensitivity.PUBLIC, _("public")
    INTERNAL = wire.Sensitivity.INTERNAL, _("internal")
    CONFIDENTIAL = wire.Sensitivity.CONFIDENTIAL, _("confidential")
    SPECIAL = wire.Sensitivity.SPECIAL, _("special category")


class Dataset(models.Model):
    """What a host offers, as its latest signed announcement describes it. `rows` is rounded by the host.

    `columns` are names; `column_kinds` and `column_notes` say more of some of them, by name.
    """

    host = models.ForeignKey(
        OwnerHost, verbose_name=_("owner host"), on_delete=models.PROTECT, related_name="datasets"
    )
    name = models.CharField(_("name"), max_length=NAME_LENGTH, validators=[is_name])
    title = models.CharField(_("title"), max_length=200)
    description = models.TextField(_("description"), blank=True)
    reader = models.CharField(_("reader"), max_length=NAME_LENGTH)
    columns = models.JSONField(_("columns"), default=list)
    column_kinds = models.JSONField(_("kinds of columns"), default=dict, blank=True)
    column_notes = models.JSONField(_("notes on columns"), default=dict, blank=True)
    classes = models.JSONField(_("classes"), default=list, blank=True)
    rows = models.BigIntegerField(_("rows (rounded)"))
    licence = models.CharField(_("licence"), max_length=200, blank=True)
    terms = models.TextField(_("terms of use"), blank=True)
    sensitivity = models.CharField(
        _("sensitivity"),
        max_length=12,
        choices=Sensitivity.choices,
        default=Sensitivity.CONFIDENTIAL,
        db_index=True,
    )
    price = models.CharField(_("value or price"), max_length=200, blank=True)
    contact = models.CharField(_("contact"), max_length=200, blank=True)
    retention = models.DateField(_("may be used until"), null=True)
    current_version = models.CharField(
        _("current version"), max_length=DIGEST_LENGTH, help_text=_("The digest of schema and content.")
    )
    announced_at = models.DateTimeField(_("announced"))
    is_offered = models.BooleanField(_("offered"), default=True)

    objects: ClassVar = rules.Datasets.as_manager()

    class Meta:
        verbose_name = _("dataset")
        verbose_name_plural = _("datasets")
        ordering = ("host__name", "name")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["host", "name"], name="governance_one_dataset_per_name")
        ]

    def __str__(self) -> str:
        return f"{self.host.name}/{self.name}"

    @property
    def organisation(self) -> Organisation:
        """Whose data it is."""
        return self.host.organisation

    @property
    def version(self) -> DatasetVersion | None:
        """What is known of the current version, once its host has announced it."""
        return self.versions.filter(digest=self.current_version).first()

    @property
    def mock(self) -> MockSample | None:
        """The mock sample of the current version, once its host has sent it."""
        version = self.version
        return version.mock if version else None


class DatasetVersion(models.Model):
    """One version that a host has announced: requests and grants name it, and it stays known for them."""

    dataset = models.ForeignKey(
        Dataset, verbose_name=_("dataset"), on_delete=models.PROTECT, related_name="versions"
    )
    digest = models.CharField(_("version"), max_length=DIGEST_LENGTH)
    rows = models.BigIntegerField(_("rows (rounded)"))
    mock_digest = models.CharField(_("mock sample"), max_length=DIGEST_LENGTH, blank=True)
    first_announced = models.DateTimeField(_("first announced"))
    last_announced = models.DateTimeField(_("last announced"))

    objects: ClassVar = rules.DatasetVersions.as_manager()

    class Meta:
        verbose_name = _("dataset version")
        verbose_name_plural = _("dataset versions")
        ordering = ("-last_announced", "-pk")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "digest"], name="governance_one_row_per_version")
        ]

    def __str__(self) -> str:
        return f"{self.dataset} ({self.digest[:8]})"

    @property
    def mock(self) -> MockSample | None:
        """The mock sample of this version, once its host has sent it."""
        found: MockSample | None = MockSample.objects.filter(pk=self.mock_digest).first()
        return found


class MockSample(models.Model):
    """Made-up rows to develop on, as the exact bytes that a host has sent; datasets of one schema share them."""

    digest = models.CharField(_("digest"), max_length=DIGEST_LENGTH, primary_key=True)
    content = models.BinaryField(_("content"))
    received_at = models.DateTimeField(_("received"), default=timezone.now)

    class Meta:
        verbose_name = _("mock sample")
        verbose_name_plural = _("mock samples")

    def __str__(self) -> str:
        return self.digest[:8]

    @property
    def sample(self) -> wire.MockSample:
        """The rows."""
        return wire.MockSample.parse(bytes(self.content), wire.MAXIMUM_MOCK_BYTES)
