"""One grant as this host holds it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from fedcore.owner.facts import Ruling
from fedcore.owner.limits import Limits
from fedcore.wire.access import AccessRequest, Standing
from fedcore.wire.signing import Signed


class GrantError(Exception):
    """Something that cannot be done with a grant. The text states the rule, the subject and the fix."""


@dataclass(frozen=True)
class HeldGrant:
    """One grant as this host holds it.

    `told` is the narrowest that the coordinator has ever said of it, within the request; `set_here` are the limits
    that a person set on this host. `standing` is what the coordinator was last told, and since when.
    """

    digest: str
    signed: Signed
    request: AccessRequest
    told: Limits
    set_here: Limits | None
    received_at: int
    ruling: Ruling | None
    ruled_by: str
    ruled_at: int
    reason: str
    standing: Standing | None
    standing_at: int

    @property
    def limits(self) -> Limits:
        """How far the grant goes on this host, at most."""
        return self.told if self.set_here is None else self.told.within(self.set_here)

    @property
    def is_over(self) -> bool:
        return self.ruling is not None and self.ruling.is_final

    def narrowed(self, **changes: object) -> Limits:
        """The grant's limits with these changes. Raises `GrantError` where one is no limit, or would widen it."""
        try:
            wanted = Limits.model_validate({**self.limits.model_dump(), **changes})
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, item['loc'][:1]))}: {item['msg']}" for item in error.errors()
            )
            raise GrantError(f"These are no limits of a grant ({wrong}). Correct them.") from None
        wider = wanted.beyond(self.limits)
        if wider:
            has = self.limits.in_words()
            raise GrantError(
                f"Grant {short(self.digest)} goes as far as: {', '.join(has[name] for name in wider)}. It can "
                "only be narrowed: choose less, or have the scientist ask anew."
            )
        if not (wanted.protocols and wanted.backends and wanted.models and wanted.releases > 0):
            raise GrantError(
                f"With these limits nothing could run under grant {short(self.digest)}. Refuse or revoke it."
            )
        return wanted


def short(digest: str) -> str:
    """So much of a grant's digest that a person can tell it from the others here."""
    return digest[:12]
