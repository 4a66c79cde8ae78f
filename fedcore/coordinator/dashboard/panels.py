"""The pieces of the front page: cards with a figure, and panels with a table, a chart, or a friendly word instead."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

ROWS: Final = 8
REFUSED_WITHIN: Final = timedelta(days=30)
"""How far back refusals are counted."""
COLOURS: Final = ("var(--color-primary-600)", "#f97316")
_QUIET: Final = "#9ca3af"


@dataclass(frozen=True)
class Card:
    """One figure that leads to a list."""

    title: str
    figure: Any
    icon: str
    address: str


@dataclass(frozen=True)
class Panel:
    """A titled table and chart, or some facts with a note; `empty` is said where there is nothing to show."""

    title: str
    empty: str
    headers: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    chart: str = ""
    chart_options: str = ""
    facts: Sequence[tuple[str, Any]] = ()
    note: str = ""

    @property
    def table(self) -> dict[str, Any]:
        """The table as the theme's component takes it."""
        return {"headers": list(self.headers), "rows": [list(row) for row in self.rows]}


def bars(labels: Sequence[str], series: Sequence[tuple[str, Sequence[float]]]) -> tuple[str, str]:
    """A chart of stacked bars, one for each label: its data and its options, both as JSON for the theme."""
    datasets = [
        {"label": name, "data": list(values), "backgroundColor": colour, "borderRadius": 4}
        for (name, values), colour in zip(series, COLOURS, strict=False)
    ]
    axis = {"stacked": True, "ticks": {"color": _QUIET, "precision": 0}, "border": {"width": 0}}
    options = {
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "maxBarThickness": 36,
        "plugins": {"legend": {"display": True, "align": "end", "labels": {"color": _QUIET, "boxWidth": 12}}},
        "scales": {"x": axis | {"grid": {"display": False}}, "y": axis | {"beginAtZero": True}},
    }
    return json.dumps({"labels": list(labels), "datasets": datasets}), json.dumps(options)


def list_of(model: str, query: str = "") -> str:
    """The address of a list in the admin; `model` with its application, as `governance_grant`."""
    return reverse(f"admin:{model}_changelist") + query


def link(model: str, key: Any, text: Any) -> SafeString:
    """A link to one row's page."""
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{model}_change", args=(key,)), text)
