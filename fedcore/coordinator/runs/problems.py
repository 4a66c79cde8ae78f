"""What is wrong with a submitted run: every mistake at once, each with its code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fedcore.wire.codes import EXPLANATIONS, RefusalCode


@dataclass(frozen=True)
class Problem:
    """One mistake: the rule's code, and a text that names the subject and the fix."""

    code: RefusalCode
    detail: str

    @classmethod
    def of(cls, code: RefusalCode, subject: str = "") -> Problem:
        """The code's own explanation, for a subject."""
        return cls(code, f"{subject}: {EXPLANATIONS[code]}" if subject else EXPLANATIONS[code])


Problems = Iterator[Problem]


class Refused(Exception):
    """A run that was not taken. `code` is the first problem's."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(" ".join(problem.detail for problem in problems))
        self.problems = list(problems)

    @property
    def code(self) -> RefusalCode:
        return self.problems[0].code

    @property
    def detail(self) -> str:
        return str(self)
