"""Texts of the domain on a page: what they name as a command is shown as one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from django import template
from django.utils.dateformat import format as formatted
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

register: Final = template.Library()


@register.filter
def with_commands(text: object) -> SafeString:
    """The text, escaped, with what stands between backticks as code. What is markup already stays as it is."""
    if isinstance(text, SafeString):
        return text
    parts = re.split(r"`([^`\n]+)`", str(text))
    shown = (format_html("<code>{}</code>" if at % 2 else "{}", part) for at, part in enumerate(parts))
    return format_html_join("", "{}", ((part,) for part in shown))


@register.filter
def in_fours(secret: str) -> str:
    """A secret in groups of four characters, as people type them."""
    return " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))


@register.filter
def moment(text: str) -> str:
    """A moment in ISO 8601, as people read it."""
    return formatted(datetime.fromisoformat(text).astimezone(UTC), "j F Y, H:i") + " UTC"
