"""The one error of the demonstration: what went wrong, and what to do about it."""

from __future__ import annotations


class DemoError(Exception):
    """`problem` says what happened, `remedy` what the reader can do, `log` the last lines of a process, if any."""

    def __init__(self, problem: str, remedy: str, log: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        self.log = log
        super().__init__(f"{problem} {remedy}")
