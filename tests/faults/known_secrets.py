"""What must not be found, and how it could be spelled where it is found."""

from __future__ import annotations

import base64
import html
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes

_FEWEST: Final = 8
"""Bytes of a spelling. Less would be found by chance."""

_PACKED: Final = re.compile(rb"eJ[\w-]{10,}")
"""Base64 of zlib's output, as Django packs what it signs."""


def spellings(raw: bytes) -> set[bytes]:
    """The bytes themselves, and how programs print them, also in the middle of something longer."""
    url_safe = bytes.maketrans(b"+/", b"-_")
    middles = set(_in_base64(raw))
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), base64.b32encode(raw).rstrip(b"=")}
    found |= middles | {one.translate(url_safe) for one in middles}
    found |= {
        repr(raw).encode()[2:-1],
        quote_from_bytes(raw).encode(),
        quote_from_bytes(raw, safe="").encode(),
    }
    text = raw.decode("latin-1")
    found |= {json.dumps(text)[1:-1].encode(), html.escape(text).encode()}
    return {one for one in found if len(one) >= _FEWEST}


def _in_base64(raw: bytes) -> Iterator[bytes]:
    """The letters that stand for these bytes alone, whatever comes before and after them."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + raw).rstrip(b"=")
        # A letter has six bits: the first and the last may belong to a neighbour too.
        yield whole[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]


def layers(content: bytes) -> bytes:
    """The content, and what is packed within it."""
    unpacked = [content]
    for match in _PACKED.finditer(content):
        letters = match.group()
        try:
            unpacked.append(zlib.decompress(base64.urlsafe_b64decode(letters + b"=" * (-len(letters) % 4))))
        except (ValueError, zlib.error):
            continue  # It only looked like it.
    return b"\0".join(unpacked)


@dataclass
class Secrets:
    """What must not be found, by what it is; `of` names the organisation where it may lie, if there is one."""

    known: dict[str, set[bytes]] = field(default_factory=dict)
    of: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, secret: bytes | str, organisation: str = "") -> None:
        raw = secret.encode() if isinstance(secret, str) else secret
        assert len(raw) >= _FEWEST, what
        self.known.setdefault(what, set()).update(spellings(raw))
        if organisation:
            self.of[what] = organisation

    def add_file(self, path: Path, organisation: str) -> None:
        """The content of a secret file."""
        self.add(str(path), path.read_bytes().strip(), organisation)

    def found_in(self, content: bytes) -> set[str]:
        whole = layers(content)
        return {what for what, spelled in self.known.items() if any(one in whole for one in spelled)}
