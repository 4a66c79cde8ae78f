"""Notices: what happened that a person should know of. Written in the transaction of what happened.

A notice says names of people, datasets and runs, never what somebody wrote: whoever may read that follows the link.
Only the person whom it is for sees it. Each person keeps `KEPT`; beyond, the oldest that was read goes, or else the
oldest of the kind that there are most of: nobody drives the other kinds out by causing many of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar, Final

from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fedcore.coordinator.governance import rules
from fedcore.coordinator.governance.people import Organisation, Person, Role
from fedcore.wire.text import one_line

KEPT: Final = 200
TEXT_LENGTH: Final = 300


class About(models.TextChoices):
    """What a notice is about."""

    REQUEST = "request", gettext_lazy("new request")
    QUESTION = "question", gettext_lazy("question")
    ANSWER = "answer", gettext_lazy("answer")
    SECOND_APPROVAL = "second", gettext_lazy("second approval")
    DECISION = "decision", gettext_lazy("decision")
    TIGHTENED = "tightened", gettext_lazy("grant tightened")
    REVOKED = "revoked", gettext_lazy("grant revoked")
    WITHDRAWN = "withdrawn", gettext_lazy("withdrawn")
    ENDING = "ending", gettext_lazy("about to end")
    ENDED = "ended", gettext_lazy("ended")
    WAITS_AT_HOST = "waits", gettext_lazy("waits at the host")
    RUN_FINISHED = "finished", gettext_lazy("run finished")
    RUN_STOPPED = "stopped", gettext_lazy("run stopped")
    HOST_AWAY = "away", gettext_lazy("host away")
    APPROVERS = "approvers", gettext_lazy("number of approvers")


_PAGES: Final = {
    About.RUN_FINISHED: "admin:runs_run_change",
    About.RUN_STOPPED: "admin:runs_run_change",
    About.HOST_AWAY: "admin:governance_ownerhost_change",
    About.APPROVERS: "admin:governance_organisation_change",
}
_PAGE_OF_OTHERS: Final = "admin:governance_accessrequest_change"


class Notice(models.Model):
    """One notice for one person. `subject` is the digest of a request or run, or the number of a host or
    organisation."""

    person = models.ForeignKey(
        Person, verbose_name=gettext_lazy("person"), on_delete=models.CASCADE, related_name="notices"
    )
    about = models.CharField(gettext_lazy("about"), max_length=10, choices=About.choices)
    subject = models.CharField(gettext_lazy("subject"), max_length=64)
    text = models.CharField(gettext_lazy("text"), max_length=TEXT_LENGTH)
    created_at = models.DateTimeField(gettext_lazy("when"), default=timezone.now)
    read_at = models.DateTimeField(gettext_lazy("read"), null=True)
    mailed_at = models.DateTimeField(gettext_lazy("mailed"), null=True)
    mail_failed_at = models.DateTimeField(gettext_lazy("mail not taken"), null=True)

    objects: ClassVar = rules.Notices.as_manager()

    class Meta:
        verbose_name = gettext_lazy("notice")
        verbose_name_plural = gettext_lazy("notices")
        ordering = ("-id",)
        indexes: ClassVar = [
            models.Index(fields=["person", "read_at"], name="governance_unread_notices"),
            models.Index(fields=["mailed_at", "created_at"], name="governance_notices_to_mail"),
        ]

    def __str__(self) -> str:
        return self.text

    @property
    def address(self) -> str:
        """The page of what it is about."""
        return reverse(_PAGES.get(About(self.about), _PAGE_OF_OTHERS), args=(self.subject,))


def tell(people: Iterable[Person], about: About, subject: object, text: str) -> None:
    """Give each of these people a notice, and let go of what is beyond `KEPT`. Call it in the transaction.

    The text is one line, whatever names stand in it: it opens a mail.
    """
    found, said = list(people), one_line(text)[:TEXT_LENGTH]
    Notice.objects.bulk_create(
        Notice(person=person, about=about, subject=str(subject), text=said) for person in found
    )
    for person in found:
        _let_go(Notice.objects.filter(person=person).order_by("pk"))


def _let_go(own: models.QuerySet[Notice]) -> None:
    for _one in range(own.count() - KEPT):
        goes = own.exclude(read_at=None).first()
        if goes is None:
            by_kind = own.order_by().values("about").annotate(number=models.Count("pk"))
            goes = own.filter(about=by_kind.order_by("-number", "about")[0]["about"]).first()
        if goes is not None:
            goes.delete()


def tell_approvers(organisation: Organisation, by: Person | None = None) -> None:
    """Tell the data owners of an organisation how many of them approve a request from now on."""
    if organisation.two_approvers:
        text = _(
            "From now on two data owners approve each request for data of %(organisation)s, says %(by)s."
        )
    else:
        text = _(
            "From now on one data owner approves a request for data of %(organisation)s alone, says %(by)s."
        )
    told = text % {"organisation": organisation, "by": by or _("the coordinator's operator")}
    tell(data_owners_of(organisation, without=by), About.APPROVERS, organisation.pk, told)


def data_owners_of(organisation: Organisation, without: Person | None = None) -> list[Person]:
    """The people who decide about an organisation's data, but for the one who acts."""
    owners = Person.objects.filter(
        organisation=organisation, is_active=True, memberships__role=Role.DATA_OWNER
    )
    return list(owners.exclude(pk=without.pk if without else None))


def mark_read(person: Person, chosen: Iterable[int] | None = None, now: datetime | None = None) -> int:
    """Mark a person's notices as read, all or those with these numbers; how many were unread before."""
    unread = Notice.objects.filter(person=person, read_at=None)
    if chosen is not None:
        unread = unread.filter(pk__in=list(chosen))
    marked: int = unread.update(read_at=now or timezone.now())
    return marked


def unread(request: HttpRequest) -> int:
    """How many notices the person who asks has not read; counted once for a page."""
    if not isinstance(request.user, Person):
        return 0
    known: int | None = getattr(request, "_unread_notices", None)
    if known is None:
        known = Notice.objects.filter(person=request.user, read_at=None).count()
        request._unread_notices = known  # type: ignore[attr-defined]
    return known


def badge(request: HttpRequest) -> str:
    """How many notices are unread, beside their name in the navigation."""
    return str(unread(request) or "")
