"""How pages look: pictures of them for people, and what can be measured: that texts fit, and that they can be read.

Pictures are taken only where `FEDCORE_SCREENSHOTS` names a folder: each page for a desk and for a phone, by day and by
night.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

DESKTOP: Final = {"width": 1280, "height": 900}
PHONE: Final = {"width": 390, "height": 844}
VARIABLE: Final = "FEDCORE_SCREENSHOTS"
LOOKS: Final = tuple(
    (f"{device}-{scheme}", size, scheme)
    for device, size in (("desktop", DESKTOP), ("phone", PHONE))
    for scheme in ("light", "dark")
)

_FAINT: Final = (Path(__file__).parent / "faint_texts.js").read_text()
"""The visible texts with too little contrast (WCAG 2.2, 1.4.3: 4.5, and 3 for large ones), each with its ratio."""
_CUT_OFF: Final = """
() => [...document.querySelectorAll("td, th, dd, p, li")]
  .filter((one) => one.checkVisibility() && getComputedStyle(one).overflowY === "hidden")
  .filter((one) => one.scrollHeight > one.clientHeight + 1)
  .map((one) => one.innerText.trim().slice(0, 60))
"""
"""The texts of cells and paragraphs that are higher than what is shown of them."""

_WIDE_LISTS: Final = """
() => [...document.querySelectorAll("#result_list")]
  .map((table) => table.closest(".simplebar-content-wrapper") ?? table.parentElement)
  .map((frame) => frame.scrollWidth - frame.clientWidth)
  .filter((excess) => excess > 0)
"""
"""By how many pixels each list is wider than its frame, in which it then scrolls."""


def look_at(page: Any, name: str, *, whole: bool = True) -> list[str]:
    """What is wrong with the page as it is now, in any of its looks; and pictures of it, where they are wanted.

    `whole`: with what is below the window's edge.
    """
    folder, found = os.environ.get(VARIABLE), []
    for look in each_look(page):
        if excess := _excess(page):
            found.append(f"{name}, {look}: {excess} pixels wider than its window")
        if not look.startswith("phone"):  # There, lists may scroll.
            found += [f"{name}, {look}: a list is {e} pixels too wide" for e in page.evaluate(_WIDE_LISTS)]
        found += [f"{name}, {look}: too faint: {text}" for text in page.evaluate(_FAINT)]
        found += [f"{name}, {look}: cut off: {text}" for text in page.evaluate(_CUT_OFF)]
        if folder:
            path = Path(folder) / f"{name.replace(' ', '-')}.{look}.png"
            page.screenshot(path=path, full_page=whole, animations="disabled")
    return found


def each_look(page: Any) -> Iterator[str]:
    """The page in each look in turn; afterwards it is as it was."""
    before = page.viewport_size
    page.add_style_tag(content="*, ::before, ::after { transition: none !important; }")
    for look, size, scheme in LOOKS:
        _show(page, size, scheme, scheme)
        yield look
    _show(page, before, "light", "auto")


def _show(page: Any, size: Any, scheme: Any, theme: str) -> None:
    """The theme looks at the system's scheme only when a page is loaded, so the person's choice is set, too."""
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    page.evaluate("name => window.Alpine?.$data(document.documentElement).switchTheme(name)", theme)
    _settle(page)


def _settle(page: Any) -> None:
    """Wait until the page has taken in a new size or scheme: the theme's scripts do so in the frame after."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def _excess(page: Any) -> int:
    """By how many pixels the page is wider than its window."""
    wide: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wide
