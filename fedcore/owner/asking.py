"""Asking the owner for ceilings, at the terminal or as options, when a host is set up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, get_origin

from pydantic import ValidationError

from fedcore.owner.ceilings import Ceilings
from fedcore.owner.config_problems import ConfigError, Problem, problems_of

EXPLANATION: Final = (
    "Ceilings: how far a grant may go to take effect as soon as it is approved at the coordinator. What goes beyond "
    "waits until a person on this host confirms it. With no purpose, every grant waits. Names are separated by commas."
)


def ceilings_given(options: Sequence[str]) -> Ceilings:
    """The ceilings of options such as `releases=10` and `protocols=local,pooled`. Raises `ConfigError`."""
    answers = {}
    for option in options:
        name, found, value = option.partition("=")
        if not found:
            raise ConfigError(
                [Problem("--ceiling", f"{option!r} has no value", "Write NAME=VALUE, as releases=10")]
            )
        answers[name.strip()] = value
    return _validated(answers)


def ceilings_asked(ask: Callable[[str, str], str]) -> Ceilings:
    """The ceilings that a person answers with. `ask` takes a question and what stands for no answer.

    Raises `ConfigError`.
    """
    answers: dict[str, str] = {}
    for name, field in Ceilings.model_fields.items():
        answers[name] = ask(f"{name}: {field.description}", _shown(field.default))
        if name == "purposes" and not answers[name].strip():
            break
    return _validated(answers)


def _validated(answers: dict[str, str]) -> Ceilings:
    values = {name: _value(name, text) for name, text in answers.items()}
    try:
        return Ceilings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(problems_of(error, Ceilings)) from None


def _value(name: str, text: str) -> Any:
    """The text as the setting's type has it; what is none of it stays a text, which is then a mistake."""
    field, text = Ceilings.model_fields.get(name), text.strip()
    if field is None:
        return text
    if get_origin(field.annotation) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(field.default, bool):
        return {"true": True, "yes": True, "false": False, "no": False}.get(text.lower(), text)
    try:
        return int(text) if field.annotation is int else float(text)
    except ValueError:
        return text


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "true" if default else "false"
    return "" if default == () else f"{default:g}"
