"""How far a grant goes, as one value. Limits are only ever combined, and combining them only ever narrows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Self, TypeVar

from fedcore.owner.description import Local
from fedcore.wire.access import AccessRequest, Grant
from fedcore.wire.spec import MicroEpsilon, Protocol

Word = TypeVar("Word", bound=str)
MICRO: Final = 1_000_000
_LATEST: Final = 253_402_300_799
"""The last second that a calendar shows; the wire's seconds go beyond."""


class Limits(Local):
    """What runs under a grant may use. Lists may be empty: then nothing may run.

    `epsilon_micro` is the most privacy that all runs together may cost, in millionths; `none` sets no bound.
    `expires_at` is in seconds since 1970.
    """

    protocols: tuple[Protocol, ...]
    backends: tuple[str, ...]
    models: tuple[str, ...]
    epsilon_micro: MicroEpsilon
    releases: int
    minimum_owners: int
    expires_at: int
    download: bool

    @classmethod
    def of_request(cls, request: AccessRequest) -> Self:
        """Everything that was asked for."""
        return cls(
            protocols=request.protocols,
            backends=request.backends,
            models=request.models,
            epsilon_micro=request.privacy.epsilon_micro,
            releases=request.releases,
            minimum_owners=request.minimum_owners,
            expires_at=request.expires_at,
            download=request.download,
        )

    @classmethod
    def of_grant(cls, grant: Grant) -> Self:
        """What the coordinator says was granted, which is only trusted to be less than what was asked for."""
        return cls(**grant.model_dump(exclude={"request"}))

    def within(self, other: Limits) -> Limits:
        """What both allow."""
        return Limits(
            protocols=_common(self.protocols, other.protocols),
            backends=_common(self.backends, other.backends),
            models=_common(self.models, other.models),
            epsilon_micro=_smaller(self.epsilon_micro, other.epsilon_micro),
            releases=min(self.releases, other.releases),
            minimum_owners=max(self.minimum_owners, other.minimum_owners),
            expires_at=min(self.expires_at, other.expires_at),
            download=self.download and other.download,
        )

    def in_words(self) -> dict[str, str]:
        """Each limit as a person reads it, by its name."""
        moment = datetime.fromtimestamp(min(self.expires_at, _LATEST), UTC)
        return {
            "protocols": ", ".join(self.protocols) or "none",
            "backends": ", ".join(self.backends) or "none",
            "models": ", ".join(self.models) or "none",
            "epsilon_micro": f"epsilon {shown_epsilon(self.epsilon_micro)}",
            "releases": f"{self.releases} run{'s' * (self.releases != 1)}",
            "minimum_owners": f"at least {self.minimum_owners} owner{'s' * (self.minimum_owners != 1)}",
            "expires_at": f"until {moment:%Y-%m-%d %H:%M} UTC",
            "download": "with download" if self.download else "without download",
        }

    def beyond(self, other: Limits) -> tuple[str, ...]:
        """The names of the limits that go further than those of `other`."""
        narrowed = self.within(other)
        return tuple(name for name in Limits.model_fields if getattr(self, name) != getattr(narrowed, name))


def shown_epsilon(epsilon: MicroEpsilon) -> str:
    """An epsilon in millionths as a person reads it."""
    return "none" if epsilon == "none" else f"{epsilon / MICRO:g}"


def _common(ours: tuple[Word, ...], theirs: tuple[Word, ...]) -> tuple[Word, ...]:
    return tuple(name for name in ours if name in theirs)


def _smaller(ours: MicroEpsilon, theirs: MicroEpsilon) -> MicroEpsilon:
    if ours == "none":
        return theirs
    return ours if theirs == "none" else min(ours, theirs)
