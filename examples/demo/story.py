"""The demonstration from beginning to end."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from examples.demo import governance, records, results, your_turn
from examples.demo.data import make_offers, portal_offer
from examples.demo.errors import DemoError
from examples.demo.opening import start_everything
from examples.demo.organisations import make_cast
from examples.demo.processes import Processes
from examples.demo.settings import Settings
from examples.demo.stage import Stage
from examples.demo.telling import Teller


def tell(settings: Settings, console: Console, begun: float) -> None:
    """Run everything. Raises `DemoError`; leaves no process behind, whatever happens."""
    with _work_directory(settings.directory), Processes(settings.directory) as processes:
        stage = _open(settings, processes, Teller(console))
        granted = _govern(stage)
        _learn(stage, settings)
        _hold_limits(stage)
        _revoke(stage, granted["olga"])
        stage.teller.heading("8  All of it is on record, and no record was altered")
        records.verify(stage)
        console.print(f"\n[bold]Done[/] after {time.monotonic() - begun:.0f} seconds.")
        if settings.once:
            console.print("Without ONCE=1 everything keeps running, and you decide as an owner in the admin.")
        else:
            your_turn.stay(stage)


def _open(settings: Settings, processes: Processes, teller: Teller) -> Stage:
    """Make the organisations and their data, and start everything."""
    cast = make_cast(settings.directory)
    north, south = (owner.directory for owner in cast.owners)
    offers = make_offers(settings, (north, south))
    offers[1] = replace(offers[1], ceilings={"releases": governance.SOUTH_AT_ONCE})
    portal = portal_offer(north)
    teller.heading("Five organisations, each with its own processes, keys and files")
    for owner, offer in zip(cast.owners, offers, strict=True):
        teller.does(owner.title, f"{offer.title}, {offer.rows:,} rows")
    teller.does("", f"{portal.title}, {portal.rows:,} rows")
    teller.does(cast.reference.title, "no data; both owners trust it with plaintext, for comparison")
    teller.does(cast.university.title, "Sam, a scientist, who has no data")
    teller.does(cast.operator.title, "the coordinator")
    teller.does("", "Making keys, and starting everything …")
    coordinator = start_everything(cast, [[offers[0], portal], [offers[1]]], processes)
    stage = Stage(cast, offers, coordinator, processes, teller)
    if not settings.once:
        your_turn.tell_log_ins(stage)
    return stage


def _govern(stage: Stage) -> dict[str, dict[str, Any]]:
    """From the scientist's request to grants in force at both hosts."""
    stage.teller.heading("1  A scientist asks")
    stage.sam("ask")
    stage.teller.heading("2  Each owner grants less than was asked")
    governance.attack_own_data(stage)
    granted = governance.decide(stage)
    stage.teller.heading("3  What exceeds a host's ceilings waits for a person there")
    governance.confirm(stage, granted["otto"])
    return granted


def _learn(stage: Stage, settings: Settings) -> None:
    """Four runs, and what comes of them."""
    stage.teller.heading(
        "4  Four runs: each owner alone, plaintext at the reference host, shares, pseudonyms"
    )
    stage.sam("train")
    run = results.compare(stage)[-1]["run"]
    stage.teller.heading("5  What the result is good for")
    results.use(stage, settings, run)


def _hold_limits(stage: Stage) -> None:
    """What was not granted is refused, and so is what a privacy budget does not cover."""
    stage.teller.heading("6  What was not granted is refused")
    stage.sam("beyond")
    records.show_ledger(stage)


def _revoke(stage: Stage, request: Mapping[str, Any]) -> None:
    """An owner changes its mind: last, because the scenes before need the grant."""
    stage.teller.heading("7  A grant can be revoked at any time")
    governance.revoke(stage, request)
    stage.sam("again")


@contextmanager
def _work_directory(path: Path) -> Iterator[None]:
    """An empty private directory that one demonstration at a time uses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f"Another demonstration runs in {path}.", "Stop it with Ctrl-C in its terminal."
            ) from None
        if path.exists():
            shutil.rmtree(path)
        path.mkdir(mode=0o700)
        yield
