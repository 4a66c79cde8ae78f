"""Text that somebody else wrote, in one line of one's own."""

from __future__ import annotations

import pytest

from fedcore.wire.text import one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zoë  Müller", "Zoë Müller"),
        ("Paul\n\nYour account expires.", "Paul Your account expires."),
        ("tab\there\r\nand\u2028there", "tab here and there"),
        ("\x1b[31mred\x9b2J\x07\x7f", "[31mred2J"),
        ("a\u202eb\u2066c\u200ed\u061ce", "abcde"),
        ("\udc80", ""),
        ("👩\u200d🔬", "👩\u200d🔬"),
        (7, "7"),
    ],
)
def test_the_text_stays_in_its_line_and_only_says_what_it_says(text: object, shown: str) -> None:
    assert one_line(text) == shown
