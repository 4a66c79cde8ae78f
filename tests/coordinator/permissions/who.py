"""Who asks: people by organisation and role, hosts by key, and those who are nobody.

North Hospital owns the data that Sam has asked for, South Bank owns other data, the university employs Sam, the
institute employs Eve, and Cloud House runs the coordinator.
"""

from __future__ import annotations

from typing import Final

from fedcore.coordinator.governance.models import Role

Who = frozenset[str]

OWNER, SCIENTIST = Role.DATA_OWNER, Role.DATA_SCIENTIST
ADMINISTRATOR, AUDITOR = Role.ADMINISTRATOR, Role.AUDITOR

PEOPLE: Final[dict[str, dict[str, tuple[Role, ...]]]] = {
    "north-hospital": {
        "olga": (OWNER,),
        "dora": (OWNER, SCIENTIST),
        "hana": (ADMINISTRATOR,),
        "anna": (AUDITOR,),
        "hugo": (SCIENTIST,),
        "rosa": (),
    },
    "south-bank": {"paul": (OWNER,), "bea": (ADMINISTRATOR,), "bert": (AUDITOR,), "bo": (SCIENTIST,)},
    "university": {
        "sam": (SCIENTIST,),
        "sue": (SCIENTIST,),
        "una": (OWNER,),
        "uma": (ADMINISTRATOR,),
        "udo": (AUDITOR,),
    },
    "institute": {"eve": (SCIENTIST,)},
    "cloud-house": {"ada": (ADMINISTRATOR,), "arno": (AUDITOR,), "ole": (OWNER,), "opal": (SCIENTIST,)},
}
"""The people who may log in and belong to an organisation. Rosa has no role in hers."""


def who(*names: str) -> Who:
    return frozenset(names)


ROOT = who("root")
INACTIVE = who("ivan")
"""Was data owner and administrator of the hospital; kept his password, session, token and key."""
HOMELESS = who("nora")
"""Has every role, and no organisation that they would hold in."""
WITHOUT_ROLE = who("rosa") | HOMELESS
STRANGERS = who("visitor", "a forged token", "a forged session")

HOSTS = who("north", "south", "lab")
"""Hosts that take part, by their keys. Lab is a reference host of the institute."""
NO_HOSTS = who("closed", "stranger")
"""A host of the hospital that is not active any more, and a key that nobody has registered."""

SEES_ALL = ROOT | who("ada", "arno")
EDITS_ALL = ROOT | who("ada")
OVERSEES = {
    "north-hospital": who("olga", "dora", "hana", "anna"),
    "south-bank": who("paul", "bea", "bert"),
    "university": who("una", "uma", "udo"),
    "cloud-house": who("ole"),
}
SCIENTISTS = who("sam", "sue", "eve", "hugo", "dora", "bo", "opal")
WITH_ROLE = frozenset(name for staff in PEOPLE.values() for name, roles in staff.items() if roles) | ROOT
LOGS_IN = WITH_ROLE | WITHOUT_ROLE
EVERY_PERSON = LOGS_IN | INACTIVE
EVERYBODY = EVERY_PERSON | STRANGERS | HOSTS | NO_HOSTS
NONE: Who = frozenset()


def overseen(organisation: str) -> Who:
    """Whoever sees what belongs to this organisation without having a part in it."""
    return OVERSEES[organisation] | SEES_ALL
