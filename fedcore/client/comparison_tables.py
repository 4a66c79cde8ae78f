"""The comparison of runs in a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fedcore.client.comparison import (
    MEBI,
    Comparison,
    exposure_of,
    figures,
    privacy_of,
    protection_of,
)
from fedcore.client.terminal import shown
from fedcore.wire.text import one_line

METRICS: Final = {
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "average_precision": "AP",
    "recall": "recall",
    "accuracy": "accuracy",
}
"""Fewer than on the page, so that a row fits into 80 columns. AP is the average precision."""


def tables_of(comparison: Comparison, exposures: bool = True) -> RenderableType:
    """Quality, what joining brings to each owner, cost, and (`exposures`) what leaves, one below the other."""
    leaves = _exposures(comparison) if exposures else []
    audits = _audits(comparison) if comparison.audits else []
    return Group(_quality(comparison), _owners(comparison), _costs(comparison), *leaves, *audits)


def _table(title: str, words: tuple[str, ...], numbers: tuple[str, ...], wrap: bool = False) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=0)
    for name in words:
        table.add_column(name, no_wrap=not wrap)
    for name in numbers:
        table.add_column(f" {name}", justify="right", no_wrap=True)
    return table


def _short(name: str) -> str:
    """A name without its backend, which stands below the tables."""
    return shown(re.sub(r" \(.*?\)", "", name))


def _quality(comparison: Comparison) -> Table:
    table = _table("Quality on the rows that all owners kept back", ("model",), ("rows", *METRICS.values()))
    differences = comparison.differences()
    for line in comparison.joint_lines():
        table.add_row(_short(line.name), f"{line.metrics['rows']:,}", *figures(line.metrics, METRICS))
        if difference := differences.get(line.name):
            table.add_row(
                "  less the reference", "", *figures(difference, METRICS, signed=True), style="cyan"
            )
    table.add_row("always the majority class", "", *figures(comparison.majority(), METRICS), style="dim")
    return table


def _owners(comparison: Comparison) -> Table:
    table = _table(
        "Quality on each owner's own held-out rows", ("owner", "model"), ("rows", *METRICS.values())
    )
    owner = ""
    for line in comparison.owner_lines():
        if owner not in ("", line.tested_on):
            table.add_section()
        name = "" if line.tested_on == owner else shown(line.tested_on)
        owner = line.tested_on
        table.add_row(name, _short(line.name), f"{line.metrics['rows']:,}", *figures(line.metrics, METRICS))
    return table


def _costs(comparison: Comparison) -> Table:
    numbers = ("wall time", "computing", "other", "sent", "plaintext", "epsilon")
    table = _table("Time, and what the owners sent", ("run",), numbers)
    for report in comparison.reports:
        seconds = (f"{report['seconds'][name]:.1f} s" for name in ("total", "computing", "overhead"))
        volumes = (_volume(report, name) for name in ("bytes_sent", "plaintext_bytes"))
        table.add_row(_short(comparison.name_of(report)), *seconds, *volumes, shown(privacy_of(report)))
    return table


def _volume(report: Mapping[str, Any], name: str) -> str:
    return f"{sum(owner[name] for owner in report['owners']) / MEBI:.1f} MiB"


def _audits(comparison: Comparison) -> list[RenderableType]:
    """What owners' attacks on their own data found, beside the same attacks on plain rows."""
    tables: list[RenderableType] = []
    for audit in comparison.audits:
        tables.append(Text(one_line(f"What attacks find out: {protection_of(audit)}"), style="bold italic"))
        table = _table("", ("attack", "figure"), ("found", "unprotected", "guessing"), wrap=True)
        for figure in audit.figures:
            numbers = (f"{number:.2f}" for number in (figure.found, figure.control, figure.chance))
            table.add_row(shown(figure.attack), shown(figure.figure), *numbers)
        tables.append(table)
    return tables


def _exposures(comparison: Comparison) -> list[RenderableType]:
    blocks: list[RenderableType] = [Text("What leaves, and who could read rows", style="bold italic")]
    for report in comparison.reports:
        blocks.append(Padding(Text(one_line(comparison.name_of(report)), style="cyan"), (1, 0, 0, 0)))
        blocks += [Padding(Text(one_line(text)), (0, 0, 0, 2)) for text in exposure_of(report)]
    return blocks
