"""Mistakes in `owner.toml`, told to the person who edits it: place, rule and fix, all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails


@dataclass(frozen=True)
class Problem:
    """One mistake: where it stands, which rule it breaks, and what to do."""

    place: str
    rule: str
    fix: str

    def __str__(self) -> str:
        return f"{self.place}: {self.rule}. {self.fix}."


class ConfigError(Exception):
    """An `owner.toml` that is no policy. `problems` has every mistake; nothing runs until they are corrected."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Every mistake of a failed validation against `model`, one for each place."""
    found: dict[str, Problem] = {}
    for details in error.errors(include_url=False, include_context=False):
        if details["type"] == "too_short" and details["input"]:
            continue  # It has entries, all of them wrong, and each is told by itself.
        problem = _problem(details, model)
        before = found.get(problem.place)
        rule = problem.rule if before is None else f"{before.rule}; or: {problem.rule}"
        found[problem.place] = Problem(problem.place, rule, problem.fix)
    return list(found.values())


def place_of(location: Sequence[int | str]) -> str:
    """How a person finds a setting: `[coordinator] key`, `[[peers]] 2: card`, `[datasets.logs] files 1: path`."""
    match list(location):
        case ["datasets", str(name), "ceilings", *rest]:
            return f"[datasets.{name}.ceilings] {_words(rest)}".strip()
        case ["datasets", str(name), *rest]:
            return f"[datasets.{name}] {_words(rest)}".strip()
        case [("scientists" | "peers" | "plugins") as table, int(number), *rest]:
            return f"[[{table}]] {number + 1}: {_words(rest)}".rstrip(": ")
        case [("coordinator" | "reference" | "dealer" | "worker") as table, *rest]:
            return f"[{table}] {_words(rest)}".strip()
        case _:
            return _words(location)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The tables that a setting of this type has, in a list or directly."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def _words(location: Sequence[int | str]) -> str:
    words = [f"{part + 1}:" if isinstance(part, int) else str(part) for part in location]
    return " ".join(words).rstrip(":")


@dataclass(frozen=True)
class _Setting:
    """Where an error lies in the file: the path, the settings that its table has, and the setting if it exists."""

    path: tuple[int | str, ...]
    siblings: tuple[str, ...]
    field: FieldInfo | None

    @property
    def meaning(self) -> str:
        described = self.field is not None and self.field.description
        return f"It is {described}" if described else "`fedcore-owner check` explains every setting"


def _setting_at(model: type[BaseModel], location: Sequence[int | str]) -> _Setting:
    inside: Any = model
    path: list[int | str] = []
    siblings: tuple[str, ...] = ()
    field: FieldInfo | None = None
    for part in location:
        if isinstance(inside, type) and issubclass(inside, BaseModel):
            siblings = tuple(inside.model_fields)
            field = inside.model_fields.get(str(part))
            inside = None if field is None else field.annotation
        elif get_origin(inside) in (Union, UnionType):
            continue  # The name of an alternative stands in no file.
        else:
            inside = next(models_in(inside), None)
        path.append(part)
    return _Setting(tuple(path), siblings, field)


def _problem(details: ErrorDetails, model: type[BaseModel]) -> Problem:
    setting = _setting_at(model, details["loc"])
    place = place_of(setting.path)
    match details["type"]:
        case "extra_forbidden":
            return Problem(
                place, "there is no such setting", _nearest(str(setting.path[-1]), setting.siblings)
            )
        case "missing":
            return Problem(place, "this setting is required and missing", f"Add it. {setting.meaning}")
        case "value_error":
            rule, _, fix = details["msg"].removeprefix("Value error, ").rstrip(".").partition(". ")
            return Problem(place, rule, fix or setting.meaning)
        case _:
            rule = f"{details['msg']}, and here it is {_shown(details['input'])}"
            return Problem(place, rule, f"Correct it. {setting.meaning}")


def _nearest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    if near:
        return f"Did you mean `{near[0]}`? Otherwise remove it"
    return f"Remove it; the settings here are {', '.join(known)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
