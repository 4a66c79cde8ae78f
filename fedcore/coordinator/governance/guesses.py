"""Wrong passwords and codes are counted together, wherever they are asked for: at the log-in, and later.

After too many under one name from one address, nothing is looked at for a while, also what is right.
"""

from __future__ import annotations

from axes.handlers.proxy import AxesProxyHandler
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest

from fedcore.coordinator.governance.people import Person

LOGGING_IN = "log_in"


def are_allowed(request: HttpRequest, person: Person) -> bool:
    """Whether a password or code of this person is looked at now."""
    return bool(AxesProxyHandler.is_allowed(request, {"username": person.username}))


def count(request: HttpRequest, person: Person, refused: str, wanted: str = LOGGING_IN) -> None:
    """Count a wrong one, and record it: `refused` is the code, `wanted` the audit's action that it was for."""
    credentials = {"username": person.username}
    user_login_failed.send(
        sender=__name__, credentials=credentials, request=request, refused=refused, wanted=wanted
    )
