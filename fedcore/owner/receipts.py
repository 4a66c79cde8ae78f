"""The receipt of deletion: what this host uploaded in a run, against what the coordinator says it has deleted.

The order that closes a run names the digests that the coordinator has deleted, and is signed by it: kept in the
journal, it is the receipt. What was uploaded and is not named there may still lie at the coordinator.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from pydantic import JsonValue

from fedcore.wire.orders import Order


def receipt_of(order: Order, uploaded: AbstractSet[str]) -> dict[str, JsonValue]:
    """The journal's entry for an order to close a run."""
    deleted = uploaded & set(order.deleted)
    missing = uploaded - deleted
    entry: dict[str, JsonValue] = {
        "order": order.id,
        "run": order.run,
        "artefacts deleted at the coordinator": [*sorted(deleted)],
    }
    if missing:
        entry["warning"] = "the coordinator gives no receipt for these artefacts: ask its operator"
        entry["artefacts without a receipt"] = [*sorted(missing)]
    return entry
