"""Datasets and dry runs for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from fedcore.client.catalogue import Dataset, Version
from fedcore.client.terminal import add_row, shown


def table_of_datasets(datasets: Iterable[Dataset]) -> Table:
    """A line for each dataset."""
    table = Table("dataset", "title", "rows", "reader", "sensitivity", "mock", "version", title="Datasets")
    for item in datasets:
        add_row(
            table,
            item.path,
            item.title,
            f"about {item.rows:,}",
            item.reader,
            item.sensitivity,
            "yes" if item.mock else "no",
            item.version[:12],
        )
    return table


def show_dataset(dataset: Dataset, versions: Iterable[Version], console: Console) -> None:
    """What the owner tells of a dataset, and its versions. Texts are the owner's: nothing in them is markup."""
    facts = Table(title=shown(dataset.path), show_header=False)
    facts.add_column(style="bold")
    facts.add_column()
    for name, text in _facts(dataset).items():
        add_row(facts, name, text)
    for column in dataset.columns:
        kind, note = dataset.column_kinds.get(column, "text"), dataset.column_notes.get(column, "")
        add_row(facts, "column", f"{column} ({kind}) {note}")
    console.print(facts)
    known = Table("version", "rows", "first announced", "last announced", title="Versions")
    for version in versions:
        mark = " (current)" if version.version == dataset.version else ""
        add_row(
            known,
            version.version[:12] + mark,
            f"about {version.rows:,}",
            version.first_announced[:16],
            version.last_announced[:16],
        )
    console.print(known)


def show_dry_run(dry_run: dict[str, Any], console: Console) -> None:
    """What came of each trial, and why something does not pass."""
    table = Table("trial", "passes", "features", "bytes", "accuracy", "F1", title="Dry run on made-up rows")
    for trial in dry_run["trials"]:
        name = f"{trial['pipeline'] + 1} · {trial['backend']} · {trial['model']}"
        features = f"{trial['kind']}, {trial['columns']} columns" if trial["kind"] else "-"
        passes = "yes" if trial["passes"] else "no"
        size = f"{trial['feature_bytes']:,} for {trial['plaintext_bytes']:,}"
        add_row(table, name, passes, features, size, _number(trial["accuracy"]), _number(trial["f1"]))
    if dry_run["trials"]:
        console.print(table)
    for trial in dry_run["trials"]:
        if trial["problem"]:
            console.print(shown(f"{trial['backend']}, {trial['model']}: {trial['problem']}"))
    if dry_run["remark"]:
        console.print(shown(dry_run["remark"]))
    if dry_run["trials"]:
        console.print(
            "Accuracy and F1 are those of made-up rows: they say nothing about the model's quality."
        )


def _facts(dataset: Dataset) -> dict[str, str]:
    facts = {
        "title": dataset.title,
        "description": dataset.description,
        "owner": dataset.organisation,
        "contact": dataset.contact,
        "licence": dataset.licence,
        "terms": dataset.terms,
        "value or price": dataset.price,
        "sensitivity": dataset.sensitivity,
        "may be used until": dataset.retention or "",
        "rows": f"about {dataset.rows:,}",
        "classes": ", ".join(dataset.classes),
        "read as": dataset.reader,
        "mock sample": "yes" if dataset.mock else "no",
    }
    return {name: text for name, text in facts.items() if text}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
