"""Runs, the orders sent for them, the reports received, and the bytes in transit."""

from __future__ import annotations

import uuid
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar, Final

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from fedcore.coordinator.governance.models import OwnerHost, Person
from fedcore.coordinator.governance.rules import Governed
from fedcore.coordinator.runs.states import ENDED, RunState
from fedcore.wire.codes import EXPLANATIONS, RefusalCode
from fedcore.wire.orders import ArtefactRef, Phase, PluginPin
from fedcore.wire.reports import Report
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Protocol, RunSpec


class Runs(Governed["Run"]):
    def unfinished(self) -> Runs:
        """Runs that have not ended."""
        return self.exclude(state__in=ENDED)

    def rule(self, person: Person) -> Q:
        """The own runs, and those that use data of an organisation that the person oversees."""
        hosts = OwnerHost.objects.filter(organisation__in=person.organisations_with_oversight())
        overseen = RunDataset.objects.filter(host__in=hosts).values("run")
        return Q(scientist=person) | Q(pk__in=overseen)


class OfRuns(Governed[Any]):
    """Datasets and events: seen with their run. What of them is told to whom is said in `parts`."""

    def rule(self, person: Person) -> Q:
        return Q(run__in=Run.objects.visible_to(person))


LARGE: Final = ("envelope", "report")
"""What lists of runs do not read."""


class Orders(OfRuns):
    """Orders: seen with their run by its scientist, and by whoever oversees the host; not by the other owners."""

    def rule(self, person: Person) -> Q:
        own = Q(run__scientist=person) | Q(host__organisation__in=person.organisations_with_oversight())
        return super().rule(person) & own


class Artefacts(OfRuns):
    """Artefacts: seen with their order, and the coordinator's model with its run. The size of the merged dataset tells
    how many rows the other owners have."""

    def rule(self, person: Person) -> Q:
        from fedcore.coordinator.runs.orders import MODEL

        sent = Q(order__host__organisation__in=person.organisations_with_oversight())
        return super().rule(person) & (Q(run__scientist=person) | Q(order=None, role=MODEL) | sent)


class Run(models.Model):
    """One training from spec to model. `id` is the digest of the signed spec, which is stored as it came."""

    id = models.CharField(_("run"), max_length=64, primary_key=True, editable=False)
    scientist = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="runs", verbose_name=_("scientist")
    )
    title = models.CharField(_("title"), max_length=200)
    protocol = models.CharField(_("protocol"), max_length=63)
    backend = models.CharField(_("encryption backend"), max_length=63)
    model_type = models.CharField(_("model type"), max_length=63)
    envelope = models.TextField(_("signed spec"))
    pins = models.JSONField(_("plugin pins"), default=list)
    plan = models.JSONField(_("plan"), default=dict, help_text=_("What the flow of the run depends on."))
    classes = models.JSONField(_("classes"), default=list)
    reference_host = models.ForeignKey(
        "governance.OwnerHost", models.PROTECT, null=True, related_name="+", verbose_name=_("reference host")
    )

    dealer = models.ForeignKey(
        "governance.OwnerHost", models.PROTECT, null=True, related_name="+", verbose_name=_("dealer")
    )

    state = models.CharField(
        _("state"), max_length=20, choices=RunState.choices, default=RunState.SUBMITTED, db_index=True
    )
    phase = models.CharField(_("phase"), max_length=20, blank=True)
    progress = models.FloatField(_("progress"), default=0.0)
    message = models.CharField(_("message"), max_length=500, blank=True)
    code = models.CharField(_("code"), max_length=40, blank=True)
    culprit = models.ForeignKey(
        "governance.OwnerHost", models.PROTECT, null=True, related_name="+", verbose_name=_("stopped at")
    )
    culprit_dataset = models.CharField(_("dataset"), max_length=63, blank=True)

    created_at = models.DateTimeField(_("submitted"), default=timezone.now)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("ended"), null=True)
    deadline = models.DateTimeField(_("deadline"))
    report = models.JSONField(_("report"), null=True)

    lease = models.CharField(_("training lease"), max_length=32, blank=True)
    heartbeat_at = models.DateTimeField(_("heartbeat of the training"), null=True)
    attempts = models.PositiveSmallIntegerField(_("attempts to train"), default=0)
    training = models.JSONField(
        _("training"), null=True, help_text=_("Curve, rows and time of the training.")
    )

    objects: ClassVar[Any] = Runs.as_manager()

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.title} ({self.protocol})"

    @cached_property
    def signed(self) -> Signed:
        """The scientist's envelope, as it travels to the owners."""
        return Signed.parse(self.envelope, limit=len(self.envelope))

    @cached_property
    def spec(self) -> RunSpec:
        """The spec. Its signature was verified when it was submitted."""
        return RunSpec.parse(self.signed.text)

    @property
    def plugin_pins(self) -> tuple[PluginPin, ...]:
        return tuple(PluginPin.model_validate(pin) for pin in self.pins)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def protocol_kind(self) -> Protocol:
        return Protocol(self.protocol)

    @property
    def remedy(self) -> str:
        """What to do about the code that ended the run, in words."""
        return EXPLANATIONS[RefusalCode(self.code)] if self.code else ""


class RunDataset(models.Model):
    """One owner's dataset in a run, with the access request whose grant covers it."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="datasets", verbose_name=_("run"))
    position = models.PositiveSmallIntegerField(_("position"))
    host = models.ForeignKey(
        "governance.OwnerHost", models.PROTECT, related_name="run_datasets", verbose_name=_("owner host")
    )
    name = models.CharField(_("dataset"), max_length=63)
    version = models.CharField(_("version"), max_length=64)
    request = models.ForeignKey(
        "governance.AccessRequest", models.PROTECT, related_name="run_datasets", verbose_name=_("request")
    )

    objects: ClassVar[Any] = OfRuns.as_manager()

    class Meta:
        verbose_name = _("dataset of a run")
        verbose_name_plural = _("datasets of runs")
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(fields=("run", "position"), name="one_dataset_per_position"),
            models.UniqueConstraint(fields=("run", "host"), name="one_dataset_per_host_and_run"),
        )

    def __str__(self) -> str:
        return f"{self.name} at {self.host}"


class Serial(models.Model):
    """Counts orders up. The row stays locked until the order's transaction ends, so that orders become visible in
    the order of their serials and a host's cursor never passes one that is still to appear."""

    name = models.CharField(max_length=20, primary_key=True)
    value = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = _("serial")
        verbose_name_plural = _("serials")

    def __str__(self) -> str:
        return f"{self.name}: {self.value}"

    @classmethod
    def following(cls, name: str, count: int) -> range:
        """The next `count` serials. Call it inside a transaction."""
        cls.objects.get_or_create(name=name)
        row = cls.objects.select_for_update().get(name=name)
        first, row.value = row.value + 1, row.value + count
        row.save(update_fields=["value"])
        return range(first, row.value + 1)


class RunOrder(models.Model):
    """One order to one host, and its report. Both envelopes are stored exactly as they travelled."""

    id = models.CharField(_("order"), max_length=32, primary_key=True, editable=False)
    serial = models.BigIntegerField(_("serial"), unique=True)
    run = models.ForeignKey(Run, models.CASCADE, related_name="orders", verbose_name=_("run"))
    host = models.ForeignKey(
        "governance.OwnerHost", models.PROTECT, related_name="orders", verbose_name=_("host")
    )
    phase = models.CharField(_("phase"), max_length=20)
    step = models.PositiveSmallIntegerField(_("step"), default=0)
    round = models.PositiveIntegerField(_("round"), default=0)
    envelope = models.TextField(_("signed order"))
    issued_at = models.DateTimeField(_("issued"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires"))
    report = models.TextField(_("signed report"), blank=True)
    status = models.CharField(_("status"), max_length=10, blank=True)
    code = models.CharField(_("code"), max_length=40, blank=True)
    reported_at = models.DateTimeField(_("reported"), null=True)

    objects: ClassVar[Any] = Orders.as_manager()

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        ordering = ("serial",)
        indexes = (models.Index(fields=("host", "status", "serial"), name="orders_to_deliver"),)

    def __str__(self) -> str:
        return f"{self.run.title}: {self.phase} at {self.host}"

    @property
    def key(self) -> tuple[Phase, int, int]:
        """What orders and stages of one run have in common."""
        return Phase(self.phase), self.step, self.round

    @property
    def answered(self) -> bool:
        return self.status != ""

    @cached_property
    def signed_report(self) -> Signed:
        return Signed.parse(self.report, limit=len(self.report))

    @cached_property
    def reported(self) -> Report:
        """The report. Its signature was verified when it was accepted."""
        return Report.parse(self.signed_report.text)


class Artefact(models.Model):
    """Bytes in transit, in a file named by `id`; whoever sent them has no part in the name.

    `order` is the order that they answer, or nothing for a model that the coordinator trained. `role` and
    `audience` are known once the report that names them is accepted.
    """

    id = models.UUIDField(_("artefact"), primary_key=True, default=uuid.uuid4, editable=False)
    run = models.ForeignKey(Run, models.CASCADE, related_name="artefacts", verbose_name=_("run"))
    order = models.ForeignKey(
        RunOrder, models.CASCADE, null=True, related_name="artefacts", verbose_name=_("order")
    )
    role = models.CharField(_("role"), max_length=63, blank=True)
    audience = models.CharField(_("sealed to"), max_length=43, blank=True)
    digest = models.CharField(_("SHA-256"), max_length=64)
    size = models.BigIntegerField(_("bytes"))
    offset = models.BigIntegerField(_("bytes received"), default=0)
    complete = models.BooleanField(_("complete"), default=False)
    created_at = models.DateTimeField(_("begun"), default=timezone.now)
    deleted_at = models.DateTimeField(_("deleted"), null=True)

    objects: ClassVar[Any] = Artefacts.as_manager()

    class Meta:
        verbose_name = _("artefact")
        verbose_name_plural = _("artefacts")
        ordering = ("created_at",)
        constraints = (
            models.UniqueConstraint(fields=("order", "digest"), name="one_artefact_per_order_and_digest"),
            models.UniqueConstraint(
                fields=("run", "role"),
                condition=Q(order=None),
                name="one_artefact_of_the_coordinator_per_role",
            ),
        )

    def __str__(self) -> str:
        return f"{self.run.title}: {self.role or 'upload'}"

    @property
    def ref(self) -> ArtefactRef:
        """How an order names the artefact."""
        audience = self.audience or None
        return ArtefactRef(role=self.role, digest=self.digest, size=self.size, audience=audience)


class RunEvent(models.Model):
    """One line of a run's story, for whoever follows it. Written with the run's row locked."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="events", verbose_name=_("run"))
    at = models.DateTimeField(_("at"), default=timezone.now)
    state = models.CharField(_("state"), max_length=20, choices=RunState.choices)
    text = models.CharField(_("text"), max_length=500)
    host = models.ForeignKey(
        "governance.OwnerHost", models.PROTECT, null=True, related_name="+", verbose_name=_("host")
    )
    """Whose answer it tells, or at which host the run ended."""
    progress = models.FloatField(_("progress"), default=0.0)

    objects: ClassVar[Any] = OfRuns.as_manager()

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ("id",)

    def __str__(self) -> str:
        return self.text


def seconds_of(moment: datetime) -> int:
    """A moment as the wire has it: whole seconds since 1970-01-01 UTC."""
    return int(moment.timestamp())
