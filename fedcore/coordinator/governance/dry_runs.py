"""Dry runs: what would run, tried on the mock samples, before anybody lets it near the data.

Whoever hands in an access request gets one, and a scientist may ask for one before. A Celery worker performs it in
a process of its own (`fedcore.coordinator.governance.trying`); the row keeps what came of it.
"""

from __future__ import annotations

import secrets
from typing import Any, ClassVar, Final

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from fedcore.coordinator.governance import rules
from fedcore.coordinator.governance.access import AccessRequest
from fedcore.coordinator.governance.people import Person

ID_LENGTH: Final = 32


class DryRunState(models.TextChoices):
    WAITING = "waiting", _("waiting")
    RUNNING = "running", _("running")
    DONE = "done", _("done")


def new_id() -> str:
    """128 random bits in hexadecimal."""
    return secrets.token_hex(ID_LENGTH // 2)


class DryRun(models.Model):
    """One dry run. `subject` is a `fedcore.wire.dry_runs.DryRunPlan`; `trials` has its results, one for each trial."""

    id = models.CharField(_("id"), max_length=ID_LENGTH, primary_key=True, default=new_id)
    request = models.OneToOneField(
        AccessRequest,
        verbose_name=_("access request"),
        on_delete=models.CASCADE,
        related_name="dry_run",
        null=True,
    )
    asked_by = models.ForeignKey(
        Person, verbose_name=_("asked by"), on_delete=models.CASCADE, related_name="dry_runs"
    )
    subject = models.JSONField(_("what is tried"))
    state = models.CharField(
        _("state"),
        max_length=8,
        choices=DryRunState.choices,
        default=DryRunState.WAITING,
        db_index=True,
    )
    attempts = models.IntegerField(_("attempts"), default=0)
    trials = models.JSONField(_("trials"), default=list)
    remark = models.TextField(_("remark"), blank=True)
    asked_at = models.DateTimeField(_("asked"), default=timezone.now)
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    objects: ClassVar = rules.DryRuns.as_manager()

    class Meta:
        verbose_name = _("dry run")
        verbose_name_plural = _("dry runs")
        ordering = ("-asked_at", "id")

    def __str__(self) -> str:
        return self.id[:8]

    @property
    def is_over(self) -> bool:
        return self.state == DryRunState.DONE

    @property
    def passes(self) -> bool:
        """Whether everything was tried, and all of it passed."""
        return self.is_over and bool(self.trials) and all(trial["passes"] for trial in self.trials)

    @property
    def shown_trials(self) -> list[dict[str, Any]]:
        """The trials for people: pipelines counted from 1, bytes for each row, seconds in all."""
        return [_shown(trial) for trial in self.trials]


def _shown(trial: dict[str, Any]) -> dict[str, Any]:
    rows = max(trial["rows"], 1)
    return trial | {
        "pipeline": trial["pipeline"] + 1,
        "feature_bytes_a_row": round(trial["feature_bytes"] / rows),
        "plaintext_bytes_a_row": round(trial["plaintext_bytes"] / rows),
        "total_seconds": sum(trial["seconds"].values()),
    }
