"""The owners' part: they grant less than was asked, a person confirms on a host, and a grant is revoked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from examples.demo.data import PORTAL
from examples.demo.offer import DATASET
from examples.demo.sam import AUDIT
from examples.demo.stage import HEARD_SECONDS, Stage
from fedcore.client import Session
from fedcore.plugin_api.attacks.figures import PrivacyAudit

SOUTH_AT_ONCE: Final = 3
"""South Bank's ceiling: as many runs a grant may cover without a person at its host."""
_ATTACKED_ROWS: Final = 4_000


@dataclass(frozen=True)
class Less:
    """What an owner grants of a request: fewer runs, for fewer days."""

    releases: int
    days: int

    @property
    def limits(self) -> dict[str, Any]:
        until = datetime.now(UTC) + timedelta(days=self.days)
        return {"releases": self.releases, "expires_at": until.isoformat()}


OLGAS: Final = Less(releases=4, days=30)
OTTOS: Final = Less(releases=6, days=30)


def approve_waiting(
    session: Session, limits_of: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda asked: {}
) -> list[dict[str, Any]]:
    """Approve the waiting requests that a data owner sees, within limits; returns them as they are then."""
    waiting = [item for item in session.requests() if item["state"] == "waiting"]
    return [
        session.decide(item["digest"], "approve", reason="For the demonstration.", **limits_of(item))
        for item in waiting
    ]


def attack_own_data(stage: Stage) -> None:
    """Before she decides, Olga sees what pseudonyms of her rows would give away, and lets Sam have the figures."""
    host, offer = stage.cast.owners[0], stage.offers[0]
    stage.teller.does(
        "Olga", "attacks her own rows as an observer of their pseudonyms could, to see what shows."
    )
    stage.teller.types(host.title, f"fedcore-owner attack {offer.name} --pipeline char_ngrams --json")
    columns = [word for name in offer.columns for word in ("--column", name)]
    options = ["--pipeline", "char_ngrams", "--rows", str(_ATTACKED_ROWS), *columns, "--json"]
    printed = stage.at_host(host, "attack", offer.name, *options)
    found = printed[printed.index("{") :]
    (stage.cast.university.directory / AUDIT).write_text(found)
    figure = PrivacyAudit.from_json(json.loads(found)).figures[0]
    stage.teller.prints(
        [f"{figure.attack}: {figure.found:.0%} of all tokens read, {figure.control:.0%} if unprotected"]
    )
    stage.teller.does(
        "", "What the attacks find stands in the comparison below; shares leave nothing to attack."
    )


def decide(stage: Stage) -> dict[str, dict[str, Any]]:
    """Olga and Otto approve what Sam asks, less than it; returns the requests by the owners' names."""
    olga = approve_waiting(stage.session("olga"), lambda asked: OLGAS.limits if _is_main(asked) else {})
    [otto] = approve_waiting(stage.session("otto"), lambda asked: OTTOS.limits)
    [olgas] = [item for item in olga if _is_main(item)]
    [portal] = [item for item in olga if item["dataset"] == PORTAL]
    _tell(stage, "Olga", olgas, "in_force")
    stage.teller.does("Olga", f"grants the private runs on the {PORTAL}, which has a budget of its own.")
    stage.teller.answers(_standing(stage, "olga", portal["digest"], "in_force"))
    _tell(stage, "Otto", otto, "waiting")
    return {"olga": olgas, "otto": otto}


def confirm(stage: Stage, request: Mapping[str, Any]) -> None:
    """A person at South Bank's host sees why a grant waits there, and confirms it."""
    host, digits = stage.cast.owners[1], request["digest"][:12]
    stage.teller.types(host.title, "fedcore-owner grants list")
    [line] = [text for text in stage.at_host(host, "grants", "list").splitlines() if text.startswith(digits)]
    columns = re.split(r"\s{2,}", line.strip())
    stage.teller.prints([f"{digits}  {columns[1]}  {columns[-1]}"])
    stage.show_at_host(host, "grants", "confirm", digits)
    stage.teller.answers(_standing(stage, "otto", request["digest"], "in_force"))


def revoke(stage: Stage, request: Mapping[str, Any]) -> None:
    """Olga revokes a grant on her own host, and the coordinator hears of it."""
    host = stage.cast.owners[0]
    stage.show_at_host(host, "grants", "revoke", request["digest"][:12])
    stage.teller.answers(_standing(stage, "olga", request["digest"], "revoked"))


def _is_main(request: Mapping[str, Any]) -> bool:
    return bool(request["dataset"] == DATASET)


def _tell(stage: Stage, who: str, request: Mapping[str, Any], standing: str) -> None:
    grant = request["grant"]
    least = f"{grant['releases']} runs until {grant['expires_at'][:10]}"
    asked = f"{request['releases']} until {request['expires_at'][:10]}"
    stage.teller.does(who, f"grants {least}; Sam asked for {asked}.")
    stage.teller.answers(_standing(stage, who.lower(), request["digest"], standing))


def _standing(stage: Stage, username: str, digest: str, expected: str) -> str:
    """Wait until a host's word on a grant has come to the coordinator; returns it. Raises `DemoError`."""
    session = stage.session(username)
    stage.processes.wait_until(
        f"The grant {digest[:12]} is {expected} at its host",
        lambda: session.request(digest)["grant"]["standing"] == expected,
        HEARD_SECONDS,
    )
    return str(session.request(digest)["grant"]["at_host"])
