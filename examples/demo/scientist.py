"""Sam at the university: asks, trains, compares, and is refused. A process of its own, with its own files.

Run by the demonstration as `python -m examples.demo.scientist SCENE URL`; it knows the coordinator's address and
nothing of the other organisations' files. Sam has logged in before (`fedcore login`).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from examples.demo.data import PORTAL
from examples.demo.organisations import PURPOSE
from examples.demo.plans import EPSILON, private_plan
from examples.demo.sam import AUDIT, Sam
from examples.demo.telling import Teller
from fedcore.client import Comparison, Dataset, FedcoreError, RunPlan, Session
from fedcore.client.comparison import read_audit
from fedcore.client.report_page import write_page
from fedcore.client.runs import DELTA
from fedcore.wire.spec import Privacy, in_millionths

REASON: Final = "A detector of malicious requests that all owners can use."
RUNS: Final = 10
DAYS: Final = 90
READER_MINUTES: Final = 12 * 60
ALL_EPSILON: Final = 2.0
"""What Sam asks all private runs to cost together at most. The dataset has a smaller budget of its own."""


def ask(
    session: Session, datasets: Sequence[Dataset], wanted: Sequence[RunPlan], days: int = 30
) -> list[str]:
    """One signed request for each dataset, for `RUNS` runs of these plans; returns their digests."""
    terms = {"purpose": PURPOSE, "reason": REASON, "releases": RUNS, "days": days, "download": True}
    return [session.request_access(dataset, wanted, **terms) for dataset in datasets]


def ask_and_submit(sam: Sam) -> None:
    """Ask the owners, and submit a run before any of them has decided."""
    datasets, wanted = sam.datasets(), sam.plans()
    owners = " and ".join(dataset.host_name for dataset in datasets)
    grants = ask(sam.session, datasets, wanted, DAYS)
    sam.does(f"asks {owners} for {RUNS} runs in {DAYS} days, with download of the protected rows.")
    [portal] = sam.datasets(PORTAL)
    together = Privacy(epsilon_micro=in_millionths(ALL_EPSILON), delta=DELTA)
    private = sam.session.request_access(
        portal, [private_plan()], purpose=PURPOSE, reason=REASON, releases=5, privacy=together
    )
    sam.does(
        f"asks {portal.host_name} also for private runs on its {PORTAL}, with an epsilon of {ALL_EPSILON:g} in all."
    )
    run = sam.session.submit(wanted[0], datasets, grants)
    sam.does("submits a first run at once.")
    sam.teller.answers(f"Awaiting grants. {sam.wait_for_state(run, 'awaiting_grants')}")
    sam.note(grants=grants, private=private, runs=[run])


def train(sam: Sam) -> None:
    """Follow the run that waited, submit three more, and compare the four."""
    datasets, wanted, notes = sam.datasets(), sam.plans(), sam.notes
    runs, reports = notes["runs"], []
    for number, plan in enumerate(wanted):
        if number == len(runs):
            runs.append(sam.session.submit(plan, datasets, notes["grants"]))
        reports.append(sam.follow(runs[number], str(plan.protocol)))
    sam.note(runs=runs)
    comparison = Comparison(reports, [read_audit(sam.out / AUDIT)])
    sam.teller.console.print()
    comparison.show(sam.teller.console, exposures=False)
    (sam.out / "reports.json").write_text(json.dumps(reports))
    write_page(comparison, sam.out / "report.html", "Malicious requests, learnt in four ways")


def go_beyond(sam: Sam) -> None:
    """One run more than the tightest grant covers; then a private run, and one more than its budget covers."""
    sam.does(f"submits a fifth run, of the {RUNS} that were asked for.")
    sam.is_refused("releases_spent", lambda: submit_pooled(sam))
    sam.does(f"submits a private run on the {PORTAL}, at an epsilon of {EPSILON:g}.")
    metrics: Mapping[str, Any] = submit_private(sam)["owners"][0]["metrics"]
    sam.teller.answers(f"Finished: nothing but noisy counts has left the host. F1 {metrics['f1']:.2f}.")
    sam.does("submits another one.")
    sam.is_refused("budget_spent", lambda: submit_private(sam))


def try_again(sam: Sam) -> None:
    """After a grant was revoked: another run, and the model of a run that has finished."""
    sam.does("submits a run.")
    sam.is_refused("grant_revoked", lambda: submit_pooled(sam))
    sam.does("fetches the model of the pooled run.")
    sam.is_refused(
        "not_granted", lambda: sam.session.model(sam.notes["runs"][-1], sam.out / "late.safetensors")
    )


def submit_pooled(sam: Sam) -> str:
    return sam.session.submit(sam.plans()[-1], sam.datasets(), sam.notes["grants"])


def submit_private(sam: Sam) -> Mapping[str, Any]:
    """The report of a private run. Raises `RunFailed`."""
    run = sam.session.submit(private_plan(), sam.datasets(PORTAL), [sam.notes["private"]])
    sam.session.wait(run)
    return sam.session.report(run)


def ask_the_reader(sam: Sam) -> None:
    """Ask the first owner anew, with a run that waits as long as nobody decides, and follow it."""
    datasets, plan = sam.datasets(), replace(sam.plans()[0], minutes=READER_MINUTES)
    [asked] = ask(sam.session, datasets[:1], [plan])
    run = sam.session.submit(plan, datasets, [asked, *sam.notes["grants"][1:]])
    sam.does(f"asks {datasets[0].host_name} again, and submits a run that waits for the answer:")
    sam.teller.points_to(sam.page_of(asked))
    sam.follow(run, "Sam's run")


SCENES: Final[Mapping[str, Callable[[Sam], None]]] = {
    "ask": ask_and_submit,
    "train": train,
    "beyond": go_beyond,
    "again": try_again,
    "reader": ask_the_reader,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", choices=SCENES)
    parser.add_argument("url")
    parser.add_argument("--columns", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the reports and the page")
    arguments = parser.parse_args()
    # The terminal is left as it was, whenever the demonstration is stopped.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    teller = Teller(Console(highlight=False))
    session = Session.open(arguments.url)
    sam = Sam(session, arguments.url, tuple(arguments.columns), arguments.out, teller)
    try:
        SCENES[arguments.scene](sam)
    except FedcoreError as error:
        teller.console.print(f"[bold red]Error:[/] {escape(str(error))}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
