"""How the host and a confined process talk: frames of named arrays and texts, in the safetensors format.

A frame is its length (8 bytes) and its bytes. Nothing is pickled; what arrives is parsed as hostile input. Every
frame has the text `call` (what is asked, or `done`, `error`) and may have `facts`, one JSON value.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from numpy.typing import NDArray

from fedcore.plugin_api.arrays import pack_arrays, unpack_arrays
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError, check_json

DONE: Final = "done"
ERROR: Final = "error"
_LENGTH: Final = 8
_MOST_FACTS: Final = 512 * 1024


class PipeClosed(Exception):
    """The other side has ended."""


@dataclass(frozen=True)
class Frame:
    """One message. `texts` are those of a value beside it; `facts` is any JSON value."""

    call: str
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    facts: Any = None

    def part(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """The arrays and texts whose names begin with `name` and a hyphen, without it."""
        head = f"{name}-"
        return _beginning(self.arrays, head), _beginning(self.texts, head)


def named(
    name: str, arrays: Mapping[str, NDArray[Any]], texts: Mapping[str, str] | None = None
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays and texts as the part `name` of a frame."""
    return (
        {f"{name}-{key}": array for key, array in arrays.items()},
        {f"{name}-{key}": text for key, text in (texts or {}).items()},
    )


def send(descriptor: int, frame: Frame) -> None:
    """Write a frame. Raises `PipeClosed`."""
    texts = {**frame.texts, "call": frame.call, "facts": json.dumps(frame.facts, allow_nan=False)}
    data = memoryview(pack_arrays(frame.arrays, texts))
    try:
        _write(descriptor, memoryview(len(data).to_bytes(_LENGTH, "little")))
        _write(descriptor, data)
    except (BrokenPipeError, ConnectionResetError):
        raise PipeClosed from None


def receive(descriptor: int, limit: int) -> Frame:
    """Read a frame of at most `limit` bytes.

    Raises `PipeClosed`, and `WireError` (`artefact_invalid`, `too_large`) for what is no frame.
    """
    length = int.from_bytes(_read(descriptor, _LENGTH), "little")
    if length > limit:
        raise WireError(RefusalCode.TOO_LARGE, f"{length} bytes exceed the limit of {limit}")
    arrays, texts = unpack_arrays(_read(descriptor, length), limit)
    call, text = texts.pop("call", ""), texts.pop("facts", "null")
    return Frame(call, arrays, texts, json.loads(check_json(text, _MOST_FACTS)))


def _beginning(found: Mapping[str, Any], head: str) -> dict[str, Any]:
    return {name.removeprefix(head): value for name, value in found.items() if name.startswith(head)}


def _write(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _read(descriptor: int, length: int) -> bytes:
    parts: list[bytes] = []
    left = length
    while left:
        try:
            part = os.read(descriptor, min(left, 1 << 20))
        except ConnectionResetError:
            raise PipeClosed from None
        if not part:
            raise PipeClosed
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
