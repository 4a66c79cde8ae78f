"""What every scene of the story uses: the cast, its running processes, and the voice that tells of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from examples.demo.coordinator import Coordinator
from examples.demo.errors import DemoError
from examples.demo.offer import Offer
from examples.demo.opening import session_of
from examples.demo.organisations import Cast, Organisation
from examples.demo.processes import Process, Processes, program
from examples.demo.telling import Teller, shortened
from fedcore.client import Session

HEARD_SECONDS: Final = 60.0
"""Within this time coordinator and hosts hear of each other's decisions, on the busiest machine."""


@dataclass
class Stage:
    """The running demonstration. `offers` are the owners' main datasets, in the order of `cast.owners`."""

    cast: Cast
    offers: Sequence[Offer]
    coordinator: Coordinator
    processes: Processes
    teller: Teller
    sessions: dict[str, Session] = field(default_factory=dict)

    def session(self, username: str) -> Session:
        """A person's session with the coordinator, logged in once."""
        if username not in self.sessions:
            person = self.cast.person(username)
            self.sessions[username] = session_of(self.cast, self.coordinator, person)
        return self.sessions[username]

    def start_at_host(self, host: Organisation, *words: str) -> Process:
        """Start what a person types at an owner's host: `fedcore-owner …`."""
        command = [program("fedcore-owner"), *words, "--home", str(host.home)]
        name, log = f"fedcore-owner {words[0]} {words[1]}", host.log / f"{words[0]}-{words[1]}.log"
        return self.processes.start(name, host.name, command, host.environment(), log)

    def at_host(self, host: Organisation, *words: str) -> str:
        """The same, to its end; returns its output. Raises `DemoError` if it fails."""
        return self.processes.finish(self.start_at_host(host, *words))

    def show_at_host(self, host: Organisation, *words: str) -> None:
        """The same, with the command and its output shown."""
        self.teller.types(host.title, f"fedcore-owner {' '.join(words)}")
        self.teller.prints(shortened(self.at_host(host, *words)).splitlines())

    def start_sam(self, scene: str) -> Process:
        """Sam's part of a scene: a process of the university's own, which speaks to this terminal."""
        university = self.cast.university
        command = [sys.executable, "-m", "examples.demo.scientist", scene, self.coordinator.url]
        command += ["--out", str(university.directory), "--columns", *self.offers[0].columns]
        log = university.log / "sam.log"
        environment = university.environment()
        return self.processes.start("scientist", university.name, command, environment, log, show=True)

    def sam(self, scene: str) -> None:
        """Sam's part of a scene, to its end. Raises `DemoError` if it does not go as it must."""
        if self.processes.attend(self.start_sam(scene)):
            raise DemoError(
                "The scientist's part did not go as it must.",
                f"The error stands above; the logs are {self.processes.root}/*/log/*.log.",
            )
