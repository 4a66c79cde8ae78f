"""Access requests, as scientists signed them, and the grants that data owners answered with.

A request's row keeps the exact signed text; the other columns are copies of it, for lists and filters.
States and limits change only through `fedcore.coordinator.governance.decisions`. That a time is over is no state:
it follows from the limits.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from pydantic import ValidationError

from fedcore.coordinator.governance import rules
from fedcore.coordinator.governance.catalogue import DIGEST_LENGTH, Dataset
from fedcore.coordinator.governance.limits import NO_PROMISE, Limited, known_names, known_protocols
from fedcore.coordinator.governance.people import KEY_LENGTH, NAME_LENGTH, Person, Role
from fedcore.wire import access as wire
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import fingerprint
from fedcore.wire.signing import Signed


class RequestState(models.TextChoices):
    WAITING = "waiting", _("waiting")
    ASKED_BACK = "asked_back", _("asked back")
    PROPOSED = "proposed", _("approved by one of two")
    APPROVED = "approved", _("approved")
    REFUSED = "refused", _("refused")
    REVOKED = "revoked", _("revoked")
    WITHDRAWN = "withdrawn", _("withdrawn")


UNDECIDED: Final = (RequestState.WAITING, RequestState.ASKED_BACK, RequestState.PROPOSED)
"""The states in which a request may still be approved."""


class AccessRequest(Limited):
    """What a scientist asks of the owner of one dataset version. Its digest is its identity.

    What was signed does not change: whoever wants something else asks anew, and may name the request that the new
    one replaces.
    """

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
    delta = models.FloatField(_("delta"), default=0.0)
    replaces = models.ForeignKey(
        "self", verbose_name=_("replaces"), on_delete=models.PROTECT, related_name="replaced_by", null=True
    )
    created_at = models.DateTimeField(_("asked"), default=timezone.now)
    state = models.CharField(
        _("state"), max_length=10, choices=RequestState.choices, default=RequestState.WAITING, db_index=True
    )
    decided_by = models.ForeignKey(
        Person, verbose_name=_("decided by"), on_delete=models.PROTECT, related_name="decisions", null=True
    )
    decided_at = models.DateTimeField(_("decided"), null=True)
    decision_reason = models.TextField(_("reason of the decision"), blank=True)
    ending_told_at = models.DateTimeField(_("told that it is about to end"), null=True)
    end_told_at = models.DateTimeField(_("told that it has ended"), null=True)

    objects: ClassVar = rules.AccessRequests.as_manager()

    class Meta:
        verbose_name = _("access request")
        verbose_name_plural = _("access requests")
        ordering = ("-created_at", "digest")

    def __str__(self) -> str:
        return f"{self.requested_by} → {self.dataset}, {self.created_at:%Y-%m-%d}"

    @property
    def signed(self) -> Signed:
        """The request as it travels: the exact text that the scientist signed."""
        return Signed(text=self.text, signer=self.signer, signature=self.signature)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the key that signed."""
        return fingerprint(self.signer)

    @property
    def limits(self) -> Limited:
        """What limits whoever uses it: the grant where there is one, else what was asked."""
        return getattr(self, "grant", None) or self

    @property
    def has_lapsed(self) -> bool:
        """Whether the person who asked no longer works as a data scientist of the organisation that the text names."""
        person = self.requested_by
        works_for = person.organisation.name if person.organisation else ""
        named = wire.AccessRequest.parse(self.text).organisation
        return not (person.is_active and person.has_role(Role.DATA_SCIENTIST) and works_for == named)

    def is_over(self, now: datetime | None = None) -> bool:
        """Whether its time has passed, without anybody having ended it."""
        open_states = (*UNDECIDED, RequestState.APPROVED)
        return self.state in open_states and self.limits.expires_at <= (now or timezone.now())


class Proposal(Limited):
    """What the first of two approvers would grant. It allows nothing until a second data owner approves too."""

    request = models.OneToOneField(
        AccessRequest,
        verbose_name=_("access request"),
        on_delete=models.CASCADE,
        related_name="proposal",
        primary_key=True,
    )
    proposed_by = models.ForeignKey(
        Person, verbose_name=_("proposed by"), on_delete=models.PROTECT, related_name="proposals"
    )
    proposed_at = models.DateTimeField(_("proposed"), default=timezone.now)

    class Meta:
        verbose_name = _("first approval")
        verbose_name_plural = _("first approvals")

    def __str__(self) -> str:
        return str(self.request)


class HostStanding(models.TextChoices):
    """How a grant stands at the owner's host, as the host has signed it; empty while it has not answered."""

    IN_FORCE = wire.Standing.IN_FORCE.value, _("in force")
    WAITING = wire.Standing.WAITING.value, _("waits for a person")
    REFUSED = wire.Standing.REFUSED.value, _("refused")
    REVOKED = wire.Standing.REVOKED.value, _("revoked")


class Grant(Limited):
    """An owner's leave. Its limits are at most those of the request, and only ever become tighter; the host takes
    the tighter of all that it has seen."""

    request = models.OneToOneField(
        AccessRequest,
        verbose_name=_("access request"),
        on_delete=models.PROTECT,
        related_name="grant",
        primary_key=True,
    )
    approved_by = models.ForeignKey(
        Person, verbose_name=_("approved by"), on_delete=models.PROTECT, related_name="grants_given"
    )
    proposed_by = models.ForeignKey(
        Person, verbose_name=_("approved first by"), on_delete=models.PROTECT, related_name="+", null=True
    )
    approved_at = models.DateTimeField(_("approved"), default=timezone.now)
    tightened_at = models.DateTimeField(_("tightened"), null=True)
    revoked_at = models.DateTimeField(_("ended"), null=True)
    serial = models.BigIntegerField(_("serial of the latest change"), default=1, editable=False)
    standing = models.CharField(_("at the host"), max_length=10, choices=HostStanding.choices, blank=True)
    standing_at = models.DateTimeField(_("at the host since"), null=True)
    standing_signed = models.TextField(_("signed standing"), blank=True)

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
        """The grant as an order carries it to the owner's host.

        Raises `WireError` where a limit is missing or is not known here: then the grant allows nothing.
        """
        try:
            return wire.Grant(
                request=self.request.signed,
                protocols=known_protocols(self.protocols),
                backends=known_names(self.backends),
                models=known_names(self.model_types),
                epsilon_micro=self.epsilon_micro,
                releases=self.releases,
                minimum_owners=self.minimum_owners,
                expires_at=int(self.expires_at.timestamp()),
                download=self.download,
            )
        except ValidationError as error:
            raise WireError(
                RefusalCode.MALFORMED, f"a grant with a limit that is not known: {error}"
            ) from None


def unbounded() -> str:
    """What a release spends that promises nothing."""
    return NO_PROMISE


class Release(models.Model):
    """One run that uses one release of a grant. Booked once per run, by `booking.book_release`."""

    grant = models.ForeignKey(Grant, verbose_name=_("grant"), on_delete=models.PROTECT, related_name="used")
    run = models.CharField(_("run"), max_length=DIGEST_LENGTH)
    epsilon_micro = models.JSONField(
        _("epsilon"), default=unbounded, help_text=_("What the run promised, in millionths; or “none”.")
    )
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
