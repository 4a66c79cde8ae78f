"""Runs and what is decided elsewhere, at the coordinator and at the owners' hosts: leave starts what waited for it; a
grant that is revoked, given back or tightened stops what relied on it, and takes from the coordinator what it still
holds; a scientist who leaves takes no run along."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from fedcore.coordinator.governance.models import AccessRequest, Person
from fedcore.coordinator.runs import bell, ending
from fedcore.coordinator.runs.models import Run


def look_again(sender: Any, request: AccessRequest, **more: Any) -> None:
    """Have every unfinished run looked at that uses the request which was decided about, here or at its host; of the
    finished ones let go of what the grants no longer allow."""
    for run_id in Run.objects.unfinished().filter(datasets__request=request).values_list("pk", flat=True):
        bell.ring(run_id)
    now = timezone.now()
    for run in ending.holding().filter(datasets__request=request):
        ending.let_go(run, now)


def cancel_lapsed(sender: Any, person: Person, **more: Any) -> None:
    """Cancel the open runs of a scientist who may no longer have them. Any that is missed stops at its next step."""
    for run_id in Run.objects.unfinished().filter(scientist=person).values_list("pk", flat=True):
        ending.cancel_lapsed(run_id)
