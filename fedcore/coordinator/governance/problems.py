"""The error of governance: a decision, request or release that was not taken."""

from __future__ import annotations

from collections.abc import Mapping


class DecisionError(Exception):
    """A decision that was not taken. The text states the rule, the subject and the fix; `code` is for programs, and
    `mistakes` says it limit by limit where limits were wrong."""

    def __init__(self, code: str, detail: str, mistakes: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.mistakes = dict(mistakes or {})
