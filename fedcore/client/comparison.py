"""The comparison of runs: quality, time, bytes, leakage and trust of each protocol, side by side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from fedcore.client.errors import FedcoreError

if TYPE_CHECKING:
    from fedcore.plugin_api.attacks.figures import PrivacyAudit

SHOWN_METRICS: Final = {
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "average_precision": "avg. precision",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "accuracy",
    "balanced_accuracy": "bal. accuracy",
}
MEBI: Final = 1024 * 1024


def read_audit(path: Path) -> PrivacyAudit:
    """An owner's privacy audit from a file. Raises `FedcoreError` for a file that has none."""
    from fedcore.plugin_api.attacks.figures import PrivacyAudit

    try:
        return PrivacyAudit.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, AttributeError) as error:
        raise FedcoreError(
            f"{path} is no privacy audit ({error}). An owner makes one with `fedcore-owner attack DATASET --json`."
        ) from None


def protection_of(audit: PrivacyAudit) -> str:
    """What an audit is about, such as `keyed_tokens (minimum_count 5), words`."""
    options = ", ".join(f"{name} {value}" for name, value in audit.options.items())
    return f"{audit.backend}{options and f' ({options})'}, {audit.pipeline}"


@dataclass(frozen=True)
class Line:
    """One model of the comparison: a joint one, or one owner's own. `tested_on` says whose held-out rows."""

    name: str
    tested_on: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Several runs' reports, as `GET /api/runs/ID/report` gives them, in the order of their showing.

    `audits` are what owners found when they attacked their own data under a backend, and chose to give away
    (`fedcore-owner attack --json`): see `read_audit`.
    """

    reports: Sequence[Mapping[str, Any]]
    audits: Sequence[PrivacyAudit] = ()

    @property
    def reference(self) -> Mapping[str, Any] | None:
        """The report of the run on plaintext at the reference host, if it is among them."""
        return next((report for report in self.reports if report["protocol"] == "reference"), None)

    def name_of(self, report: Mapping[str, Any]) -> str:
        """How a run is called, such as `pooled (keyed_tokens)`; with its id where that is not enough."""
        name = _kind(report)
        alone = sum(_kind(other) == name for other in self.reports) == 1
        return name if alone else f"{name} {report['run'][:6]}"

    def joint_lines(self) -> list[Line]:
        """Each joint model, tested on the held-out rows of all owners."""
        joint = [report for report in self.reports if report["protocol"] != "local"]
        return [
            Line(self.name_of(report), "all owners", report["metrics"])
            for report in joint
            if report["metrics"]
        ]

    def owner_lines(self) -> list[Line]:
        """Every model, tested on the held-out rows of each owner alone: what joining brings to whom."""
        return [
            Line(
                "own rows alone" if report["protocol"] == "local" else self.name_of(report),
                owner["host_name"],
                owner["metrics"],
            )
            for owner_name in self._owner_names()
            for report in self.reports
            for owner in report["owners"]
            if owner["host_name"] == owner_name and owner["metrics"]
        ]

    def differences(self) -> dict[str, dict[str, float]]:
        """For each joint run but the reference: metric by metric, how far it is from the reference."""
        base = self.reference["metrics"] if self.reference else None
        if base is None:
            return {}
        return {
            self.name_of(report): {
                metric: report["metrics"][metric] - base[metric]
                for metric in SHOWN_METRICS
                if report["metrics"][metric] is not None and base[metric] is not None
            }
            for report in self.reports
            if report["protocol"] not in ("reference", "local") and report["metrics"]
        }

    def majority(self) -> dict[str, float]:
        """What the model scores that always names the most frequent class: the least that any model must beat."""
        lines = self.joint_lines() or self.owner_lines()
        if not lines:
            return {}
        known = {"f1": lines[0].metrics["majority_f1"], "accuracy": lines[0].metrics["majority_accuracy"]}
        return known | {"roc_auc": 0.5, "balanced_accuracy": 0.5}

    def show(self, console: Console | None = None, exposures: bool = True) -> None:
        """Print the comparison as tables; without `exposures`, not what leaves and who could read rows."""
        from fedcore.client.comparison_tables import tables_of

        (console or Console()).print(tables_of(self, exposures))

    def _owner_names(self) -> list[str]:
        names = [owner["host_name"] for report in self.reports for owner in report["owners"]]
        return list(dict.fromkeys(names))


def exposure_of(report: Mapping[str, Any]) -> tuple[str, str]:
    """In plain words: what a run shows of the rows to an observer, and which coalitions could read them."""
    if report["protocol"] == "local":
        privacy = report["privacy"]
        if privacy["epsilon"] == "none":
            return "Nothing but metrics leaves an owner.", "Nobody but the owner."
        bound = f"of any one row they tell what epsilon {privacy['epsilon']:g} allows (delta {privacy['delta']:g})"
        return f"Nothing but noisy counts leaves an owner: {bound}.", "Nobody but the owner."
    backend = report["backend"]
    shown = "; ".join(backend["leakage"])
    if report["protocol"] == "reference":
        learns = f"The coordinator carries sealed bytes. The reference host sees, as plaintext: {shown}."
    elif report["protocol"] == "shared":
        learns = f"Two compute owners and a dealer see uniformly random numbers; nobody sees a row. Visible: {shown}."
    elif backend["pseudonymised"]:
        learns = f"The tokens are pseudonymised, not encrypted. Visible: {shown}."
    else:
        learns = f"Visible: {shown}."
    return learns, " ".join(backend["trust"])


def privacy_of(report: Mapping[str, Any]) -> str:
    """The epsilon that a run, or one owner of it, has spent, as it stands in a column."""
    epsilon = report["privacy"]["epsilon"]
    return str(epsilon) if isinstance(epsilon, str) else f"{epsilon:g}"


def _kind(report: Mapping[str, Any]) -> str:
    return f"{report['protocol']} ({report['backend']['name']})"


def figures(
    metrics: Mapping[str, float | None], names: Iterable[str] = SHOWN_METRICS, signed: bool = False
) -> list[str]:
    """The named metrics as text, in their order; a dash where there is no figure."""
    found = [metrics.get(name) for name in names]
    return ["–" if value is None else f"{value:+.4f}" if signed else f"{value:.4f}" for value in found]
