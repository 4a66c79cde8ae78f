"""A grant in plain words, for the person on this host who confirms, refuses or revokes it.

What leaves, what it shows and which coalitions could read rows comes from what the installed encryption backends
declare; of what is not installed nothing is known, and nothing runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fedcore.owner.checkup import what_it_shows
from fedcore.owner.console import marked
from fedcore.owner.deciding import Governed
from fedcore.owner.facts import DatasetFacts
from fedcore.owner.held_grant import HeldGrant
from fedcore.owner.installed import character_steps_asked
from fedcore.owner.limits import Limits
from fedcore.owner.reach import reached
from fedcore.owner.standing import Stand, stand_of
from fedcore.plugin_api.registry import Registry
from fedcore.wire.access import AccessRequest, Standing
from fedcore.wire.keys import fingerprint
from fedcore.wire.spec import Pipeline, Protocol

PROTOCOL_TEXTS: Final[dict[Protocol, str]] = {
    Protocol.LOCAL: "this host trains on its own rows alone; only counts of scores and the training's curve leave",
    Protocol.REFERENCE: "the preprocessed rows go, sealed on the way, to a reference host that owner.toml trusts; it "
    "can read them as far as the backend lets it",
    Protocol.POOLED: "the preprocessed and protected rows go to the coordinator, with their labels; the scientist gets "
    "the model that it trains on the rows of all owners",
    Protocol.SHARED: "the preprocessed rows go, in two shares that each look random, to two compute owners, which "
    "train one model with randomness from a dealer; any two of these three could together read the rows of all owners; "
    "the scientist gets the model",
}
STANDING_TEXTS: Final[dict[Standing, str]] = {
    Standing.IN_FORCE: "in force",
    Standing.WAITING: "waits for a person here",
    Standing.REFUSED: "refused",
    Standing.REVOKED: "revoked",
}


@dataclass(frozen=True)
class Paragraph:
    """One part of what a person reads."""

    title: str
    lines: tuple[str, ...]


def stand_under(governed: Governed, held: HeldGrant) -> Stand:
    """How a grant stands under the policy in force."""
    steps = character_steps_asked(governed.registry, held.request)
    return stand_of(held, governed.policy, steps)


def standing_in_words(held: HeldGrant, stand: Stand, now: float) -> str:
    """The standing in a word or two; what has expired is said to have."""
    over = stand.standing in (Standing.IN_FORCE, Standing.WAITING) and held.limits.expires_at <= now
    return "expired" if over else STANDING_TEXTS[stand.standing]


def scientist_of(governed: Governed, held: HeldGrant) -> str:
    """Who asked: the name in the policy, and the fingerprint of the key."""
    known = governed.policy.scientist(held.signed.signer)
    return f"{known.name if known else 'unknown'} ({fingerprint(held.signed.signer)})"


def limits_in_words(limits: Limits) -> str:
    return " · ".join(limits.in_words().values())


def paragraphs(governed: Governed, held: HeldGrant, stand: Stand, now: float) -> list[Paragraph]:
    """Everything about a grant: who asks, how it stands, what would run, what it shows, what cannot be undone."""
    return [
        Paragraph("How it stands", tuple(_standing(held, stand, now))),
        Paragraph("Who asks", tuple(_who(governed, held))),
        Paragraph("How far it goes", tuple(_limits(governed, held))),
        Paragraph("What would run", tuple(_runs(governed.registry, held))),
        Paragraph("What leaves, and what it shows", tuple(_shows(governed.registry, held))),
        Paragraph("What cannot be called back", tuple(_irrevocable(held))),
    ]


def _standing(held: HeldGrant, stand: Stand, now: float) -> Iterator[str]:
    yield standing_in_words(held, stand, now)
    yield from stand.why
    if held.ruling is not None:
        because = f": {held.reason}" if held.reason else ""
        yield f"{held.ruling} by {held.ruled_by} on {_moment(held.ruled_at)}{because}"
    yield f"first seen here on {_moment(held.received_at)}"


def _who(governed: Governed, held: HeldGrant) -> Iterator[str]:
    yield f"{scientist_of(governed, held)}, who signs as of {held.request.organisation}"
    yield f"key {held.signed.signer}"
    yield from _why_asked(held.request)
    asked = held.request.dataset
    now = governed.datasets.facts(asked.name)
    other = isinstance(now, DatasetFacts) and now.version != asked.version
    changed = ", which is not its version now: nothing runs, the scientist must ask anew" if other else ""
    yield f"dataset {asked.name}, version {asked.version[:12]}{changed}"


def _why_asked(request: AccessRequest) -> Iterator[str]:
    """The purpose and the scientist's own words, which may have several lines."""
    if "\n" not in request.reason.strip():
        yield f"for {request.purpose}" + (f": {request.reason}" if request.reason else "")
        return
    yield f"for {request.purpose}; the reason given:"
    yield from marked(request.reason)


def _limits(governed: Governed, held: HeldGrant) -> Iterator[str]:
    yield f"granted: {limits_in_words(held.told)}"
    if held.set_here is not None:
        yield f"set here: {limits_in_words(held.set_here)}"
    offer = governed.policy.datasets.get(held.request.dataset.name)
    if offer is not None:
        here = reached(held.limits, offer)
        yield f"what is left of it under [datasets.{held.request.dataset.name}]: {limits_in_words(here)}"


def _runs(registry: Registry, held: HeldGrant) -> Iterator[str]:
    for protocol in held.limits.protocols:
        yield f"protocol {protocol}: {PROTOCOL_TEXTS[protocol]}"
    for number, pipeline in enumerate(held.request.pipelines, start=1):
        yield f"pipeline {number}: {_steps(registry, pipeline)}"
    yield f"model types: {', '.join(held.limits.models) or 'none'}"


def _steps(registry: Registry, pipeline: Pipeline) -> str:
    known = registry.names("preprocessing")
    shown = []
    for step in pipeline.steps:
        options = ", ".join(f"{name} = {_quoted(value)}" for name, value in step.options.items())
        plugin: Any = registry.get("preprocessing", step.name) if step.name in known else None
        pieces = " [pieces of words]" if plugin is not None and plugin.shows_characters else ""
        shown.append(step.name + (f"({options})" if options else "") + pieces)
    return " → ".join(shown)


def _quoted(value: object) -> str:
    """An option's value with its texts in quotation marks, so that no text looks like another step."""
    return json.dumps(value, ensure_ascii=False)


def _shows(registry: Registry, held: HeldGrant) -> Iterator[str]:
    if set(held.limits.protocols) <= {Protocol.LOCAL}:
        yield "no row leaves, protected or not: only counts of scores do, for the metrics"
        return
    known = registry.names("encryption")
    for name in held.limits.backends:
        if name not in known:
            yield f"{name} is not installed here: nothing is known of it, and nothing runs with it"
            continue
        backend: Any = registry.get("encryption", name)
        yield f"{name} {what_it_shows(backend)}"
        yield from (f"who could read rows under {name}: {coalition}" for coalition in backend.trust)


def _irrevocable(held: HeldGrant) -> Iterator[str]:
    if Protocol.POOLED in held.limits.protocols:
        yield "protected rows that the coordinator has received, and the model of a finished run"
    if Protocol.REFERENCE in held.limits.protocols:
        yield "rows that the reference host has read"
    if Protocol.SHARED in held.limits.protocols:
        yield "shares that the compute owners have received, and the model of a finished run"
    if held.limits.download:
        yield "the merged pseudonymised rows, once the scientist has downloaded them"
    yield "metrics of finished runs"


def _moment(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
