"""What happens in a run of each protocol, as data: the stages in order, who acts, and on what evidence.

A stage is complete when everyone that acts in it has reported `done`. `advance` looks for the first stage that is
not, and does nothing else: where a run stands is never stored, only read from its orders and reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fedcore.coordinator.runs.states import RunState
from fedcore.wire.orders import Phase
from fedcore.wire.spec import Protocol


class Who(StrEnum):
    """Who acts in a stage."""

    OWNERS = "owners"
    REFERENCE = "reference"
    DEALER = "dealer"
    COMPUTE_OWNERS = "compute owners"
    EVERYONE = "everyone"
    COORDINATOR = "coordinator"


@dataclass(frozen=True)
class Stage:
    """One phase of a run, for a fitted step one round of it.

    The orders of the stage carry the reports of the `evidence` stages, and with `carries_model` the reference of
    the model that the coordinator trained.
    """

    phase: Phase
    who: Who = Who.OWNERS
    step: int = 0
    round: int = 0
    evidence: tuple[Stage, ...] = ()
    carries_model: bool = False

    @property
    def key(self) -> tuple[Phase, int, int]:
        """What orders and stages of one run have in common."""
        return self.phase, self.step, self.round

    @property
    def state(self) -> RunState:
        """The run's state while it is in this stage."""
        return _STATES.get(self.phase, RunState.PREPARING)


@dataclass(frozen=True)
class FittedPlace:
    """A step of the pipeline that is fitted over the owners: its place, and its number of rounds."""

    place: int
    rounds: int


_STATES: Final = {
    Phase.CHECK: RunState.CHECKING,
    Phase.TRAIN: RunState.RUNNING,
    Phase.EVALUATE: RunState.EVALUATING,
}

MODEL_AT_COORDINATOR: Final = frozenset({Protocol.POOLED, Protocol.SHARED})
"""The protocols whose model the coordinator trains or puts together, keeps and gives to the scientist."""


def stages(protocol: Protocol, agreement: bool, fitted: Sequence[FittedPlace]) -> tuple[Stage, ...]:
    """All stages of a run in order, without the closing orders. `agreement`: the owners agree on a key."""
    return _FLOWS[protocol](agreement, fitted)


def needs_agreement(protocol: Protocol, owners_hold_key: bool, fitted: Sequence[FittedPlace]) -> bool:
    """Whether the owners must agree on a key: for the backend, or to seal the summaries of fitted steps."""
    return protocol is not Protocol.LOCAL and (owners_hold_key or bool(fitted))


def _local(agreement: bool, fitted: Sequence[FittedPlace]) -> tuple[Stage, ...]:
    # Each owner fits its own state while it trains, so nothing is agreed and nothing summarised.
    return Stage(Phase.CHECK), Stage(Phase.TRAIN), Stage(Phase.EVALUATE)


def _pooled(agreement: bool, fitted: Sequence[FittedPlace]) -> tuple[Stage, ...]:
    return (
        Stage(Phase.CHECK),
        *_until_prepared(agreement, fitted),
        Stage(Phase.TRAIN, Who.COORDINATOR),
        Stage(Phase.EVALUATE, carries_model=True),
    )


def _reference(agreement: bool, fitted: Sequence[FittedPlace]) -> tuple[Stage, ...]:
    joint = _until_prepared(agreement, fitted)
    train = Stage(Phase.TRAIN, Who.REFERENCE, evidence=(joint[-1],))
    return Stage(Phase.CHECK, Who.EVERYONE), *joint, train, Stage(Phase.EVALUATE, evidence=(train,))


def _shared(agreement: bool, fitted: Sequence[FittedPlace]) -> tuple[Stage, ...]:
    joint = _until_prepared(agreement, fitted)
    deal = Stage(Phase.DEAL, Who.DEALER, evidence=(joint[-1],))
    train = Stage(Phase.TRAIN, Who.COMPUTE_OWNERS, evidence=(joint[-1], deal))
    join = Stage(Phase.TRAIN, Who.COORDINATOR)
    return (
        Stage(Phase.CHECK, Who.EVERYONE),
        *joint,
        deal,
        train,
        join,
        Stage(Phase.EVALUATE, carries_model=True),
    )


def _until_prepared(agreement: bool, fitted: Sequence[FittedPlace]) -> tuple[Stage, ...]:
    done: list[Stage] = []
    before: tuple[Stage, ...] = ()
    if agreement:
        offer = Stage(Phase.OFFER)
        share = Stage(Phase.SHARE, evidence=(offer,))
        confirm = Stage(Phase.CONFIRM, evidence=(offer, share))
        done, before = [offer, share, confirm], (confirm,)
    settled: list[Stage] = []
    for step in fitted:
        rounds = _rounds_of(step, tuple(settled) or before)
        settled.append(Stage(Phase.SETTLE, step=step.place, evidence=tuple(rounds)))
        done += [*rounds, settled[-1]]
    return *done, Stage(Phase.PREPARE, evidence=(*before, *settled))


def _rounds_of(step: FittedPlace, before: tuple[Stage, ...]) -> list[Stage]:
    rounds: list[Stage] = []
    for number in range(step.rounds):
        evidence = tuple(rounds) or before
        rounds.append(Stage(Phase.SUMMARISE, step=step.place, round=number, evidence=evidence))
    return rounds


_FLOWS: Final = {
    Protocol.LOCAL: _local,
    Protocol.POOLED: _pooled,
    Protocol.REFERENCE: _reference,
    Protocol.SHARED: _shared,
}
