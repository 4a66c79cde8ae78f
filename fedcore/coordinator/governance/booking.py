"""Using grants up: one release for each run, and the epsilon that it promises."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.limits import NO_PROMISE, Epsilon, epsilon_covers, shown_epsilon
from fedcore.coordinator.governance.models import Grant, Release
from fedcore.coordinator.governance.problems import DecisionError


def book_release(
    grant: Grant, run: str, now: datetime | None = None, epsilon_micro: Epsilon = NO_PROMISE
) -> None:
    """Use one release of `grant` for the run with this digest; booking a run again changes nothing.

    Raises `DecisionError` with `grant_revoked`, `grant_expired`, `releases_spent`, `epsilon_not_allowed` or
    `budget_spent`.
    """
    now = now or timezone.now()
    with audit.atomic():
        locked = Grant.objects.select_for_update().get(pk=grant.pk)
        if locked.used.filter(run=run).exists():
            return
        _check_usable(locked, now)
        _check_budget(locked, epsilon_micro)
        Release.objects.create(grant=locked, run=run, booked_at=now, epsilon_micro=epsilon_micro)
        audit.record(Action.USE_RELEASE, locked, run=run)


def spent_micro(grant: Grant) -> int:
    """The epsilon of all runs of a grant that promised one, in millionths."""
    booked = (release.epsilon_micro for release in grant.used.all())
    return sum(epsilon for epsilon in booked if isinstance(epsilon, int))


def _check_usable(grant: Grant, now: datetime) -> None:
    if grant.revoked_at is not None:
        raise DecisionError("grant_revoked", _("The grant %(grant)s is revoked.") % {"grant": grant})
    if grant.expires_at <= now:
        raise DecisionError(
            "grant_expired",
            _("The grant %(grant)s expired on %(when)s. Request access again.")
            % {"grant": grant, "when": f"{grant.expires_at:%Y-%m-%d %H:%M} UTC"},
        )
    if grant.releases_used >= grant.releases:
        raise DecisionError(
            "releases_spent",
            _("The grant %(grant)s allows %(count)d runs, and all are used. Request access for more.")
            % {"grant": grant, "count": grant.releases},
        )


def _check_budget(grant: Grant, asked: Epsilon) -> None:
    if not epsilon_covers(grant.epsilon_micro, asked):
        raise DecisionError(
            "epsilon_not_allowed",
            _(
                "The grant %(grant)s allows an epsilon of %(limit)s, and the run asks for %(asked)s. Lower the run's."
            )
            % {
                "grant": grant,
                "limit": shown_epsilon(grant.epsilon_micro),
                "asked": shown_epsilon(asked),
            },
        )
    if not isinstance(asked, int) or not isinstance(grant.epsilon_micro, int):
        return
    spent = spent_micro(grant)
    if spent + asked > grant.epsilon_micro:
        raise DecisionError(
            "budget_spent",
            _(
                "The grant %(grant)s allows an epsilon of %(limit)s in all, %(spent)s is spent and the run asks for "
                "%(asked)s. Lower the run's, or request access for more."
            )
            % {
                "grant": grant,
                "limit": shown_epsilon(grant.epsilon_micro),
                "spent": shown_epsilon(spent),
                "asked": shown_epsilon(asked),
            },
        )
