"""The comparison of runs: quality, time, bytes, leakage and trust of each protocol, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

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


@dataclass(frozen=True)
class Line:
    """One model of the comparison: a joint one, or one owner's own. `tested_on` says whose held-out rows."""

    name: str
    tested_on: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Several runs' reports, as `GET /api/runs/ID/report` gives them, in the order of their showing."""

    reports: Sequence[Mapping[str, Any]]

    @property
    def reference(self) -> Mapping[str, Any] | None:
        """The report of the run on plaintext at the reference host, if it is among them."""
        return next((report for report in self.reports if report["protocol"] == "reference"), None)

    def short_name_of(self, report: Mapping[str, Any]) -> str:
        """The run's protocol, with its backend where several runs have the same protocol."""
        same = [other for other in self.reports if other["protocol"] == report["protocol"]]
        return str(report["protocol"]) if len(same) == 1 else self.name_of(report)

    def name_of(self, report: Mapping[str, Any]) -> str:
        """How a run is called in the comparison, such as `pooled (keyed_tokens)`."""
        return f"{report['protocol']} ({report['backend']['name']})"

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

    def show(self, console: Console | None = None) -> None:
        """Print the comparison as tables."""
        blocks = [self._quality_table(), self._owner_table(), self._cost_table(), self._exposure()]
        (console or Console()).print(Group(*(part for block in blocks for part in (block, Text()))))

    def _owner_names(self) -> list[str]:
        names = [owner["host_name"] for report in self.reports for owner in report["owners"]]
        return list(dict.fromkeys(names))

    def _quality_table(self) -> Table:
        table = Table(title="Quality on the rows that all owners kept back", title_justify="left")
        table.add_column("model")
        table.add_column("rows", justify="right")
        for title in SHOWN_METRICS.values():
            table.add_column(title, justify="right")
        for line in self.joint_lines():
            table.add_row(line.name, f"{line.metrics['rows']:,}", *figures(line.metrics))
        for name, difference in self.differences().items():
            table.add_row(f"  {name} − reference", "", *figures(difference, signed=True), style="cyan")
        table.add_row("always the majority class", "", *figures(self.majority()), style="dim")
        return table

    def _owner_table(self) -> Table:
        table = Table(title="Quality on each owner's own held-out rows", title_justify="left")
        for title in ("owner", "model"):
            table.add_column(title)
        table.add_column("rows", justify="right")
        for title in SHOWN_METRICS.values():
            table.add_column(title, justify="right")
        for line in self.owner_lines():
            table.add_row(line.tested_on, line.name, f"{line.metrics['rows']:,}", *figures(line.metrics))
        return table

    def _cost_table(self) -> Table:
        table = Table(title="Time and bytes", title_justify="left")
        for title in ("run", "wall time", "computing", "other", "sent by owners", "plaintext", "epsilon"):
            table.add_column(title, justify="left" if title == "run" else "right")
        for report in self.reports:
            seconds, owners = report["seconds"], report["owners"]
            table.add_row(
                self.name_of(report),
                f"{seconds['total']:.1f} s",
                f"{seconds['computing']:.1f} s",
                f"{seconds['overhead']:.1f} s",
                f"{sum(owner['bytes_sent'] for owner in owners) / MEBI:.1f} MiB",
                f"{sum(owner['plaintext_bytes'] for owner in owners) / MEBI:.1f} MiB",
                str(report["privacy"]["epsilon"]),
            )
        return table

    def _exposure(self) -> Table:
        table = Table(title="What leaves, and who could read rows", title_justify="left", show_lines=True)
        for title in ("run", "what an observer learns", "who could read rows"):
            table.add_column(title)
        for report in self.reports:
            table.add_row(self.name_of(report), *exposure_of(report))
        return table


def exposure_of(report: Mapping[str, Any]) -> tuple[str, str]:
    """In plain words: what a run shows of the rows to an observer, and which coalitions could read them."""
    if report["protocol"] == "local":
        return "Nothing but metrics leaves an owner.", "Nobody but the owner."
    backend = report["backend"]
    lead = "The tokens are pseudonymised, not encrypted. " if backend["pseudonymised"] else ""
    if report["protocol"] == "reference":
        lead = "The reference host sees the rows' features in plaintext; the coordinator sees sealed bytes. "
    learns = f"{lead}Visible: {'; '.join(backend['leakage'])}."
    return learns, " ".join(backend["trust"])


def figures(metrics: Mapping[str, float | None], signed: bool = False) -> list[str]:
    """The shown metrics as text, in their order; a dash where there is no figure."""
    found = [metrics.get(name) for name in SHOWN_METRICS]
    return ["–" if value is None else f"{value:+.4f}" if signed else f"{value:.4f}" for value in found]
