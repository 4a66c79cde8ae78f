"""What a grant could reach on this host, held against the ceilings within which it takes effect at once.

A grant reaches as far as it goes itself, and never further than the dataset's own settings: those are the absolute
limit, whatever anybody confirms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fedcore.owner.budgets import in_micro
from fedcore.owner.ceilings import Ceilings
from fedcore.owner.config import Dataset
from fedcore.owner.limits import MICRO, Limits, shown_epsilon
from fedcore.wire.access import AccessRequest
from fedcore.wire.encoding import LARGEST_INTEGER
from fedcore.wire.requests import TOLERANCE_SECONDS

DAY: Final = 86_400


@dataclass(frozen=True)
class Reach:
    """What a grant could reach on this host."""

    purpose: str
    limits: Limits
    character_steps: tuple[str, ...]
    seconds: int

    @classmethod
    def of(
        cls,
        request: AccessRequest,
        limits: Limits,
        offer: Dataset,
        character_steps: Sequence[str],
        received_at: int,
    ) -> Reach:
        """What a grant with these limits could reach of a dataset, from when this host first saw it."""
        allowed = tuple(step for step in character_steps if step in offer.character_steps)
        seconds = limits.expires_at - received_at
        return cls(request.purpose, reached(limits, offer), allowed, seconds)


def reached(limits: Limits, offer: Dataset) -> Limits:
    """How far a grant with these limits goes on a dataset, whose own settings limit every grant."""
    narrowed = limits.within(_limits_of(offer))
    each = in_micro(offer.epsilon)
    if each == "none":
        return narrowed
    together = narrowed.model_copy(update={"epsilon_micro": each * max(1, narrowed.releases)})
    return narrowed.within(together)


def _limits_of(offer: Dataset) -> Limits:
    return Limits(
        protocols=offer.protocols,
        backends=offer.backends,
        models=offer.models,
        epsilon_micro=in_micro(offer.epsilon_total),
        releases=offer.releases,
        minimum_owners=offer.minimum_owners,
        expires_at=LARGEST_INTEGER,
        download=offer.download,
    )


def beyond_ceilings(reach: Reach, ceilings: Ceilings) -> tuple[str, ...]:
    """What of the reach exceeds which ceiling, in plain words. Nothing: the grant takes effect at once."""
    return tuple(_beyond(reach, ceilings))


def _beyond(reach: Reach, ceilings: Ceilings) -> Iterator[str]:
    limits = reach.limits
    for setting, names, most in (
        ("purposes", (reach.purpose,), ceilings.purposes),
        ("protocols", limits.protocols, ceilings.protocols),
        ("backends", limits.backends, ceilings.backends),
        ("models", limits.models, ceilings.models),
        ("character_steps", reach.character_steps, ceilings.character_steps),
    ):
        above = [name for name in names if name not in most]
        if above:
            yield f"{setting}: {', '.join(above)} (at once: {', '.join(most) or 'nothing'})"
    if limits.releases > ceilings.releases:
        yield f"releases: {limits.releases} (at once: at most {ceilings.releases})"
    if limits.minimum_owners < ceilings.minimum_owners:
        yield f"minimum_owners: {limits.minimum_owners} (at once: {ceilings.minimum_owners} or more)"
    # The clocks of scientist and owner may differ as much as requests between hosts may.
    if reach.seconds > ceilings.days * DAY + TOLERANCE_SECONDS:
        yield f"days: {reach.seconds / DAY:.1f} (at once: at most {ceilings.days})"
    if ceilings.epsilon != "none" and (
        limits.epsilon_micro == "none" or limits.epsilon_micro > ceilings.epsilon * MICRO
    ):
        yield f"epsilon: {shown_epsilon(limits.epsilon_micro)} (at once: at most {ceilings.epsilon})"
    if limits.download and not ceilings.download:
        yield "download: pseudonymised rows may be downloaded (at once: not)"
