"""The thread of a request: what was decided, asked and answered about it, in order, as both sides read it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from fedcore.coordinator.governance import rules
from fedcore.coordinator.governance.access import AccessRequest
from fedcore.coordinator.governance.people import Person


class Said(models.TextChoices):
    """What an entry of a thread is."""

    QUESTION = "question", _("asked back")
    ANSWER = "answer", _("answered")
    PROPOSED = "proposed", _("approved as the first of two")
    APPROVED = "approved", _("approved")
    REFUSED = "refused", _("refused")
    TIGHTENED = "tightened", _("tightened the grant")
    REVOKED = "revoked", _("revoked the grant")
    WITHDRAWN = "withdrawn", _("withdrew it")


class ThreadEntry(models.Model):
    """One entry: who said what when. Written with the decision, in its transaction, and never changed."""

    request = models.ForeignKey(
        AccessRequest, verbose_name=_("access request"), on_delete=models.PROTECT, related_name="thread"
    )
    person = models.ForeignKey(
        Person, verbose_name=_("person"), on_delete=models.PROTECT, related_name="thread_entries"
    )
    said = models.CharField(_("what"), max_length=10, choices=Said.choices)
    text = models.TextField(_("text"), blank=True)
    at = models.DateTimeField(_("at"), default=timezone.now)

    objects: ClassVar = rules.ThreadEntries.as_manager()

    class Meta:
        verbose_name = _("entry of a thread")
        verbose_name_plural = _("entries of threads")
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.person}: {self.get_said_display()}"
