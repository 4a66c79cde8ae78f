"""What the journal says of grants: a copy of their file that was restored from a backup may know less."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Final

from fedcore.owner.facts import Ruling
from fedcore.owner.journal import EntryKind, Journal
from fedcore.owner.limits import Limits

_NARROWING: Final = frozenset({"received", "narrowed", "confirmed", "tightened"})


@dataclass(frozen=True)
class Past:
    """The narrowest limits that were ever journalled of a grant, and how it ended, if it did."""

    limits: Limits | None = None
    ruling: Ruling | None = None
    by: str = ""
    reason: str = ""
    at: int = 0


def pasts(journal: Journal) -> dict[str, Past]:
    """The past of every grant that the journal knows, by its digest. Raises `JournalError`."""
    found: dict[str, Past] = {}
    for entry in journal.entries(kind=EntryKind.GRANT):
        said = json.loads(entry.content)
        digest, event = said.get("grant"), said.get("event")
        if not isinstance(digest, str):
            continue  # It is about a message that was dropped.
        past = found.setdefault(digest, Past())
        if event in _NARROWING:
            limits = Limits.model_validate(said["limits"])
            found[digest] = replace(
                past, limits=limits if past.limits is None else past.limits.within(limits)
            )
        elif event in (Ruling.REFUSED, Ruling.REVOKED):
            ending = {"ruling": Ruling(event), "by": said["by"], "reason": said["reason"], "at": entry.at}
            found[digest] = replace(past, **ending)
    return found
