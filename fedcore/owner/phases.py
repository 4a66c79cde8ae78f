"""The order of phases in a run, as an owner host insists on it whatever the coordinator says."""

from __future__ import annotations

from fedcore.owner.facts import Done, Role
from fedcore.wire.orders import Phase
from fedcore.wire.spec import Protocol

RELEASING = frozenset({Phase.SUMMARISE, Phase.PREPARE, Phase.TRAIN, Phase.EVALUATE})
"""The phases whose answers depend on rows. A run is booked in the ledger with the first of them."""

_NOTHING: frozenset[Done] = frozenset()


def required_before(
    work: Done, role: Role, protocol: Protocol, key_is_agreed: bool, fitted: dict[int, int]
) -> frozenset[Done] | None:
    """What this host must have done in the run before `work`, or None where `work` has no place in it.

    `fitted` maps the places of the pipeline's fitted steps to their number of rounds.
    """
    if work.phase is Phase.SUMMARISE:
        return _before_summarise(work, role, protocol, fitted)
    if work.phase is Phase.SETTLE:
        return _before_settle(work, role, protocol, fitted)
    if (work.step, work.round) != (0, 0):
        return None
    if role is not Role.OWNER:
        own = Phase.TRAIN if role is Role.REFERENCE else Phase.DEAL
        return {Phase.CHECK: _NOTHING, own: _only(Phase.CHECK)}.get(work.phase)
    if protocol is Protocol.LOCAL:
        return _LOCAL.get(work.phase)
    key = _only(Phase.CONFIRM) if key_is_agreed else _only(Phase.CHECK)
    settled = frozenset(Done(Phase.SETTLE, step) for step in fitted)
    agreement = _AGREEMENT if key_is_agreed else {}
    shared = {Phase.TRAIN: _only(Phase.PREPARE)} if protocol is Protocol.SHARED else {}
    return {
        Phase.CHECK: _NOTHING,
        **agreement,
        Phase.PREPARE: key | settled,
        **shared,
        Phase.EVALUATE: _only(Phase.PREPARE),
    }.get(work.phase)


def _only(phase: Phase) -> frozenset[Done]:
    return frozenset({Done(phase)})


_LOCAL = {Phase.CHECK: _NOTHING, Phase.TRAIN: _only(Phase.CHECK), Phase.EVALUATE: _only(Phase.TRAIN)}
_AGREEMENT = {
    Phase.OFFER: _only(Phase.CHECK),
    Phase.SHARE: _only(Phase.OFFER),
    Phase.CONFIRM: _only(Phase.SHARE),
}


def _before_summarise(
    work: Done, role: Role, protocol: Protocol, fitted: dict[int, int]
) -> frozenset[Done] | None:
    if not _is_fitted_here(work, role, protocol, fitted) or work.round >= fitted[work.step]:
        return None
    earlier_steps = {Done(Phase.SETTLE, step) for step in fitted if step < work.step}
    earlier_rounds = {Done(Phase.SUMMARISE, work.step, round) for round in range(work.round)}
    return _only(Phase.CONFIRM) | earlier_steps | earlier_rounds


def _before_settle(
    work: Done, role: Role, protocol: Protocol, fitted: dict[int, int]
) -> frozenset[Done] | None:
    if not _is_fitted_here(work, role, protocol, fitted) or work.round != 0:
        return None
    return frozenset(Done(Phase.SUMMARISE, work.step, round) for round in range(fitted[work.step]))


def _is_fitted_here(work: Done, role: Role, protocol: Protocol, fitted: dict[int, int]) -> bool:
    return role is Role.OWNER and protocol is not Protocol.LOCAL and work.step in fitted
