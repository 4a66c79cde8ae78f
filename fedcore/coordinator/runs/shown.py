"""A run as its page in the admin shows it: where it is, what stopped it, how good its model is, what was leaked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fedcore.coordinator.runs.models import Run
from fedcore.coordinator.runs.parts import Ending, Parts
from fedcore.coordinator.runs.rights import rights_of
from fedcore.coordinator.runs.states import RunState

METRICS: Final[tuple[tuple[str, Any], ...]] = (
    ("f1", gettext_lazy("F1")),
    ("roc_auc", gettext_lazy("ROC AUC")),
    ("average_precision", gettext_lazy("average precision")),
    ("precision", gettext_lazy("precision")),
    ("recall", gettext_lazy("recall")),
    ("accuracy", gettext_lazy("accuracy")),
    ("majority_f1", gettext_lazy("F1 of guessing the majority")),
    ("majority_accuracy", gettext_lazy("accuracy of guessing the majority")),
    ("rows", gettext_lazy("rows kept back")),
)
OF_OWNERS: Final[tuple[tuple[str, Any, Callable[[Any], str]], ...]] = (
    ("rows_trained", gettext_lazy("rows trained on"), lambda rows: f"{rows:,}"),
    ("bytes_sent", gettext_lazy("sent to the coordinator"), filesizeformat),
)

RIGHTS: Final[tuple[tuple[str, Any], ...]] = (
    ("reuse", gettext_lazy("Another run under the same grants")),
    ("download_model", gettext_lazy("Download of the model from the coordinator")),
    ("predict", gettext_lazy("Use of the model by the owners, on rows of their own")),
    ("download_dataset", gettext_lazy("Download of the merged pseudonymised dataset")),
)


@dataclass(frozen=True)
class Table:
    """Cells as text. Each row begins with its heading."""

    headings: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class ShownRun:
    """Everything that stands above the fields of a run's page."""

    run: Run
    ending: Ending
    colour: str
    percent: int
    quality: Table | None
    seconds: list[tuple[str, str]]
    backend: dict[str, Any] | None
    rights: list[tuple[str, bool]]
    because: str


def show(run: Run, parts: Parts, colour: str) -> ShownRun:
    """The run as far as `parts` tells it. `colour` is the badge of its state."""
    report = parts.report_of(run) or {}
    rights = rights_of(run, timezone.now())
    is_finished = run.state == RunState.FINISHED
    seconds = ((name, f"{spent:.2f}") for name, spent in report.get("seconds", {}).items())
    return ShownRun(
        run=run,
        ending=parts.ending_of(run),
        colour=colour,
        percent=round(100 * run.progress),
        quality=_quality(report) if report else None,
        seconds=list(seconds),
        backend=report.get("backend"),
        rights=[(str(text), getattr(rights, name)) for name, text in RIGHTS] if is_finished else [],
        because=parts.because(run, rights),
    )


def _quality(report: dict[str, Any]) -> Table:
    """One column for all owners together and one for each: every owner's own rows judge the model."""
    owners, others = report["owners"], report.get("other_owners", [])
    columns = [report["metrics"] or {}, *((owner["metrics"] or {}) for owner in owners)]
    rows = [[str(name), *(shown(column.get(key)) for column in columns)] for key, name in METRICS]
    for key, name, form in OF_OWNERS:
        total = "-" if others else form(sum(owner[key] for owner in owners))
        rows.append([str(name), total, *(form(owner[key]) for owner in owners)])
    return Table(["", _("all owners"), *(owner["host_name"] for owner in owners)], rows)


def shown(value: Any) -> str:
    """A metric as text: counts in full, everything else with four decimals."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
