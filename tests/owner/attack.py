"""What an attack on the policy is."""

from __future__ import annotations

from dataclasses import dataclass

from fedcore.wire.codes import RefusalCode

from .policy_cases import Case


@dataclass(frozen=True)
class Attack:
    """What is tried, with which case; `rule` stops it with `code`, in words that contain `why`."""

    what: str
    rule: str
    code: RefusalCode
    why: str
    case: Case
