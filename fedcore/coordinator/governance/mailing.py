"""Notices by e-mail, where the operator has switched it on. A mail says what the notice says, and where to read more.

The database is the truth: a notice that could not be sent is tried again for a day. A mail is not sent twice, except
where the server took it and then broke off. Where the server is away, nothing else is tried; what is wrong with one
mail alone, its recipient or its text, keeps no other back.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from smtplib import SMTPDataError, SMTPException, SMTPRecipientsRefused
from typing import Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Q
from django.utils.translation import gettext as _

from fedcore.coordinator.governance.models import Notice

logger = logging.getLogger(__name__)

TRIED_FOR: Final = timedelta(days=1)
AGAIN_AFTER: Final = timedelta(hours=1)
"""When a mail is tried again that the server did not take, while it took others."""

AT_ONCE: Final = 200
_OF_THE_MAIL: Final = (SMTPRecipientsRefused, SMTPDataError, ValueError)
"""Errors of one mail: its recipient, or its content. All others are those of the connection."""


def send_notices(now: datetime) -> int:
    """Send the notices that were not sent yet; how many went out. Nothing is sent where e-mail is off."""
    if not settings.FEDCORE_EMAIL:
        return 0
    waiting = Notice.objects.filter(
        mailed_at=None, read_at=None, created_at__gt=now - TRIED_FOR, person__is_active=True
    ).exclude(person__email="")
    waiting = waiting.filter(Q(mail_failed_at=None) | Q(mail_failed_at__lte=now - AGAIN_AFTER))
    sent = 0
    for notice in waiting.select_related("person").order_by("pk")[:AT_ONCE]:
        if not Notice.objects.filter(pk=notice.pk, mailed_at=None).update(mailed_at=now):
            continue
        try:
            _message(notice).send()
        except _OF_THE_MAIL as error:
            Notice.objects.filter(pk=notice.pk).update(mailed_at=None, mail_failed_at=now)
            logger.warning(
                "The mail of notice %s was not taken, and is tried again in an hour. Correct the e-mail address of "
                "person %s if it stays so: %s",
                *(notice.pk, notice.person_id, error),
            )
            continue
        except (OSError, SMTPException) as error:
            Notice.objects.filter(pk=notice.pk).update(mailed_at=None)
            logger.warning("Notice %s could not be mailed, it is tried again: %s", notice.pk, error)
            break
        sent += 1
    return sent


def _message(notice: Notice) -> EmailMessage:
    lines = [notice.text]
    if settings.FEDCORE_PUBLIC_URL:
        lines.append(settings.FEDCORE_PUBLIC_URL.rstrip("/") + notice.address)
    lines.append(_("You get this because of your role at the fedcore coordinator."))
    subject = f"[fedcore] {notice.get_about_display()}"
    return EmailMessage(subject, "\n\n".join(lines) + "\n", to=[notice.person.email])
