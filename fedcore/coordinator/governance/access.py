"""Access requests, as scientists signed them, and the grants that data owners answered with.

A request's row keeps the exact signed text; the other columns are copies of it, for lists and filters.
States change only through `fedcore.coordinator.governance.decisions`.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from fedcore.coordinator.governance import rules
from fedcore.coordinator.governance.catalogue import DIGEST_LENGTH, Dataset
from fedcore.coordinator.governance.people import KEY_LENGTH, NAME_LENGTH, Person, Role
from fedcore.wire import access as wire
from fedcore.wire.keys import fingerprint
from fedcore.wire.signing import Signed


class RequestState(models.TextChoices):
    WAITING = "waiting", _("waiting")
    APPROVED = "approved", _("approved")
    REFUSED = "refused", _("refused")
    REVOKED = "revoked", _("revoked")


class AccessRequest(models.Model):
    """What a scientist asks of the owner of one dataset version. Its digest is its identity."""

    digest = models.CharField(_("digest"), max_length=DIGEST_LENGTH, primary_key=True)
    text = models.TextField(_("signed text"))
    signer = models.CharField(_("signing key"), max_length=KEY_LENGTH)
    signature = models.CharField(_("signature"), max_length=88)
    dataset = models.ForeignKey(
        Dataset, verbose_name=_("dataset"), on_delete=models.PROTECT, related_name="requests"
    )
    dataset_version = models.CharField(_("dataset version"), max_length=DIGEST_LENGTH)
    requested_by = models.ForeignKey(
        Person, verbose_name=_("requested by"), on_delete=models.PROTECT, related_name="requests"
    )
    purpose = models.CharField(_("purpose"), max_length=NAME_LENGTH)
    reason = models.TextField(_("reason"), blank=True)
    pipelines = models.JSONField(_("pipelines"))
    protocols = models.JSONField(_("protocols"))
    backends = models.JSONField(_("encryption backends"))
    model_types = models.JSONField(_("model types"))
    releases = models.IntegerField(_("releases asked"))
    minimum_owners = models.IntegerField(_("minimum owners"), default=1)
    download = models.BooleanField(_("download asked"), default=False)
    expires_at = models.DateTimeField(_("asked until"))
    created_at = models.DateTimeField(_("asked"), default=timezone.now)
    state = models.CharField(
        _("state"), max_length=10, choices=RequestState.choices, default=RequestState.WAITING, db_index=True
    )
    decided_by = models.ForeignKey(
        Person, verbose_name=_("decided by"), on_delete=models.PROTECT, related_name="decisions", null=True
    )
    decided_at = models.DateTimeField(_("decided"), null=True)
    decision_reason = models.TextField(_("reason of the decision"), blank=True)

    objects: ClassVar = rules.AccessRequests.as_manager()

    class Meta:
        verbose_name = _("access request")
        verbose_name_plural = _("access requests")
        ordering = ("-created_at", "digest")

    def __str__(self) -> str:
        return f"{self.requested_by} → {self.dataset} ({self.digest[:8]})"

    @property
    def signed(self) -> Signed:
        """The request as it travels: the exact text that the scientist signed."""
        return Signed(text=self.text, signer=self.signer, signature=self.signature)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the key that signed."""
        return fingerprint(self.signer)

    @property
    def has_lapsed(self) -> bool:
        """Whether the person who asked no longer works as a data scientist of the organisation that the text names."""
        person = self.requested_by
        works_for = person.organisation.name if person.organisation else ""
        named = wire.AccessRequest.parse(self.text).organisation
        return not (person.is_active and person.has_role(Role.DATA_SCIENTIST) and works_for == named)


class Grant(models.Model):
    """An owner's leave. Its limits are at most those of the request; the host takes the smaller of both."""

    request = models.OneToOneField(
        AccessRequest,
        verbose_name=_("access request"),
        on_delete=models.PROTECT,
        related_name="grant",
        primary_key=True,
    )
    releases = models.IntegerField(_("releases"))
    expires_at = models.DateTimeField(_("expires"))
    download = models.BooleanField(_("download allowed"), default=False)
    approved_by = models.ForeignKey(
        Person, verbose_name=_("approved by"), on_delete=models.PROTECT, related_name="grants_given"
    )
    approved_at = models.DateTimeField(_("approved"), default=timezone.now)
    revoked_at = models.DateTimeField(_("revoked"), null=True)

    objects: ClassVar = rules.Grants.as_manager()

    class Meta:
        verbose_name = _("grant")
        verbose_name_plural = _("grants")
        ordering = ("-approved_at", "request_id")

    def __str__(self) -> str:
        return str(self.request)

    @property
    def digest(self) -> str:
        """The digest of the signed request: how a run spec names its grant."""
        return str(self.request_id)

    @property
    def releases_used(self) -> int:
        """How many runs have been answered under this grant."""
        return self.used.count()

    def is_usable(self, now: datetime | None = None) -> bool:
        """Whether a new run may start under it: not revoked, not expired, releases left."""
        return (
            self.revoked_at is None
            and self.expires_at > (now or timezone.now())
            and self.releases_used < self.releases
        )

    @property
    def as_message(self) -> wire.Grant:
        """The grant as an order carries it to the owner's host."""
        return wire.Grant.of(
            self.request.signed,
            releases=self.releases,
            expires_at=int(self.expires_at.timestamp()),
            download=self.download,
        )


class Release(models.Model):
    """One run that uses one release of a grant. Booked once per run, by `decisions.book_release`."""

    grant = models.ForeignKey(Grant, verbose_name=_("grant"), on_delete=models.PROTECT, related_name="used")
    run = models.CharField(_("run"), max_length=DIGEST_LENGTH)
    booked_at = models.DateTimeField(_("booked"), default=timezone.now)

    objects: ClassVar = rules.Releases.as_manager()

    class Meta:
        verbose_name = _("release")
        verbose_name_plural = _("releases")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["grant", "run"], name="governance_one_release_per_run")
        ]

    def __str__(self) -> str:
        return f"{self.run[:8]} ({self.grant})"
