"""Sam, the data scientist, as the scenes at the university have it: a session, and what Sam has noted down."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from examples.demo.offer import DATASET
from examples.demo.plans import plans
from examples.demo.telling import Teller
from fedcore.client import Dataset, FedcoreError, Refused, RunFailed, RunPlan, Session
from fedcore.client.progress import follow

WAIT_SECONDS: Final = 60.0
AUDIT: Final = "audit.json"
"""The file with what an owner's attacks on its own data have found, in `Sam.out`: the owner gave it to Sam."""


@dataclass(frozen=True)
class Sam:
    """`out` is a folder of the university; between two scenes Sam remembers only what lies there."""

    session: Session
    url: str
    columns: tuple[str, ...]
    out: Path
    teller: Teller

    def does(self, text: str) -> None:
        self.teller.does("Sam", text)

    def datasets(self, name: str = DATASET) -> list[Dataset]:
        """The datasets of this name, one of each owner that has it, in the order of the owners' names."""
        found = [dataset for dataset in self.session.datasets() if dataset.name == name]
        return sorted(found, key=lambda dataset: dataset.host_name)

    def plans(self) -> list[RunPlan]:
        reference = next(host for host in self.session.hosts() if host.is_reference)
        return plans(self.columns, reference.card.signing)

    def page_of(self, request: str) -> str:
        """The page of an access request in the admin."""
        return f"{self.url}/admin/governance/accessrequest/{request}/change/"

    # -- what Sam remembers

    @property
    def notes(self) -> dict[str, Any]:
        path = self.out / "notes.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def note(self, **more: Any) -> None:
        (self.out / "notes.json").write_text(json.dumps(self.notes | more))

    # -- what Sam waits for

    def follow(self, run: str, title: str) -> Mapping[str, Any]:
        """Show a run's progress to its end; returns its report. Raises `RunFailed`."""
        follow(self.session, run, f"  {title:<14}", self.teller.console)
        return self.session.report(run)

    def wait_for_state(self, run: str, state: str) -> str:
        """Wait until a run is in this state; returns what it says then. Raises `FedcoreError`."""
        deadline = time.monotonic() + WAIT_SECONDS
        while (found := self.session.run(run))["state"] != state:
            if time.monotonic() > deadline:
                raise FedcoreError(f"The run is {found['state']}, not {state}: {found['message']}")
            time.sleep(0.2)
        return str(found["message"])

    def is_refused(self, code: str, attempt: Callable[[], object]) -> None:
        """Tell the error of an attempt that must be refused with this code. Raises `FedcoreError` otherwise."""
        try:
            attempt()
        except (Refused, RunFailed) as error:
            if error.code != code:
                raise
            self.note(refusals=[*self.notes.get("refusals", []), {"code": code, "text": str(error)}])
            self.teller.refuses(error)
        else:
            raise FedcoreError(f"What should have been refused with {code} was allowed.")
