"""The time of a whole run that nobody computes in: orders, key agreement, uploads, state, waiting.

Real processes: coordinator, two owner hosts with two workers each, a scientist. The processes are up and warm; the
clock runs at the scientist, from the submission to the end of the run.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final

from benchmarks.benchmark import Benchmark, Comparison, Goal, median
from examples.demo.data import make_offers
from examples.demo.governance import approve_waiting
from examples.demo.opening import session_of, start_everything
from examples.demo.organisations import make_cast
from examples.demo.plans import plans
from examples.demo.processes import ROOT, Processes
from examples.demo.scientist import ask
from examples.demo.settings import Settings
from fedcore.client import Dataset, RunPlan, Session

ROWS: Final = 20_000
RUNS: Final = 5
WORK: Final = ROOT / "var" / "benchmark"


class Overhead(Benchmark):
    """A pooled run of two owners, some times over."""

    name: ClassVar[str] = "overhead"
    summary: ClassVar[str] = "a whole pooled run's time outside computing, two owners, processes up"
    goals: ClassVar[dict[str, Goal]] = {"pooled run": Goal(3.0, "s", at_least=False)}

    def measure(self) -> Iterator[Comparison]:
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir(parents=True, mode=0o700)
        try:
            with Processes(WORK) as processes:
                session, datasets, grants, plan = _federation(WORK, processes)
                _timed(session, plan, datasets, grants)
                runs = [_timed(session, plan.with_seed(seed), datasets, grants) for seed in range(RUNS)]
        finally:
            shutil.rmtree(WORK, ignore_errors=True)
        walls, computing = [wall for wall, _ in runs], [seconds for _, seconds in runs]
        outside = [wall - seconds for wall, seconds in runs]
        figures = {
            "whole run": f"{median(walls):.2f} s",
            "computing": f"{median(computing):.2f} s",
            "outside": f"{median(outside):.2f} s ({min(outside):.2f} to {max(outside):.2f})",
            "runs": str(RUNS),
        }
        details = {"wall": walls, "computing": computing, "rows_per_owner": ROWS}
        yield Comparison("pooled run", figures, median(outside), self.goals["pooled run"], details)


def _federation(work: Path, processes: Processes) -> tuple[Session, list[Dataset], list[str], RunPlan]:
    """Everything started, access asked for and granted."""
    settings = Settings(once=True, good=None, bad=None, log=None, rows=ROWS)
    cast = make_cast(work)
    offers = make_offers(settings, (cast.owners[0].directory, cast.owners[1].directory))
    coordinator = start_everything(cast, [[offer] for offer in offers], processes)
    session = Session.open(coordinator.url, cast.university.directory / ".fedcore")
    reference = next(host for host in session.hosts() if host.is_reference)
    wanted = plans(offers[0].columns, reference.card.signing)
    datasets = session.datasets()
    grants = ask(session, datasets, wanted)
    for name in ("olga", "otto"):
        approve_waiting(session_of(cast, coordinator, cast.person(name)))
    return session, datasets, grants, wanted[-1]


def _timed(
    session: Session, plan: RunPlan, datasets: list[Dataset], grants: list[str]
) -> tuple[float, float]:
    """Seconds from submission to end, and how many of them somebody computed in."""
    started = time.perf_counter()
    run = session.submit(plan, datasets, grants)
    session.wait(run)
    wall = time.perf_counter() - started
    return wall, float(session.report(run)["seconds"]["computing"])


BENCHMARK = Overhead()
