"""What may be done with what a run made: the intersection of the grants of everything that went into it.

| while | new run | download the model | keep and use the model | download the merged dataset |
|---|---|---|---|---|
| every grant is in force | where releases are left | yes | yes | where every grant allows download |
| a grant has expired | no | yes | yes | no, deleted |
| the scientist left the organisation that asked | no | no | yes | no, deleted |
| a grant is revoked, here or at the host, or given back | no | no, deleted | no | no, deleted |

An expiry bounds when data may be used, and a model that was finished by then was handed over with its run. A revocation
ends everything that the coordinator can end: it deletes the model and the dataset that it still holds. What a scientist
has downloaded, and the copy of the model that an owner's host keeps, were handed over and cannot be called back; every
owner reads that before approving.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from fedcore.coordinator.governance import standings
from fedcore.coordinator.governance.models import AccessRequest, Dataset, RequestState
from fedcore.coordinator.runs.flow import MODEL_AT_COORDINATOR
from fedcore.coordinator.runs.models import Run


@dataclass(frozen=True)
class Rights:
    """What may be done now. `because` says in words which grant took something away; empty where none did."""

    reuse: bool
    download_model: bool
    keep: bool
    predict: bool
    download_dataset: bool
    because: str = ""
    taken_by: Dataset | None = None
    """The dataset of that grant."""


def rights_of(run: Run, now: datetime) -> Rights:
    """The rights of what the run makes or made."""
    joined = AccessRequest.objects.filter(run_datasets__run=run).select_related("dataset__host", "grant")
    requests = list(joined.order_by("run_datasets__position"))
    holds = bool(requests) and all(_holds(request) for request in requests)
    stays = holds and not any(request.has_lapsed for request in requests)
    current = stays and not any(request.is_over(now) for request in requests)
    is_here = run.protocol_kind in MODEL_AT_COORDINATOR
    because, taken_by = _because(requests, now)
    return Rights(
        reuse=current and all(request.grant.is_usable(now) for request in requests),
        download_model=stays and is_here,
        keep=holds,
        predict=holds,
        download_dataset=current and is_here and all(request.grant.download for request in requests),
        because=because,
        taken_by=taken_by,
    )


def _holds(request: AccessRequest) -> bool:
    """Whether the owner's leave has not been ended, at the coordinator or at the owner's host."""
    return request.state == RequestState.APPROVED and standings.refusal(request.grant) is None


def _because(requests: Sequence[AccessRequest], now: datetime) -> tuple[str, Dataset | None]:
    """The first grant that is not in force, and the dataset that it is for."""
    for request in requests:
        text = _ended(request, now)
        if text:
            return text % {"dataset": request.dataset, "state": request.get_state_display()}, request.dataset
    for request in requests:
        if not request.grant.download:
            text = _("The grant of %(dataset)s does not allow to download the merged dataset.")
            return text % {"dataset": request.dataset}, request.dataset
    return "", None


def _ended(request: AccessRequest, now: datetime) -> str:
    if request.state != RequestState.APPROVED:
        return _("The grant of %(dataset)s is %(state)s.")
    if request.has_lapsed:
        return _("You no longer work for the organisation that asked for %(dataset)s.")
    if not _holds(request):
        return _("The grant of %(dataset)s was ended at the owner's host.")
    return _("The grant of %(dataset)s has expired.") if request.is_over(now) else ""
