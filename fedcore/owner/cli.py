"""`fedcore-owner`: set up, check and run an owner's host, and use what its runs have trained."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from fedcore.owner.asking import EXPLANATION, ceilings_asked, ceilings_given
from fedcore.owner.attack_cli import attack
from fedcore.owner.ceilings import Ceilings
from fedcore.owner.checkup import check_host, remarks
from fedcore.owner.config import Config
from fedcore.owner.config_problems import ConfigError
from fedcore.owner.console import HomeOption, add_row, errors, say, say_lines, show_table, table, told_plainly
from fedcore.owner.explain import explain
from fedcore.owner.grants_cli import app as grants_app
from fedcore.owner.home import DEFAULT_HOME, Home
from fedcore.owner.installed import allowed_registry
from fedcore.owner.journal_cli import app as journal_app
from fedcore.owner.ledger_cli import app as ledger_app
from fedcore.owner.outbox_cli import app as outbox_app
from fedcore.owner.template import UNKNOWN, template

app = typer.Typer(
    help="An owner's host: it decides who may do what with the data that lies here.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(grants_app, name="grants")
app.add_typer(outbox_app, name="outbox")
app.add_typer(journal_app, name="journal")
app.add_typer(ledger_app, name="ledger")
app.command()(attack)


@app.command()
def init(
    home: HomeOption = DEFAULT_HOME,
    organisation: Annotated[str, typer.Option(help="Who owns the data of this host.")] = UNKNOWN,
    coordinator: Annotated[str, typer.Option(help="The coordinator's address.")] = UNKNOWN,
    coordinator_key: Annotated[str, typer.Option(help="The coordinator's public signing key.")] = UNKNOWN,
    operator: Annotated[str, typer.Option(help="Who operates the coordinator.")] = UNKNOWN,
    ceiling: Annotated[
        list[str] | None,
        typer.Option(
            help="A ceiling, NAME=VALUE, once for each: purposes=research, protocols=local,pooled, releases=10 …"
        ),
    ] = None,
) -> None:
    """Make the directory, the keys and a commented owner.toml, and print the host's card.

    At a terminal it asks for the ceilings within which grants take effect at once; without an answer, none does.
    """
    place = Home(home)
    with told_plainly():
        is_new = not place.config_path.exists()
        ceilings = _ceilings(ceiling or [], ask=is_new and _at_a_terminal())
        place.create()
        _print_card(place)
        place.split_key  # noqa: B018  (made on first use)
        text = template(organisation, coordinator, coordinator_key, operator, ceilings)
        try:
            with place.config_path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            say(f"{place.config_path} exists and stays as it is.")
        else:
            say(f"Wrote {place.config_path}: edit it, then run `fedcore-owner check`.")


@app.command()
def card(home: HomeOption = DEFAULT_HOME) -> None:
    """Print the host's card, which the other owners and the coordinator pin, and its fingerprint."""
    place = Home(home)
    with told_plainly():
        place.check()
        _print_card(place)


@app.command()
def check(home: HomeOption = DEFAULT_HOME) -> None:
    """Explain every line of owner.toml, and tell every mistake at once. The status is 1 if there is one."""
    place = Home(home)
    with told_plainly():
        place.check()
        policy = place.load_config()
        _print_explanation(policy)
        problems = check_host(place, policy)
        for problem in problems:
            say_lines(str(problem), to=errors)
        if problems:
            raise typer.Exit(1)
        for remark in remarks(allowed_registry(policy, place.path), policy):
            say(remark)
        say("No mistakes were found.")


@app.command()
def run(home: HomeOption = DEFAULT_HOME) -> None:
    """Run the host until it is stopped: agent, workers, and an embedded broker unless BROKER_URL is set."""
    place = Home(home)
    with told_plainly():
        place.check()
        place.load_config()
        from fedcore.owner.service import run as run_host

        run_host(place)


@app.command()
def predict(
    run: Annotated[str, typer.Option("--run", help="The run whose model is used; its first digits suffice.")],
    path: Annotated[Path, typer.Argument(help="A file in the form that the run's dataset has.")],
    home: HomeOption = DEFAULT_HOME,
    into: Annotated[
        Path | None, typer.Option("--out", help="Where the scores go; without it, to the screen.")
    ] = None,
) -> None:
    """Score the lines of an own file with the model of a finished run. Nothing leaves this host."""
    place = Home(home)
    with told_plainly():
        place.check()
        from fedcore.owner.prediction import predict as predict_lines

        predict_lines(place, run, path, into)


def main() -> None:
    """The command `fedcore-owner`. Files that it makes are for this user alone."""
    os.umask(0o077)
    app()


def _ceilings(options: list[str], ask: bool) -> Ceilings:
    """What was given as options, or is asked for now. Mistakes are told before anything is made."""
    try:
        if options or not ask:
            return ceilings_given(options)
        say(EXPLANATION)
        return ceilings_asked(_asked)
    except ConfigError as error:
        raise typer.BadParameter(" ".join(map(str, error.problems)), param_hint="--ceiling") from None


def _asked(question: str, default: str) -> str:
    answer: str = typer.prompt(question, default=default, show_default=bool(default))
    return answer


def _at_a_terminal() -> bool:
    return sys.stdin.isatty()


def _print_card(place: Home) -> None:
    sys.stdout.write(f"{place.card}\n")
    say(f"fingerprint: {place.card.fingerprint}")


def _print_explanation(policy: Config) -> None:
    found = table("setting", "value", "what it means")
    for line in explain(policy):
        style = "dim" if line.is_default else ""
        add_row(found, line.place, line.value, line.meaning, style=style)
    show_table(found)


if __name__ == "__main__":
    main()
