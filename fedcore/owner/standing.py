"""How a grant stands on this host: in force, waiting for a person, refused, or revoked. Derived, never decided here.

The policy decides on every order anew; this says beforehand what it will come to, for the owner, the coordinator
and whoever waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fedcore.owner.config import Config, Dataset
from fedcore.owner.facts import Ruling
from fedcore.owner.held_grant import HeldGrant
from fedcore.owner.reach import Reach, beyond_ceilings
from fedcore.wire.access import Standing


@dataclass(frozen=True)
class Stand:
    """How a grant stands, and why: what exceeds which ceiling, or what stands against it."""

    standing: Standing
    why: tuple[str, ...] = ()


def stand_of(
    held: HeldGrant,
    policy: Config,
    character_steps: Sequence[str],
) -> Stand:
    """How a grant stands under this policy. `character_steps` are those of its request, as in the policy's facts."""
    if held.ruling is not None and held.ruling.is_final:
        said = f"{held.ruling} by {held.ruled_by}" + (f": {held.reason}" if held.reason else "")
        return Stand(Standing(held.ruling.value), (said,))
    offer = policy.datasets.get(held.request.dataset.name)
    if offer is None:
        return Stand(Standing.REFUSED, (f"owner.toml offers no dataset {held.request.dataset.name!r}",))
    reach = Reach.of(held.request, held.limits, offer, character_steps, held.received_at)
    against = tuple(_against(held, reach, offer))
    if against:
        return Stand(Standing.REFUSED, against)
    if policy.scientist(held.signed.signer) is None:
        return Stand(
            Standing.WAITING, ("owner.toml names no scientist with this key: add one under [[scientists]]",)
        )
    if held.told.download and not held.limits.download:
        return Stand(
            Standing.WAITING,
            ("it may not be downloaded here, and at the coordinator it may: tighten it there too",),
        )
    above = beyond_ceilings(reach, offer.ceilings)
    if above and held.ruling is not Ruling.CONFIRMED:
        return Stand(Standing.WAITING, above)
    return Stand(Standing.IN_FORCE)


def _against(held: HeldGrant, reach: Reach, offer: Dataset) -> Iterator[str]:
    """Why nothing could ever run under the grant, as the dataset's own settings are now."""
    where = f"[datasets.{held.request.dataset.name}]"
    if reach.purpose not in offer.purposes:
        yield f"the purpose {reach.purpose} is not in purposes of {where}"
    for setting, granted, possible in (
        ("protocols", held.limits.protocols, reach.limits.protocols),
        ("backends", held.limits.backends, reach.limits.backends),
        ("models", held.limits.models, reach.limits.models),
    ):
        if not possible:
            yield f"none of {', '.join(granted) or 'nothing'} is in {setting} of {where}"
    if held.limits.download and not offer.download:
        yield f"rows may be downloaded under it, and {where} has no download"
