"""The states of a run, and which of them end it."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.utils.translation import gettext_lazy as _


class RunState(models.TextChoices):
    """Where a run is. It only moves forward; the last four end it."""

    SUBMITTED = "submitted", _("submitted")
    CHECKING = "checking", _("checking")
    AWAITING_GRANTS = "awaiting_grants", _("awaiting grants")
    PREPARING = "preparing", _("preparing")
    RUNNING = "running", _("running")
    EVALUATING = "evaluating", _("evaluating")
    FINISHED = "finished", _("finished")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")
    EXPIRED = "expired", _("expired")


ENDED: Final = frozenset({RunState.FINISHED, RunState.FAILED, RunState.CANCELLED, RunState.EXPIRED})
