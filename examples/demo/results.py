"""What comes of the runs: the scientist's own training loop, and the owner's own use of the model."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from examples.demo.checks import check_quality, check_separation
from examples.demo.files import unpacked
from examples.demo.hosts import SCORES, scores_of, start_predict
from examples.demo.processes import program
from examples.demo.settings import ROOT, Settings
from examples.demo.stage import Stage

SHOWN_LINES: Final = 4
UNSEEN: Final = (
    "has no labels, so the model was trained on generated requests, and now scores your lines. It has seen nothing of "
    "your site: this shows how an owner uses a model, not what is in your log."
)


def compare(stage: Stage) -> list[dict[str, Any]]:
    """The reports of the four runs, checked. Raises `DemoError`."""
    university, root = stage.cast.university, stage.processes.root
    shutil.copy(university.directory / "report.html", root / "report.html")
    reports: list[dict[str, Any]] = json.loads((university.directory / "reports.json").read_text())
    checked = [*check_quality(reports), check_separation(stage.cast)]
    for who, text in zip(("Checked", *[""] * len(checked)), checked, strict=False):
        stage.teller.does(who, f"{text}.")
    stage.teller.does("Report", "as a page, with what each run shows of the rows, and to whom:")
    stage.teller.points_to(root / "report.html")
    return reports


def use(stage: Stage, settings: Settings, run: str) -> None:
    """The scientist trains on the pseudonymised rows, and an owner scores lines of its own log, at the same time."""
    owner, log = stage.cast.owners[0], stage.offers[0].sample
    if settings.log is not None:
        log = unpacked(settings.log, owner.directory / "given.log")
    scoring = start_predict(owner, run, log, stage.processes)
    _train_own_loop(stage, run)
    if settings.log is not None:
        stage.teller.does("Your log", UNSEEN)
    stage.teller.types(owner.title, f"fedcore-owner predict --run {run[:12]} {log.name}")
    stage.processes.finish(scoring)
    stage.teller.prints(_summary(scores_of(owner)), cut=True)
    if settings.log is not None:
        stage.teller.does("", "All lines with their scores:")
        stage.teller.points_to(owner.directory / SCORES)


def _train_own_loop(stage: Stage, run: str) -> None:
    """Sam downloads the pseudonymised rows, as the grants allow, and trains on them with a loop of Sam's own."""
    university = stage.cast.university
    rows, log = university.directory / "rows.safetensors", university.log / "commands.log"
    download = [program("fedcore"), "rows", run, "--out", str(rows)]
    stage.teller.types("Sam", f"fedcore rows {run[:12]} --out {rows.name}")
    stage.processes.run("fedcore rows", university.name, download, university.environment(), log)
    stage.teller.types("", f"python examples/torch_dataset.py {rows.name}")
    script = [sys.executable, "examples/torch_dataset.py", str(rows)]
    # Threads gain nothing on layers this small, and lose much on a busy machine.
    environment = university.environment(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    output = stage.processes.run("examples/torch_dataset.py", university.name, script, environment, log)
    stage.teller.prints(output.splitlines()[-1:])


def _summary(scores: Sequence[Mapping[str, str]]) -> list[str]:
    attacks = sorted(
        (row for row in scores if row["class"] == "attack"), key=lambda row: -float(row["probability"])
    )
    surest = [f"{float(row['probability']):.4f}  {row['line']}" for row in attacks[:SHOWN_LINES]]
    found = f"{len(attacks):,} of {len(scores):,} lines look like attacks"
    return [f"{found}. The surest:", *surest] if surest else [f"{found}."]
