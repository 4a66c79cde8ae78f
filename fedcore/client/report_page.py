"""The comparison as one HTML page with its plots inside: no script, no request to anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fedcore.client.comparison import (
    MEBI,
    SHOWN_METRICS,
    Comparison,
    Line,
    exposure_of,
    figures,
    privacy_of,
    protection_of,
)
from fedcore.client.report_plots import plots_of

if TYPE_CHECKING:
    from fedcore.plugin_api.attacks.figures import AttackFigure

PHASES: Final = (
    *("check", "offer", "share", "confirm", "summarise", "settle"),
    *("prepare", "deal", "train", "evaluate"),
)
STYLE: Final = """
:root { color-scheme: light }
body { font: 15px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: #0f172a;
  background: #f8fafc; margin: 0 }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px } h2 { font-size: 19px; margin: 44px 0 10px }
h3 { font-size: 14px; font-weight: 600; margin: 18px 0 8px }
p.lead { color: #475569; margin: 0 0 22px; max-width: 76ch } p.note { color: #475569; max-width: 84ch }
section, .card { background: #fff; border: 1px solid #e2e8f0; border-radius: 10px }
.wide { overflow-x: auto } .cards { display: flex; flex-wrap: wrap; gap: 14px; margin: 20px 0 0 }
.card { padding: 14px 18px; flex: 1 1 200px } .card b { display: block; font-size: 25px; line-height: 1.3 }
.card span { color: #475569; font-size: 13px }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: 8px 12px; border-bottom: 1px solid #e2e8f0; white-space: nowrap }
th { font-size: 12.5px; color: #475569; font-weight: 600; background: #f1f5f9 }
td.word, th.word, td.text { text-align: left }
td.text { white-space: normal; vertical-align: top; min-width: 240px }
tr:last-child td { border-bottom: 0 } tr.difference td { color: #1d4ed8 } tr.majority td { color: #94a3b8 }
figure { margin: 0; padding: 14px } figure img { width: 100%; height: auto; display: block }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 14px }
code { font: 12.5px ui-monospace, Menlo, Consolas, monospace; color: #475569 }
"""


def write_page(comparison: Comparison, target: Path, title: str = "Comparison of runs") -> Path:
    """Write the comparison to `target` (HTML, self-contained). Needs the extra `report` (matplotlib)."""
    body = "".join(
        [
            f"<h1>{escape(title)}</h1>",
            _lead(comparison),
            _cards(comparison),
            _quality(comparison),
            _owners(comparison),
            "<h2>Curves</h2><div class=plots>",
            *(f"<section><figure>{plot}</figure></section>" for plot in plots_of(comparison)),
            "</div>",
            _costs(comparison),
            _exposure(comparison),
            _audits(comparison),
            _runs(comparison),
        ]
    )
    head = (
        f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(title)}</title>"
    )
    top = f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head>"
    target.write_text(f"{top}<body><main>{body}</main></body></html>", encoding="utf-8")
    return target


def _lead(comparison: Comparison) -> str:
    owners = ", ".join(
        dict.fromkeys(owner["organisation"] for r in comparison.reports for owner in r["owners"])
    )
    text = (
        f"The same model, trained in {len(comparison.reports)} ways on data of {owners}. Every figure is measured "
        "on rows that the owners kept back: those rows never left their hosts, only counts of scores did."
    )
    return f"<p class=lead>{escape(text)}</p>"


def _cards(comparison: Comparison) -> str:
    cards = [
        (f"{line.metrics[metric]:.4f}", f"{label}, {line.name}")
        for line in comparison.joint_lines()
        for metric, label in (("f1", "F1"), ("roc_auc", "ROC AUC"))
        if line.metrics[metric] is not None
    ]
    inside = "".join(
        f"<div class=card><b>{value}</b><span>{escape(text)}</span></div>" for value, text in cards
    )
    return f"<div class=cards>{inside}</div>"


def _quality(comparison: Comparison) -> str:
    rows = [_metric_row([line.name], line) for line in comparison.joint_lines()]
    for name, difference in comparison.differences().items():
        rows.append(_row([f"{name} − reference", "", *figures(difference, signed=True)], "difference"))
    rows.append(_row(["always the majority class", "", *figures(comparison.majority())], "majority"))
    table = _table(["model", "rows", *SHOWN_METRICS.values()], rows)
    note = "Attacks are rare, so accuracy flatters: the model that never reports one already has the last line's."
    return f"<h2>Quality on the held-out rows of all owners</h2>{table}<p class=note>{note}</p>"


def _owners(comparison: Comparison) -> str:
    rows = [_metric_row([line.tested_on, line.name], line) for line in comparison.owner_lines()]
    table = _table(["owner", "model", "rows", *SHOWN_METRICS.values()], rows, words=2)
    return f"<h2>What joining brings to each owner</h2>{table}"


def _costs(comparison: Comparison) -> str:
    phases = [phase for phase in PHASES if any(phase in report["seconds"] for report in comparison.reports)]
    named = [*phases, "total", "computing", "overhead"]
    times = [
        _row([comparison.name_of(report), *(_seconds(report["seconds"].get(name)) for name in named)])
        for report in comparison.reports
    ]
    sent = [
        _row(
            [
                comparison.name_of(report),
                owner["host_name"],
                *_volumes(owner),
                privacy_of(owner),
            ],
            words=2,
        )
        for report in comparison.reports
        for owner in report["owners"]
    ]
    head = ["run", "owner", "rows trained on", "rows held out", "bytes sent", "as plaintext", "epsilon"]
    note = "Wall seconds by phase. “Other” is the time in which nobody computed: orders, uploads, waiting."
    return (
        f"<h2>Time</h2>{_table(['run', *phases, 'total', 'computing', 'other'], times)}<p class=note>{note}</p>"
        f"<h2>What each owner sent</h2>{_table(head, sent, words=2)}"
    )


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _volumes(owner: Mapping[str, Any]) -> list[str]:
    trained = owner["rows_trained"]  # Not told under an epsilon.
    rows = [f"{trained:,}" if trained else "–", f"{owner['rows_held_out']:,}"]
    return rows + [f"{owner[name] / MEBI:.2f} MiB" for name in ("bytes_sent", "plaintext_bytes")]


def _exposure(comparison: Comparison) -> str:
    rows = []
    for report in comparison.reports:
        cells = "".join(f"<td class=text>{escape(text)}</td>" for text in exposure_of(report))
        rows.append(f"<tr><td class=word>{escape(comparison.name_of(report))}</td>{cells}</tr>")
    head = ["run", "what an observer learns", "who could read rows"]
    return f"<h2>What leaves, and who could read rows</h2>{_table(head, rows, words=3)}"


def _audits(comparison: Comparison) -> str:
    """What owners' attacks on their own data found under a protection, beside the same attacks on plain rows."""
    if not comparison.audits:
        return ""
    head = ["attack", "figure", "found", "unprotected", "guessing"]
    tables = "".join(
        f"<h3>{escape(protection_of(audit))}</h3>"
        + _table(
            head,
            [_row([item.attack, item.figure, *_shares(item)], words=2) for item in audit.figures],
            words=2,
        )
        for audit in comparison.audits
    )
    note = (
        "From 0 to 1, found by the owners themselves on their own hosts, against half of their rows by an attacker who "
        "knows the other half. An attack that fails on unprotected rows shows nothing. Under “shared” nobody has "
        "protected tokens to attack; what the finished model gives away it gives away under every protection."
    )
    return f"<h2>What attacks find out</h2>{tables}<p class=note>{escape(note)}</p>"


def _shares(figure: AttackFigure) -> list[str]:
    return [f"{number:.2f}" for number in (figure.found, figure.control, figure.chance)]


def _runs(comparison: Comparison) -> str:
    rows = [
        _row([comparison.name_of(report), report["title"], report["model"], report["run"][:16]], words=4)
        for report in comparison.reports
    ]
    return f"<h2>Runs</h2>{_table(['run', 'title', 'model type', 'id'], rows, words=4)}"


def _metric_row(lead: Sequence[str], line: Line) -> str:
    return _row([*lead, f"{line.metrics['rows']:,}", *figures(line.metrics)], words=len(lead))


def _row(cells: Sequence[str], kind: str = "", words: int = 1) -> str:
    """A row of a table; its first `words` cells are words, the others numbers."""
    return f"<tr class='{kind}'>{_cells('td', cells, words)}</tr>"


def _table(head: Sequence[str], rows: Sequence[str], words: int = 1) -> str:
    titles = _cells("th", head, words)
    return f"<section class=wide><table><tr>{titles}</tr>{''.join(rows)}</table></section>"


def _cells(tag: str, texts: Sequence[str], words: int) -> str:
    return "".join(
        f"<{tag} class={'word' if place < words else 'number'}>{escape(text)}</{tag}>"
        for place, text in enumerate(texts)
    )
