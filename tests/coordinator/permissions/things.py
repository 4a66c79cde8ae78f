"""Who sees which row of the world: one line for each. Whoever is not named must not be able to tell that it exists.

`word` stands in the row's texts and nowhere else; a page may show it only to those who see the row.
"""

from __future__ import annotations

from typing import Final

from tests.coordinator.permissions.who import (
    EVERYBODY,
    NONE,
    ROOT,
    SEES_ALL,
    WITH_ROLE,
    Who,
    overseen,
    who,
)

MISSING: Final = "missing"
"""The name of a row that does not exist."""

HOSPITAL, BANK = overseen("north-hospital"), overseen("south-bank")

SEEN: Final[dict[str, dict[str, Who]]] = {
    "requests": {
        "waiting": who("sam") | HOSPITAL,
        "asked back": who("sam") | HOSPITAL,
        "renewal": who("sam") | HOSPITAL,
        "granted": who("sam") | HOSPITAL,
        "revoked": who("sam") | HOSPITAL,
        "refused": who("sam") | HOSPITAL,
        "elsewhere": who("sam") | BANK,
        "eves": who("eve") | BANK,
        "doras": who("dora") | HOSPITAL,
    },
    "grants": {
        "granted": who("sam") | HOSPITAL,
        "revoked": who("sam") | HOSPITAL,
        "elsewhere": who("sam") | BANK,
        "eves": who("eve") | BANK,
    },
    "runs": {
        "running": who("sam") | HOSPITAL | BANK,
        "evaluated": who("sam") | HOSPITAL | BANK,
        "finished": who("sam") | HOSPITAL | BANK,
        "eves": who("eve") | BANK,
    },
    "datasets": {"north": WITH_ROLE, "south": WITH_ROLE, "withdrawn": HOSPITAL, "of closed": HOSPITAL},
    "hosts": {
        "north": WITH_ROLE,
        "south": WITH_ROLE,
        "lab": WITH_ROLE,
        "closed": HOSPITAL,
        "spare": WITH_ROLE,
    },
    "organisations": {"north-hospital": WITH_ROLE, "cloud-house": WITH_ROLE, "spare": WITH_ROLE},
    "people": {
        "sam": who("sam") | overseen("university"),
        "olga": who("olga") | HOSPITAL,
        "paul": who("paul") | BANK,
        "ada": who("ada") | overseen("cloud-house"),
        "spare": HOSPITAL,
        "root": ROOT | overseen("north-hospital"),
    },
    "notices": {"sams": who("sam"), "olgas": who("olga")},
    "dry runs": {
        "of waiting": who("sam") | HOSPITAL,
        "of eves": who("eve") | BANK,
        "of a plan": who("eve") | SEES_ALL,
    },
    "keys": {
        "sams": who("sam") | overseen("university"),
        "eves": who("eve") | SEES_ALL,
        "olgas": who("olga") | HOSPITAL,
    },
    "tokens": {"sams": who("sam")},
    "invitations": {"spares": EVERYBODY},
    "lockouts": {"sams": SEES_ALL | who("uma")},
    "entries": {
        "of olgas approval": HOSPITAL | who("olga"),
        "of pauls approval": BANK,
    },
    "orders": {"norths": who("north"), "souths": who("south"), "to evaluate": who("north")},
    "mocks": {"norths": who("north"), "souths": who("south")},
    "applications": {"governance": WITH_ROLE, "runs": WITH_ROLE},
    "nothing": {},
}
"""For each kind of row, its rows by name and who sees them."""

CATALOGUE: Final[dict[str, dict[str, Who]]] = {
    "datasets": {"north": WITH_ROLE, "south": WITH_ROLE, "withdrawn": NONE, "of closed": NONE},
    "hosts": {"north": WITH_ROLE, "south": WITH_ROLE, "lab": WITH_ROLE, "closed": NONE, "spare": WITH_ROLE},
}
"""What the catalogue lists: only what may be asked for now, whoever looks."""
