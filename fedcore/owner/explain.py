"""What every setting of an `owner.toml` means, line by line, for the person who answers for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from pydantic import BaseModel

from fedcore.owner.config import Config
from fedcore.owner.config_problems import models_in, place_of

_SECRET: Final = re.compile(r"pass(word|phrase|wd)|secret|token|key|credential", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """One setting: where it stands, its value as TOML would show it, and what it means.

    `is_default` says that the file does not have it.
    """

    place: str
    value: str
    meaning: str
    is_default: bool


def explain(config: Config) -> list[Line]:
    """Every setting of the policy, in the order of the file's sections."""
    return list(_lines(config, ()))


def _lines(table: BaseModel, location: tuple[int | str, ...]) -> Iterator[Line]:
    for name, field in type(table).model_fields.items():
        value, place = getattr(table, name), (*location, name)
        inner = list(_tables(value)) if any(models_in(field.annotation)) else []
        if inner:
            for key, part in inner:
                yield from _lines(part, place if key is None else (*place, key))
        else:
            is_default = name not in table.model_fields_set
            yield Line(place_of(place), _shown(value), field.description or "", is_default)


def _tables(value: Any) -> Iterator[tuple[int | str | None, BaseModel]]:
    if isinstance(value, BaseModel):
        yield None, value
    elif isinstance(value, dict):
        yield from value.items()
    else:
        yield from enumerate(value)


def _shown_under(name: str, value: Any) -> str:
    """The value of an option; one that is a secret by its name is not for a screen, nor for who gets a copy."""
    return "(hidden)" if _SECRET.search(name) else _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return f"[{', '.join(_shown(item) for item in value)}]" if value else "none"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {_shown_under(key, item)}' for key, item in value.items())}}}"
    if value is None:
        return "any"
    return f'"{value}"' if isinstance(value, str) else str(value)
