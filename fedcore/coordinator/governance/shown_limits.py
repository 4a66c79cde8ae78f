"""Limits in words, side by side: what was asked, what a first owner approved, what is granted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fedcore.coordinator.governance.limits import Limited, shown_epsilon
from fedcore.coordinator.governance.models import AccessRequest


@dataclass(frozen=True)
class Cell:
    """A limit in words, and whose it is."""

    heading: str
    text: str


@dataclass(frozen=True)
class LimitRow:
    """One limit. `changed`: the last column is tighter than what was asked. `help` says what it limits."""

    label: Any
    help: Any
    cells: list[Cell]
    changed: bool


@dataclass(frozen=True)
class LimitTable:
    """All limits. The first heading is what was asked."""

    headings: list[str]
    rows: list[LimitRow]


def _listed(names: Any) -> str:
    return ", ".join(map(str, names))


_ROWS: Final[tuple[tuple[str, Any, Any, Callable[[Any], str]], ...]] = (
    (
        "protocols",
        gettext_lazy("Protocols"),
        gettext_lazy("who computes what, and where: see below"),
        _listed,
    ),
    (
        "backends",
        gettext_lazy("Encryption backends"),
        gettext_lazy("how what leaves the owner's host is protected"),
        _listed,
    ),
    ("model_types", gettext_lazy("Model types"), gettext_lazy("what is trained"), _listed),
    (
        "releases",
        gettext_lazy("Runs"),
        gettext_lazy("each uses one release of the grant"),
        lambda releases: _("at most %(count)d") % {"count": releases},
    ),
    (
        "minimum_owners",
        gettext_lazy("Owners in each run"),
        gettext_lazy("the more take part, the less a result says about one"),
        lambda owners: _("at least %(count)d") % {"count": owners},
    ),
    (
        "epsilon_micro",
        gettext_lazy("Privacy limit (epsilon of all runs)"),
        gettext_lazy("bounds what results tell about a single row; smaller is stricter"),
        lambda epsilon: _epsilon(epsilon),
    ),
    ("expires_at", gettext_lazy("Until"), "", lambda moment: f"{moment:%Y-%m-%d %H:%M} UTC"),
    (
        "download",
        gettext_lazy("Download of the merged dataset"),
        gettext_lazy("the scientist gets the protected rows themselves"),
        lambda allowed: _("yes") if allowed else _("no"),
    ),
)


def limits_table(asked: AccessRequest) -> LimitTable:
    """The limits of a request, beside those of its first approval and of its grant where there are any."""
    columns: list[tuple[str, Limited]] = [(_("asked"), asked)]
    if getattr(asked, "proposal", None) is not None:
        columns.append((_("approved by one of two"), asked.proposal))
    if getattr(asked, "grant", None) is not None:
        columns.append((_("granted"), asked.grant))
    rows = []
    for name, label, help, text in _ROWS:
        cells = [Cell(heading, text(getattr(row, name))) for heading, row in columns]
        rows.append(LimitRow(label, help, cells, cells[-1].text != cells[0].text))
    return LimitTable([heading for heading, _row in columns], rows)


def _epsilon(epsilon: Any) -> str:
    return shown_epsilon(epsilon) if isinstance(epsilon, int) else _("none: nothing is promised")
