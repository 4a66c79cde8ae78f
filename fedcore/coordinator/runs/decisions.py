"""Runs and the owners' decisions, at the coordinator and at their hosts: leave starts what waited for it, and a
revocation stops what relied on it."""

from __future__ import annotations

from typing import Any

from fedcore.coordinator.governance.models import AccessRequest
from fedcore.coordinator.runs import bell
from fedcore.coordinator.runs.models import Run


def look_again(sender: Any, request: AccessRequest, **more: Any) -> None:
    """Have every unfinished run looked at that uses the request which was decided about, here or at its host."""
    for run_id in Run.objects.unfinished().filter(datasets__request=request).values_list("pk", flat=True):
        bell.ring(run_id)
