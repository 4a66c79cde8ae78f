"""What the header of every page shows of a person's notices."""

from __future__ import annotations

from typing import Any

from django import template

from fedcore.coordinator.governance import notices

register = template.Library()


@register.simple_tag(takes_context=True)
def unread_notices(context: Any) -> int:
    """How many notices the person who looks has not read."""
    return notices.unread(context["request"])
