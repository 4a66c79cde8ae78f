"""Whether the audit is whole: every entry in its place, unaltered and signed, and the triggers there.

What this cannot show by itself is that entries were cut off the end together with the head: give it a head that was
noted down elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from fedcore.coordinator.governance.audit import chain, triggers
from fedcore.coordinator.governance.audit.entries import FIRST, AuditAddress, AuditEntry
from fedcore.coordinator.governance.audit.recording import head

PAGE = 1000


class AuditBroken(Exception):
    """The audit was altered outside fedcore. `serial` is the first entry that does not fit."""

    def __init__(self, serial: int, rule: str) -> None:
        super().__init__(
            f"Audit entry {serial}: {rule}. The database was altered outside fedcore: keep a copy of it for an "
            "inquiry, and compare it with a backup and with exports."
        )
        self.serial = serial


@dataclass(frozen=True)
class Verified:
    """What was found whole: how many entries were looked at, and the last one's serial and digest."""

    entries: int
    serial: int
    digest: str


def verify(keys: Collection[str], known_head: str | None = None, start: int = 1) -> Verified:
    """Check the entries from serial `start` on. `keys` are the public keys that may have signed.

    `known_head` is a digest that was noted down earlier: it must be among the entries that are looked at. Entries are
    read one page at a time. Raises `AuditBroken`, or `TriggersMissing`.
    """
    absent = triggers.missing()
    if absent:
        raise triggers.TriggersMissing(absent)
    serial, previous = start - 1, _before(start)
    count, found = 0, known_head in (None, previous)
    for entry in entries_from(start):
        _check(entry, serial + 1, previous, keys)
        serial, previous = entry.serial, entry.digest
        count += 1
        found = found or previous == known_head
    _check_end(serial, known_head, found)
    _check_addresses()
    return Verified(count, serial, previous)


def entries_from(start: int) -> Iterator[AuditEntry]:
    """All entries from a serial on, in order, one page in memory at a time."""
    after = start - 1
    while page := list(AuditEntry.objects.filter(serial__gt=after).order_by("serial")[:PAGE]):
        yield from page
        after = page[-1].serial


def _before(start: int) -> str:
    if start <= 1:
        return FIRST
    entry = AuditEntry.objects.filter(serial=start - 1).first()
    if entry is None:
        raise AuditBroken(start - 1, "it is missing")
    return str(entry.digest)


def _check(entry: AuditEntry, serial: int, previous: str, keys: Collection[str]) -> None:
    if entry.serial != serial:
        raise AuditBroken(serial, f"it is missing, the next is {entry.serial}")
    if entry.previous != previous:
        raise AuditBroken(serial, "it does not follow the entry before it")
    if entry.digest != chain.digest_of(entry):
        raise AuditBroken(serial, "its content does not fit its digest")
    if entry.signer not in keys:
        raise AuditBroken(serial, f"it is signed with the key {entry.signer}, which is not the coordinator's")
    if not chain.is_signed(entry.digest, entry.signer, entry.signature):
        raise AuditBroken(serial, "its signature is not the coordinator's")


def _check_end(serial: int, known_head: str | None, found: bool) -> None:
    """The head is on the chain. Somebody may have appended meanwhile: then it is beyond what was looked at."""
    last = head()
    entry = AuditEntry.objects.filter(serial=last.serial).first()
    digest = FIRST if last.serial == 0 else entry.digest if entry else None
    if last.serial < serial or last.digest != digest:
        raise AuditBroken(serial + 1, f"the head says that the last entry is {last.serial}, {last.digest}")
    if not found:
        raise AuditBroken(serial + 1, f"the entry with the digest {known_head} is missing")


def _check_addresses() -> None:
    """An address can be deleted, and not replaced by another."""
    for row in AuditAddress.objects.iterator():
        if row.commitment != chain.commitment_of(row.salt, row.address):
            entry = AuditEntry.objects.filter(origin=row.commitment).order_by("serial").first()
            raise AuditBroken(entry.serial if entry else 0, "its address is not the one that was recorded")
