"""All addresses of a URL configuration, as patterns: `api/requests/<digest:digest>`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from django.urls import URLResolver, get_resolver

_EXPRESSION: Final = re.compile(r"\(\?P<(\w+)>[^)]*\)")
_PARAMETER: Final = re.compile(r"<(?:\w+:)?(\w+)>")


def addresses(urlconf: str | None = None) -> list[str]:
    """The patterns, in the order in which they are tried."""
    return list(_walk(get_resolver(urlconf), ""))


def _walk(resolver: Any, before: str) -> Iterator[str]:
    for entry in resolver.url_patterns:
        pattern = before + _EXPRESSION.sub(r"<\1>", str(entry.pattern)).strip("^$")
        if isinstance(entry, URLResolver):
            yield from _walk(entry, pattern)
        else:
            yield pattern


def address_of(pattern: str, key: str, **more: str) -> str:
    """The address with `key` for every parameter that `more` does not give."""
    return "/" + _PARAMETER.sub(lambda found: more.get(found.group(1), key), pattern)
