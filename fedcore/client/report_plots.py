"""The plots of the comparison's page, as pictures that stand inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from fedcore.client.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Final = {"pooled": "#2563eb", "shared": "#059669", "reference": "#d97706", "local": "#64748b"}
INK, MUTED, RULE = "#0f172a", "#475569", "#e2e8f0"


def plots_of(comparison: Comparison) -> list[str]:
    """Loss, accuracy, ROC, precision and recall, and one confusion matrix for each joint model (HTML images)."""
    # An owner of a joint run is told no counts over all owners, and so no curves.
    counted = [report for report in comparison.reports if "roc" in (report["metrics"] or {})]
    joint = [report for report in counted if report["protocol"] != "local"]
    if not joint:
        return []
    plots = [
        _plot(lambda axes: _draw_training(axes, comparison, joint, "loss"), "Training loss, by step"),
        _plot(lambda axes: _draw_training(axes, comparison, joint, "accuracy"), "Training accuracy, by step"),
        _plot(lambda axes: _draw_curve(axes, comparison, joint, "roc"), "ROC"),
        _plot(lambda axes: _draw_curve(axes, comparison, joint, "precision_recall"), "Precision and recall"),
    ]
    for report in joint:
        title = f"Confusion matrix, {comparison.name_of(report)}"
        plots.append(_plot(_confusion_drawer(report["metrics"]["confusion"]), title))
    return plots


def _draw_training(axes: Axes, comparison: Comparison, reports: Sequence[Any], what: str) -> None:
    for report in reports:
        training = report["training"]
        steps = [number * training["every"] for number in range(len(training[what]))]
        smooth = _smoothed(training[what])
        colour = COLOURS.get(report["protocol"], MUTED)
        axes.plot(steps, training[what], color=colour, alpha=0.15, linewidth=0.7)
        axes.plot(steps, smooth, **_style(report), label=comparison.name_of(report))
    axes.set_xlabel("step")
    axes.set_ylabel(what)
    axes.legend(frameon=False)


def _draw_curve(axes: Axes, comparison: Comparison, reports: Sequence[Any], what: str) -> None:
    for report in reports:
        points = report["metrics"][what]
        horizontal, vertical = [p[0] for p in points], [p[1] for p in points]
        area = report["metrics"]["roc_auc" if what == "roc" else "average_precision"]
        label = comparison.name_of(report) + ("" if area is None else f", area {area:.4f}")
        axes.plot(horizontal, vertical, **_style(report), label=label)
    axes.set_ylim(0, 1.02)
    if what == "roc":
        # Near 0 is where a detector of rare events is used, and where models differ.
        axes.set_xscale("symlog", linthresh=1e-3, linscale=0.4)
        axes.set_xlim(0, 1)
    axes.set_xlabel("false positive rate (logarithmic above 0.001)" if what == "roc" else "recall")
    axes.set_ylabel("true positive rate" if what == "roc" else "precision")
    axes.legend(frameon=False, loc="lower right" if what == "roc" else "lower left")


def _style(report: Mapping[str, Any]) -> dict[str, Any]:
    """The reference is dashed and on top, so that a model that equals it can be seen below."""
    above = report["protocol"] == "reference"
    return {
        "color": COLOURS.get(report["protocol"], MUTED),
        "linestyle": (0, (3, 3)) if above else "-",
        "linewidth": 1.4 if above else 2.2,
        "zorder": 3 if above else 2,
    }


def _confusion_drawer(confusion: Sequence[Sequence[int]]) -> Callable[[Axes], None]:
    names = ["benign", "attack"] if len(confusion) == 2 else [str(k) for k in range(len(confusion))]

    def draw(axes: Axes) -> None:
        shares = [[count / max(sum(row), 1) for count in row] for row in confusion]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15)
        for actual, row in enumerate(confusion):
            for predicted, count in enumerate(row):
                colour = "white" if shares[actual][predicted] > 0.6 else INK
                text = f"{count:,}\n{shares[actual][predicted]:.1%}"
                axes.text(predicted, actual, text, ha="center", va="center", color=colour)
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("predicted")
        axes.set_ylabel("actual")
        axes.grid(False)

    return draw


def _smoothed(values: Sequence[float]) -> list[float]:
    """Running mean over about a fortieth of the curve, so that noise between batches does not hide it."""
    width = max(1, len(values) // 40)
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    return [
        (sums[place + 1] - sums[max(0, place + 1 - width)]) / min(place + 1, width)
        for place in range(len(values))
    ]


def _plot(draw: Callable[[Axes], None], title: str) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.tick_params(colors=MUTED)
    draw(axes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"<img alt='{escape(title)}' src='data:image/svg+xml;base64,{encoded}'>"
