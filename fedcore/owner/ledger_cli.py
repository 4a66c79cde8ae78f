"""`fedcore-owner ledger`: what privacy was spent and what is left of it, and the word of a person on a ledger that was
put back from an older copy. Works while the host runs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import Annotated

import typer
from rich.table import Table

from fedcore.owner.budgets import Budget, dataset_budget, grant_budget
from fedcore.owner.chain import ChainBroken, Entry, Head
from fedcore.owner.config import Config
from fedcore.owner.console import HomeOption, add_row, say, show_table, table, told_plainly
from fedcore.owner.grants import GrantStore, this_user
from fedcore.owner.held_grant import short
from fedcore.owner.home import DEFAULT_HOME, Home
from fedcore.owner.journal import EntryKind, Journal
from fedcore.owner.ledger import Ledger, LedgerError, open_ledger
from fedcore.privacy.mechanisms import MICRO, from_json

app = typer.Typer(
    help="What privacy was spent, and what is left of it.", no_args_is_help=True, rich_markup_mode=None
)

_DEFAULT_DELTA = 1e-6


@app.command()
def show(
    home: HomeOption = DEFAULT_HOME,
    last: Annotated[int, typer.Option(min=0, help="How many of the newest entries.")] = 10,
) -> None:
    """Show budget, spent and left of every dataset and grant, and the newest entries, oldest of them first."""
    place = Home(home)
    with told_plainly(), _opened(place) as ledger:
        policy = place.load_config()
        held = ledger.held()
        say("The ledger is current." if held is None else f"The ledger is HELD. {held}")
        show_table(_of_datasets(ledger, policy))
        show_table(_of_grants(ledger, policy, place))
        entries = list(ledger.chain.entries())
        if last:
            show_table(_of_entries(entries[-last:]))


@app.command()
def verify(
    home: HomeOption = DEFAULT_HOME,
    head: Annotated[
        str | None,
        typer.Option(help="SERIAL:DIGEST as noted down elsewhere; it must still be on the chain."),
    ] = None,
) -> None:
    """Check the whole chain, and print its head: note it down elsewhere. The status is 1 if it is broken or held."""
    place = Home(home)
    with told_plainly(), _opened(place) as ledger:
        try:
            count = ledger.chain.verify(None if head is None else _head(head))
        except ChainBroken as error:
            raise LedgerError(
                f"{error} Keep a copy for an inquiry, and restore the file from a backup."
            ) from None
        say(f"{count} entries, and the chain holds.")
        say("head: {}:{}".format(*ledger.chain.head()))
        held = ledger.held()
        if held is not None:
            raise LedgerError(f"The ledger is held. {held}")


@app.command()
def accept(
    reason: Annotated[str, typer.Option(help="Why the ledger goes on although entries are lost.")],
    spent: Annotated[
        list[str] | None,
        typer.Option(
            help="DATASET=EPSILON that the lost entries have cost at most; once for each dataset with a budget."
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Go on with a ledger that is held. The serials that are lost stay empty, and are noted with the reason."""
    place = Home(home)
    with told_plainly():
        place.check()
        policy = place.load_config()
        if not reason.strip():
            raise LedgerError("Give a reason: whoever reads the ledger later has nothing else to go by.")
        costs = dict(_cost(text, policy) for text in spent or [])
        _say_it_of_every_budget(costs, policy)
        with open_ledger(place) as ledger, Journal(place.journal_path) as journal:
            entry = ledger.accept(reason.strip(), costs)
            event = {"ledger": "accepted", "by": this_user(), "serial": entry.serial, **entry.said}
            journal.append(EntryKind.EVENT, event)
            first, until = entry.said["missing"]
            lost = (
                f"entries {first} to {until} are lost" if until >= first else "no entry is known to be lost"
            )
            say(f"Entry {entry.serial}: {lost}; the ledger goes on.")


@contextmanager
def _opened(place: Home) -> Iterator[Ledger]:
    place.check()
    if not place.ledger_path.exists():
        raise LedgerError(f"There is no ledger {place.ledger_path} yet: this host has booked nothing.")
    with open_ledger(place) as ledger:
        yield ledger


def _of_datasets(ledger: Ledger, policy: Config) -> Table:
    """Every dataset that is offered, or that something was booked on."""
    found = table("dataset", "budget", "spent", "left", "delta", "runs", "row counts")
    booked = {entry.dataset for entry in ledger.chain.entries() if entry.dataset}
    for name in sorted(booked | set(policy.datasets)):
        offer = policy.datasets.get(name)
        budget = None if offer is None else dataset_budget(offer)
        delta = _DEFAULT_DELTA if offer is None else offer.delta
        entries = ledger.booked(dataset=name)
        runs = sum(entry.kind == "reserved" for entry in entries)
        figures = _figures(ledger.spent(delta, dataset=name), budget, delta)
        add_row(found, name, *figures, str(runs), str(len(entries) - runs))
    return found


def _of_grants(ledger: Ledger, policy: Config, place: Home) -> Table:
    found = table("grant", "dataset", "budget", "spent", "left", "delta", "runs")
    grants = {entry.grant: entry.dataset for entry in ledger.chain.of("reserved")}
    with Journal(place.journal_path) as journal, GrantStore(place.grants_path, journal) as known:
        for digest, dataset in grants.items():
            held, offer = known.find(digest), policy.datasets.get(dataset)
            budget = None
            if held is not None and offer is not None:
                budget = grant_budget(held.request, held.limits.epsilon_micro, offer)
            delta = budget.delta if budget is not None else _DEFAULT_DELTA if offer is None else offer.delta
            runs = len(ledger.booked(grant=digest))
            covered = "?" if held is None else str(held.limits.releases)
            figures = _figures(ledger.spent(delta, grant=digest), budget, delta)
            add_row(found, short(digest), dataset, *figures, f"{runs} of {covered}")
    return found


def _of_entries(entries: list[Entry]) -> Table:
    found = table("entry", "time", "kind", "subject", "what")
    for entry in entries:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.at))
        subject = entry.subject if entry.kind == "counted" else short(entry.subject)
        add_row(found, str(entry.serial), at, entry.kind, subject, _what(entry))
    return found


def _what(entry: Entry) -> str:
    said = entry.said
    match entry.kind:
        case "reserved" | "counted":
            return f"{entry.dataset}: {'; '.join(from_json(values).title for values in said['mechanisms'])}"
        case "released":
            return f"run {short(said['run'])}, answer {short(said['answer'])}"
        case "accepted":
            return f"lost: {said['missing'][0]} to {said['missing'][1]}; {said['reason']}"
        case _:
            return f"{entry.dataset}: the run ended without an answer"


def _figures(spent: int | None, budget: Budget | None, delta: float) -> tuple[str, str, str, str]:
    """Budget, spent, left and delta as text."""
    total = "none" if budget is None else _shown(budget.epsilon_micro)
    left = (
        "-" if budget is None else _shown(max(0, budget.epsilon_micro - spent)) if spent is not None else "0"
    )
    return total, "without a bound" if spent is None else _shown(spent), left, f"{delta:.2g}"


def _shown(micro: int) -> str:
    return f"{micro / MICRO:.6g}"


def _head(text: str) -> Head:
    serial, colon, digest = text.partition(":")
    if not (colon and serial.isdecimal() and len(digest) == 64):
        raise LedgerError(f"{text!r} is no head. Give it as `ledger verify` has printed it: SERIAL:DIGEST.")
    return Head(int(serial), digest)


def _say_it_of_every_budget(costs: Mapping[str, int], policy: Config) -> None:
    """What is lost has cost something, and nobody else can say what: a budget does not begin anew by a mere reason."""
    budgets = (name for name, offer in policy.datasets.items() if dataset_budget(offer) is not None)
    missing = [name for name in budgets if name not in costs]
    if missing:
        raise LedgerError(
            f"Say what the lost entries have cost at most: --spent {missing[0]}=EPSILON, or 0 where nothing was "
            f"released (datasets with a budget: {', '.join(missing)})."
        )


def _cost(text: str, policy: Config) -> tuple[str, int]:
    name, equals, number = text.partition("=")
    known: Mapping[str, object] = policy.datasets
    try:
        epsilon = Fraction(number)
    except (ValueError, ZeroDivisionError):
        epsilon = Fraction(-1)
    if not equals or name not in known or epsilon < 0:
        datasets = ", ".join(known) or "none"
        raise LedgerError(f"{text!r} is no cost. Give DATASET=EPSILON, as logs=1.5 (datasets: {datasets}).")
    return name, math.ceil(epsilon * MICRO)
