"""Text that somebody else wrote, for a line of a terminal, a notice or a mail.

What it cannot do there: begin a line of its own, move the cursor, change colours, or turn the direction of a text.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_BIDIRECTIONAL: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def one_line(text: object) -> str:
    """The text in one line: white space becomes one space each, and control characters are left out."""
    spaced = "".join(" " if character.isspace() else character for character in str(text))
    return " ".join("".join(filter(is_plain, spaced)).split())


def is_plain(character: str) -> bool:
    """Whether a character is neither a control character, nor one that turns the direction of text."""
    return unicodedata.category(character) not in ("Cc", "Cs") and character not in _BIDIRECTIONAL
