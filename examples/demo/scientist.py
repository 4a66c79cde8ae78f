"""Sam at the university: asks for access, trains in three ways, compares. A process of its own, with its own files.

Run by the demonstration as `python -m examples.demo.scientist`; it knows the coordinator's address and nothing of the
other organisations' files. Sam has logged in before (`fedcore login`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from examples.demo.organisations import PURPOSE
from fedcore.client import Comparison, Dataset, FedcoreError, RunPlan, Session
from fedcore.client.progress import follow
from fedcore.client.report_page import write_page
from fedcore.wire.spec import Pipeline, PluginChoice, Training

REASON: Final = "A detector of malicious requests that all owners can use."
WIDTH: Final = 4096
APPROVAL_SECONDS: Final = 120.0


def plans(columns: Sequence[str], reference_host: str) -> list[RunPlan]:
    """The same model in three ways: each owner alone, on plaintext at the reference host, and on pseudonyms."""
    pooled = RunPlan(
        title="Detector of malicious requests",
        purpose=PURPOSE,
        pipeline=pipeline(columns),
        training=Training(
            optimiser=PluginChoice(name="adam", options={"lr": 0.05}), batch_size=256, epochs=6, seed=2021
        ),
        minimum_owners=2,
        minutes=20,
    )
    return [pooled.as_local(), pooled.as_reference(reference_host), pooled]


def pipeline(columns: Sequence[str]) -> Pipeline:
    """Decoded, lower case, cut into pieces of one to three characters, counted in hashed columns."""
    steps = [
        PluginChoice(name="fields", options={"names": list(columns)}),
        PluginChoice(name="url_decode"),
        PluginChoice(name="lower"),
        PluginChoice(name="char_ngrams", options={"minimum": 1, "maximum": 3}),
        PluginChoice(name="protect"),
        PluginChoice(name="hash_columns", options={"columns": WIDTH}),
    ]
    return Pipeline(steps=tuple(steps))


def ask(session: Session, datasets: Sequence[Dataset], wanted: Sequence[RunPlan]) -> list[str]:
    """One signed request for each dataset; returns their digests."""
    return [
        session.request_access(
            dataset, wanted, purpose=PURPOSE, reason=REASON, minimum_owners=1, releases=10, download=True
        )
        for dataset in datasets
    ]


def wait_for_approval(session: Session, digests: Sequence[str]) -> None:
    """Wait until the owners have approved all requests. Raises `FedcoreError` for a refusal, or none in time."""
    deadline = time.monotonic() + APPROVAL_SECONDS
    while True:
        states = {item["digest"]: item["state"] for item in session.requests()}
        found = [states[digest] for digest in digests]
        if all(state == "approved" for state in found):
            return
        if "refused" in found or time.monotonic() > deadline:
            raise FedcoreError(f"The owners have not approved the requests: {', '.join(found)}.")
        time.sleep(0.5)


def train(session: Session, columns: Sequence[str], console: Console) -> list[dict[str, Any]]:
    """Everything from the catalogue to the reports of three runs."""
    datasets = session.datasets()
    reference = next(host for host in session.hosts() if host.is_reference)
    wanted = plans(columns, reference.card.signing)
    grants = ask(session, datasets, wanted)
    console.print(f"Sam asked {len(datasets)} owners for access, with the purpose “{PURPOSE}”.")
    wait_for_approval(session, grants)
    found = []
    for plan in wanted:
        run = session.submit(plan, datasets, grants)
        follow(session, run, f"{plan.protocol:<10}", console)
        found.append(session.report(run))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--columns", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the reports and the page")
    arguments = parser.parse_args()
    console = Console()
    try:
        found = train(Session.open(arguments.url), arguments.columns, console)
    except FedcoreError as error:
        console.print(f"[bold red]Error:[/] {error}", highlight=False)
        return 1
    comparison = Comparison(found)
    console.print()
    comparison.show(console)
    (arguments.out / "reports.json").write_text(json.dumps(found))
    write_page(comparison, arguments.out / "report.html", "Malicious requests, learnt in three ways")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
