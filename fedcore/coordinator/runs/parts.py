"""What of a run each of those sees who see the run: the one place where this is said, for admin and API alike.

| of a run | its scientist, and whoever sees everything | whoever oversees an owner of it |
|---|---|---|
| who takes part with which dataset; protocol, backend, model type, signed spec | yes | yes |
| state, phase, progress, total times, what it shows to whom | yes | yes |
| requests, orders, uploads, lines of its story about one host | of all | of the own hosts |
| figures of one owner: rows, bytes, times, curve, quality, privacy | of all | of the own hosts |
| quality over all owners | with counts and curves | rounded, without: the rest could be reckoned from the own |
| why it ended | code and words | where a host of the own or none was the reason; else only at which host |
| what takes away a right | which grant, and why | where it is a grant on own data; else only that one does |

Which orders and uploads are seen is the rule of their rows (`fedcore.coordinator.runs.models`). The signed spec names
each request by its digest, since every owner's host gets it; what the request says opens only to those who see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django.utils.translation import gettext as _

from fedcore.coordinator.governance.models import OwnerHost, Person
from fedcore.coordinator.runs.models import Run, RunEvent
from fedcore.coordinator.runs.rights import Rights

COUNTED: Final = frozenset({"rows", "confusion", "roc", "precision_recall"})
"""What in the quality over all owners tells how many rows they have; the own subtracted, another owner's."""

OF_EVERYBODY: Final = ("host_name", "organisation", "dataset", "version")
"""What a report tells of another owner."""

DECIMALS: Final = 4


@dataclass(frozen=True)
class Ending:
    """Why a run ended, as far as it is told. Without a code it has not ended, has finished, or ended elsewhere."""

    code: str
    message: str
    remedy: str


class Parts:
    """What one person sees of runs that they see. Reads once which organisations they oversee."""

    def __init__(self, person: Person) -> None:
        self.person = person

    def ending_of(self, run: Run) -> Ending:
        """Why the run ended, or what it waits for."""
        if self._sees(run, run.culprit):
            return Ending(run.code, run.message, run.remedy)
        return Ending("", _ended_at(run.culprit), "")

    def text_of(self, event: RunEvent) -> str:
        """One line of the run's story."""
        if self._sees(event.run, event.host):
            return event.text
        if event.run.ended and event.state == event.run.state:
            return _ended_at(event.host)
        return _("%(host)s has answered.") % {"host": event.host}

    def report_of(self, run: Run) -> dict[str, Any] | None:
        """The report of a finished run; `other_owners` are those of whom it tells only that they took part."""
        report: dict[str, Any] | None = run.report
        if report is None or self._sees_all_owners_of(run):
            return report
        others = [owner for owner in report["owners"] if not self._is_own(owner)]
        return report | {
            "owners": [owner for owner in report["owners"] if self._is_own(owner)],
            "other_owners": [{name: owner[name] for name in OF_EVERYBODY} for owner in others],
            "metrics": self.quality_of(run),
            "training": {"epochs": report["training"].get("epochs", 0)},
        }

    def quality_of(self, run: Run) -> dict[str, Any] | None:
        """The quality over all owners, once the run has finished."""
        quality: dict[str, Any] | None = run.report["metrics"] if run.report else None
        if quality is None or self._sees_all_owners_of(run):
            return quality
        told = {name: value for name, value in quality.items() if name not in COUNTED}
        return {name: value if value is None else round(value, DECIMALS) for name, value in told.items()}

    def because(self, run: Run, rights: Rights) -> str:
        """Which grant takes a right away."""
        host = rights.taken_by.host if rights.taken_by else None
        return rights.because if self._sees(run, host) else _("A grant of another owner takes it away.")

    def _sees_all_of(self, run: Run) -> bool:
        return self.person.sees_everything or run.scientist_id == self.person.pk

    def _sees_all_owners_of(self, run: Run) -> bool:
        owners = run.report["owners"] if run.report else ()
        return self._sees_all_of(run) or all(self._is_own(owner) for owner in owners)

    def _sees(self, run: Run, host: OwnerHost | None) -> bool:
        return host is None or self._sees_all_of(run) or host.organisation_id in self._overseen

    def _is_own(self, owner: dict[str, Any]) -> bool:
        return owner["organisation"] in self._overseen.values()

    @cached_property
    def _overseen(self) -> dict[int, str]:
        return dict(self.person.organisations_with_oversight().values_list("pk", "name"))


def _ended_at(host: OwnerHost | None) -> str:
    text = _("It ended at %(host)s. Why is told to the scientist, and to whoever oversees that host.")
    return text % {"host": host}
