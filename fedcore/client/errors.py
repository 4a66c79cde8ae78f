"""The client's errors.

FedcoreError
├── Unreachable      the coordinator did not answer
├── NotLoggedIn      there is no token, or it has expired
│   └── CodeNeeded   the code of the second factor is missing
├── Refused          the coordinator or an owner refused; `code` and `problems` say what
└── RunFailed        a run ended without a model; `code`, and the owner host where one is to blame
"""

from __future__ import annotations

from collections.abc import Sequence

from fedcore.wire.text import one_line


class FedcoreError(Exception):
    """Base class of all errors of the client. The text says rule, subject and fix."""


class Unreachable(FedcoreError):
    """The coordinator did not answer, or answered with something that is no fedcore answer."""


class NotLoggedIn(FedcoreError):
    """The request needs a token that is missing, expired or revoked."""


class CodeNeeded(NotLoggedIn):
    """Username and password are right, and the code of the person's second factor is needed too."""


class Refused(FedcoreError):
    """A refusal. `code` is machine-readable; `problems` has one sentence for each mistake."""

    def __init__(self, code: str, detail: str, problems: Sequence[str] = ()) -> None:
        self.code = code
        self.detail = detail
        self.problems = list(problems)
        listed = "".join(f"\n  - {one_line(problem)}" for problem in self.problems)
        said = f"Refused [{one_line(code)}]:{listed}" if listed else f"{one_line(detail)} [{one_line(code)}]"
        super().__init__(said)


class RunFailed(FedcoreError):
    """A run that ended as failed, cancelled or expired. `code` says why, `remedy` what to do about it."""

    def __init__(self, run: str, state: str, code: str, detail: str, remedy: str = "") -> None:
        self.run = run
        self.state = state
        self.code = code
        self.remedy = remedy
        more = f" {remedy}" if remedy and remedy not in detail else ""
        super().__init__(one_line(f"Run {run[:12]} {state}: {detail}{more} [{code}]"))
