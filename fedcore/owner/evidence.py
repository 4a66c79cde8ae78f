"""Evidence: what the other hosts of a run have signed, checked before anything is built on it.

The coordinator carries these reports and could leave out, repeat, swap or invent some. What is accepted is
one report of each expected host, for exactly this run, phase, step and round, signed with a key that the
scientist's spec names and this host's policy pins. What this host has itself reported must come back as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import Message, WireError
from fedcore.wire.orders import ArtefactRef, Phase, order_id
from fedcore.wire.reports import RESULT_TYPES, Report, Status
from fedcore.wire.signing import Signed

SomeResult = TypeVar("SomeResult", bound=Message)
Work = tuple[Phase, int, int]
"""Phase, step and round."""


@dataclass(frozen=True)
class Said(Generic[SomeResult]):
    """What one host has reported: the result and its artefacts."""

    host: str
    result: SomeResult
    artefacts: tuple[ArtefactRef, ...]


class Evidence:
    """The verified reports of an order, by work and host."""

    def __init__(
        self, run: str, signed: Iterable[Signed], members: Sequence[str], host: str, own: Mapping[str, Signed]
    ) -> None:
        """Verify all of `signed`. `members` are the signing keys of the run's hosts, `own` what this host (`host`)
        has answered in this run, by order.

        Raises `WireError`: `unknown_signer`, `bad_signature`, `conflict`, `malformed` and the like.
        """
        self._found: dict[tuple[Work, str], Report] = {}
        for envelope in signed:
            report = _verified(run, envelope, members)
            if envelope.signer == host and own.get(report.order) != envelope:
                raise WireError(
                    RefusalCode.CONFLICT, "the evidence has a report of this host that it never made"
                )
            key = ((report.phase, report.step, report.round), envelope.signer)
            if key in self._found:
                raise WireError(RefusalCode.CONFLICT, f"two reports of {envelope.signer} on {report.phase}")
            self._found[key] = report

    def has(self, phase: Phase, step: int = 0, round: int = 0) -> bool:
        """Whether any host's report on this work is here."""
        return any(work == (phase, step, round) for work, _ in self._found)

    def of(
        self, expected: type[SomeResult], hosts: Sequence[str], phase: Phase, step: int = 0, round: int = 0
    ) -> dict[str, Said[SomeResult]]:
        """What each of `hosts` has reported on this work, in their order. Raises `WireError` if one is missing."""
        said: dict[str, Said[SomeResult]] = {}
        for host in hosts:
            report = self._found.get(((phase, step, round), host))
            if report is None:
                raise WireError(RefusalCode.OUT_OF_ORDER, f"no report of {host} on {phase} {step}/{round}")
            if not isinstance(report.result, expected):
                raise WireError(RefusalCode.OUT_OF_ORDER, f"{host} has not done {phase} {step}/{round}")
            said[host] = Said(host, report.result, report.artefacts)
        return said


def _verified(run: str, envelope: Signed, members: Sequence[str]) -> Report:
    if envelope.signer not in members:
        raise WireError(RefusalCode.UNKNOWN_SIGNER, f"{envelope.signer} takes no part in the run")
    report = envelope.open(Report)
    due = order_id(run, report.phase, report.step, report.round, envelope.signer)
    if report.run != run or report.order != due:
        raise WireError(RefusalCode.CONFLICT, f"a report of {envelope.signer} belongs to other work")
    if report.status is not Status.DONE or report.phase not in RESULT_TYPES:
        raise WireError(RefusalCode.OUT_OF_ORDER, f"{envelope.signer} has not done {report.phase}")
    return report


def only_artefact(said: Said[SomeResult], role: str, audience: str | None) -> ArtefactRef:
    """The one artefact of this role for this audience. Raises `WireError` (`artefact_invalid`)."""
    found = [ref for ref in said.artefacts if ref.role == role and ref.audience == audience]
    if len(found) != 1:
        raise WireError(
            RefusalCode.ARTEFACT_INVALID, f"{said.host} names {len(found)} artefacts {role}, not 1"
        )
    return found[0]
