"""`fedcore-owner attack`: what protected rows of an own dataset, or a model of it, would give away."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fedcore.owner.console import HomeOption, add_row, errors, say, say_lines, show_table, table, told_plainly
from fedcore.owner.home import DEFAULT_HOME, Home
from fedcore.plugin_api.attacks.figures import AttackFigure, PrivacyAudit

_HOW_TO_READ = (
    "Each number is from 0 to 1. Half of the rows were attacked, by somebody who knows the other half; whoever knows "
    "more may find more. Where an attack fails on unprotected rows too, it shows nothing."
)


def attack(
    dataset: Annotated[str, typer.Argument(help="The dataset's name in owner.toml.")],
    home: HomeOption = DEFAULT_HOME,
    pipeline: Annotated[
        str, typer.Option(help="How rows become tokens: words, or char_ngrams (pieces of 1 to 3 characters).")
    ] = "words",
    backend: Annotated[str, typer.Option(help="How tokens are protected.")] = "keyed_tokens",
    minimum_count: Annotated[
        int | None, typer.Option(min=1, help="Tokens in fewer rows than this become one common token.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="A column that the pipeline takes, once for each.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, max=200_000, help="How many rows are read at most.")] = 20_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Attack an own dataset as an observer of its protected rows would, and tell what that gives away.

    Everything happens on this host: nothing leaves it, and nothing is booked.
    """
    place = Home(home)
    with told_plainly():
        place.check()
        from fedcore.owner.attacking import Wish, attack

        wish = Wish(dataset, pipeline, backend, minimum_count, tuple(column or ()), rows)
        found = attack(place, wish, lambda told: say(f"{told} …", to=errors))
        if as_json:
            say_lines(json.dumps(found.to_json(), indent=2))
        else:
            _show(found)


def _show(found: PrivacyAudit) -> None:
    options = ", ".join(f"{name} {value}" for name, value in found.options.items())
    say(f"{found.dataset}: {found.rows} rows, {found.pipeline}, {found.backend}{options and f' ({options})'}")
    shown = table("attack", "figure", "found", "unprotected", "guessing", "what it means")
    for figure in found.figures:
        add_row(shown, *_cells(figure))
    show_table(shown)
    say(_HOW_TO_READ)


def _cells(figure: AttackFigure) -> tuple[str, ...]:
    numbers = (f"{number:.3f}" for number in (figure.found, figure.control, figure.chance))
    details = "".join(f"; {name}: {value:.3f}" for name, value in figure.details.items())
    return (
        figure.attack,
        figure.figure,
        *numbers,
        ("" if figure.works else "shows nothing here: ") + figure.meaning + details,
    )
