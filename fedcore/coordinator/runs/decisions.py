"""Runs and what is decided elsewhere: an approval starts what waited for it, a revocation stops what relied on it, and
a scientist who leaves takes no run along."""

from __future__ import annotations

from typing import Any

from fedcore.coordinator.governance.models import AccessRequest, Person
from fedcore.coordinator.runs import bell, ending
from fedcore.coordinator.runs.models import Run


def look_again(sender: Any, request: AccessRequest, **more: Any) -> None:
    """Have every unfinished run looked at that uses the request which was decided about."""
    for run_id in Run.objects.unfinished().filter(datasets__request=request).values_list("pk", flat=True):
        bell.ring(run_id)


def cancel_lapsed(sender: Any, person: Person, **more: Any) -> None:
    """Cancel the open runs of a scientist who may no longer have them. Any that is missed stops at its next step."""
    for run_id in Run.objects.unfinished().filter(scientist=person).values_list("pk", flat=True):
        ending.cancel_lapsed(run_id)
