"""Failed logins, and the names that they have locked out for a while."""

from __future__ import annotations

from typing import Any, ClassVar

from axes.models import AccessAttempt
from axes.utils import reset
from django.conf import settings
from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from fedcore.coordinator.governance import audit, rules
from fedcore.coordinator.governance.audit import Action, Subject, Thing
from fedcore.coordinator.governance.people import Person


class Attempts(rules.Lockouts):
    """Failed logins, each with whether its name is a person's: whoever mistypes may have typed a password."""

    def with_known_names(self) -> Attempts:
        known = Person.objects.filter(username=OuterRef("username"))
        rows: Attempts = self.annotate(is_known=Exists(known))
        return rows


class Lockout(AccessAttempt):  # type: ignore[misc]
    """The failed logins under one name from one address and device since the last one that succeeded."""

    objects: ClassVar[Any] = Attempts.as_manager()

    class Meta:
        proxy = True
        verbose_name = _("failed login")
        verbose_name_plural = _("failed logins")

    def __str__(self) -> str:
        return f"{self.failures_since_start} × {self.ip_address}"

    @property
    def is_locked(self) -> bool:
        """Whether logins under this name from this address are refused now."""
        since = timezone.now() - settings.AXES_COOLOFF_TIME
        same = AccessAttempt.objects.filter(
            username=self.username, ip_address=self.ip_address, attempt_time__gt=since
        )
        failures = sum(same.values_list("failures_since_start", flat=True))
        return bool(failures >= settings.AXES_FAILURE_LIMIT)


def lift(lockout: Lockout) -> None:
    """Forget the failed logins under this name, from everywhere: the next attempt is the first."""
    person = Person.objects.filter(username=lockout.username).first()
    with audit.atomic():
        audit.record(Action.LIFT_LOCKOUT, person or Subject(Thing.PERSON))
        reset(username=lockout.username)
