"""What the rest of the host knows that the journal must know too."""

from __future__ import annotations

import json

from fedcore.owner.home import Home
from fedcore.owner.journal import EntryKind, Journal
from fedcore.owner.orders import OrderStore


def unrecorded_releases(home: Home, journal: Journal) -> list[str]:
    """The orders whose answer has left although no entry of the journal says so: entries were cut off or left out."""
    recorded = {
        (content.get("order"), content.get("report"))
        for entry in journal.entries()
        if entry.kind == EntryKind.RELEASE
        for content in [json.loads(entry.content)]
    }
    store = OrderStore(home.state_path)
    try:
        return [order for order, report in store.released() if (order, report) not in recorded]
    finally:
        store.close()
