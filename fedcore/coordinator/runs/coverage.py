"""Whether a request, or the grant that it became, covers a run now: asked when a run is submitted, and at every step.

A limit that is missing or not known here covers nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fedcore.coordinator.governance import standings
from fedcore.coordinator.governance.limits import epsilon_covers, shown_epsilon
from fedcore.coordinator.governance.models import UNDECIDED, AccessRequest, RequestState
from fedcore.coordinator.runs.problems import Problem, Problems
from fedcore.wire import access as wire
from fedcore.wire.codes import EXPLANATIONS, RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import DatasetVersion, RunSpec

_ENDED = {
    RequestState.REFUSED: RefusalCode.NOT_GRANTED,
    RequestState.WITHDRAWN: RefusalCode.NOT_GRANTED,
    RequestState.REVOKED: RefusalCode.GRANT_REVOKED,
}


@dataclass(frozen=True)
class Gap:
    """One thing that is not covered: the rule's code, and what the grant says instead."""

    code: RefusalCode
    detail: str = ""

    def about(self, subject: str) -> Problem:
        """The same as a text for the scientist, with the code's explanation."""
        told = f"{subject}: {EXPLANATIONS[self.code]}"
        return Problem(self.code, f"{told} {self.detail}".rstrip())


def gaps_of(request: AccessRequest, spec: RunSpec, wanted: DatasetVersion, now: datetime) -> Iterator[Gap]:
    """Why the request does not cover the run, releases aside. Nothing where it does, or may once it is approved."""
    state = RequestState(request.state)
    if state in _ENDED:
        yield Gap(_ENDED[state], f"The request is {request.get_state_display()}.")
        return
    if request.has_lapsed:
        yield Gap(RefusalCode.SCIENTIST_LEFT)
        return
    code = standings.refusal(request.grant) if state is RequestState.APPROVED else None
    if code is not None:
        yield Gap(code, f"{request.dataset.host.name} says so.")
        return
    if request.limits.expires_at <= now:
        yield Gap(RefusalCode.GRANT_EXPIRED)
        return
    asked = wire.AccessRequest.parse(request.text)
    if asked.dataset != wanted:
        yield Gap(RefusalCode.NOT_GRANTED, "The request is about another version of it, or another dataset.")
        return
    if spec.purpose != asked.purpose:
        yield Gap(RefusalCode.PURPOSE_NOT_ALLOWED, f"It was asked for {asked.purpose}.")
    if spec.pipeline.digest not in {pipeline.digest for pipeline in asked.pipelines}:
        yield Gap(RefusalCode.PIPELINE_NOT_GRANTED)
    yield from _beyond_limits(request, spec)


def check_request(request: AccessRequest, spec: RunSpec, wanted: DatasetVersion, now: datetime) -> Problems:
    """The gaps for a run that is submitted now, releases among them, as problems."""
    subject = str(request.dataset)
    gaps = list(gaps_of(request, spec, wanted, now))
    if not gaps and request.state == RequestState.APPROVED and not request.grant.is_usable(now):
        gaps = [Gap(RefusalCode.RELEASES_SPENT, f"It allows {request.grant.releases}.")]
    yield from (gap.about(subject) for gap in gaps)


def is_undecided(request: AccessRequest) -> bool:
    """Whether a run has to wait for the owner's decision."""
    return request.state in UNDECIDED


def _beyond_limits(request: AccessRequest, spec: RunSpec) -> Iterator[Gap]:
    limits = request.limits
    noun = "request" if limits is request else "grant"
    if limits is not request and not _is_readable(request):
        yield Gap(RefusalCode.NOT_GRANTED, "The grant has a limit that is not known here.")
        return
    chosen: list[tuple[RefusalCode, str, str, Any]] = [
        (RefusalCode.PROTOCOL_NOT_ALLOWED, "protocols", spec.protocol, limits.protocols),
        (RefusalCode.BACKEND_NOT_ALLOWED, "backends", spec.backend.name, limits.backends),
        (RefusalCode.MODEL_NOT_ALLOWED, "model types", spec.model.name, limits.model_types),
    ]
    for code, what, used, allowed in chosen:
        if used not in allowed:
            yield Gap(code, f"The {noun} covers the {what} {', '.join(allowed)}; the run uses {used}.")
    epsilon = spec.privacy.epsilon_micro
    if not epsilon_covers(limits.epsilon_micro, epsilon):
        limit, asked = shown_epsilon(limits.epsilon_micro), shown_epsilon(epsilon)
        yield Gap(
            RefusalCode.EPSILON_NOT_ALLOWED, f"The {noun} covers an epsilon of {limit}; the run asks {asked}."
        )
    privacy = wire.AccessRequest.parse(request.text).privacy
    if privacy.epsilon_micro != "none" and spec.privacy.delta > privacy.delta:
        yield Gap(
            RefusalCode.EPSILON_NOT_ALLOWED,
            f"The request has a delta of {privacy.delta:g}; the run asks {spec.privacy.delta:g}.",
        )
    if len(spec.datasets) < limits.minimum_owners:
        yield Gap(
            RefusalCode.TOO_FEW_OWNERS,
            f"The {noun} says at least {limits.minimum_owners} owners, not {len(spec.datasets)}.",
        )


def _is_readable(request: AccessRequest) -> bool:
    try:
        return bool(request.grant.as_message)
    except WireError:
        return False
