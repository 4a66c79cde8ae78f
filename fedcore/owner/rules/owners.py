"""Rules on who takes part: enough owners, and nobody who could read the others' rows."""

from __future__ import annotations

from fedcore.owner.facts import Decision
from fedcore.owner.rules.case import OwnerWork, compared, listed, require
from fedcore.wire.codes import RefusalCode


def enough_owners_take_part(work: OwnerWork) -> Decision:
    needed = max(
        work.facts.spec.minimum_owners,
        work.limits.minimum_owners,
        work.offer.minimum_owners,
        work.plugins.backend.minimum_owners,
    )
    owners = _owners_of(work)
    return require(
        len(owners) >= needed,
        RefusalCode.TOO_FEW_OWNERS,
        f"{needed} organisations must bring data by run, grant, {work.subject} and backend, and there are "
        f"{listed(sorted(owners))}. Run with more owners.",
    )


def scientist_belongs_to_no_owner(work: OwnerWork) -> Decision:
    scientist = work.policy.scientist(work.facts.scientist)
    return require(
        not work.facts.key_is_agreed
        or scientist is None
        or compared(scientist.organisation) not in _owners_of(work),
        RefusalCode.SAME_ORGANISATION,
        f"The scientist {scientist and scientist.name} belongs to an organisation that holds the run's key, and could "
        "read the other owners' rows. A scientist of no owner must submit the run.",
    )


def coordinator_belongs_to_no_owner(work: OwnerWork) -> Decision:
    operator = work.policy.coordinator.organisation
    return require(
        not work.facts.key_is_agreed or compared(operator) not in _owners_of(work),
        RefusalCode.SAME_ORGANISATION,
        f"The coordinator's operator {operator} holds the run's key as an owner, and could read the other owners' "
        "rows. Run over a coordinator of another organisation.",
    )


def _owners_of(work: OwnerWork) -> frozenset[str]:
    """The organisations that bring data: of this host and of pinned peers. Two hosts of one are one owner."""
    peers = (work.policy.peer(key) for key in work.facts.spec.hosts)
    organisations = {work.policy.organisation} | {peer.organisation for peer in peers if peer is not None}
    return frozenset(map(compared, organisations))
