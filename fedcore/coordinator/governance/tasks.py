"""The Celery tasks of governance: each is one call of the domain, and may be lost or repeated without harm."""

from __future__ import annotations

from celery import shared_task

from fedcore.coordinator.governance import aside, trying


@shared_task(name=trying.TASK)
def dry_run(*, dry_run_id: str) -> None:
    aside.perform_aside(dry_run_id)


@shared_task(name=trying.SWEEP)
def sweep_dry_runs() -> None:
    left = trying.sweep()
    if left is not None:
        aside.perform_aside(left)


@shared_task(name="fedcore.governance.remind")
def remind() -> None:
    from django.utils import timezone

    from fedcore.coordinator.governance.mailing import send_notices
    from fedcore.coordinator.governance.reminders import remind

    now = timezone.now()
    remind(now)
    send_notices(now)
