"""Renewals: requests that ask for a grant again, for another period and other releases, and for nothing else."""

from __future__ import annotations

from typing import Any, Final

from fedcore.coordinator.governance.limits import Limits
from fedcore.coordinator.governance.models import AccessRequest, RequestState
from fedcore.wire import access as wire

MAY_DIFFER: Final = {"releases", "expires_at", "reason", "replaces", "nonce"}


def is_renewal(request: AccessRequest) -> bool:
    """Whether it names a grant of the same scientist, signed with the same key, and differs only in period and
    releases from what was asked then. A grant that was revoked or given back is not renewed."""
    old = request.replaces
    if old is None or old.state != RequestState.APPROVED or old.signer != request.signer:
        return False
    return _constant(request) == _constant(old)


def limits_of_renewal(request: AccessRequest) -> Limits | None:
    """The limits of the grant that is renewed, with period and releases as asked; None for what is no renewal."""
    old = request.replaces
    if old is None or not is_renewal(request):
        return None
    grant = old.grant
    return Limits(
        protocols=tuple(grant.protocols),
        backends=tuple(grant.backends),
        model_types=tuple(grant.model_types),
        epsilon_micro=grant.epsilon_micro,
        minimum_owners=grant.minimum_owners,
        download=grant.download,
    )


def _constant(request: AccessRequest) -> dict[str, Any]:
    asked = wire.AccessRequest.parse(request.text).model_dump(mode="json")
    return {name: value for name, value in asked.items() if name not in MAY_DIFFER}
