"""JSON messages with a fixed schema: parsed strictly, and refused with a code instead of repaired.

The order of the checks matters: the size is known before a byte is parsed, depth and number ranges are
checked while the text is read, and only then does a schema see the values. Unknown fields, repeated
names, NaN and infinity are errors. There is no compression, and nothing in a message names a class.
"""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedcore.wire.codes import RefusalCode

MAXIMUM_MESSAGE_BYTES: Final = 2 * 1024 * 1024
MAXIMUM_DEPTH: Final = 32
LARGEST_INTEGER: Final = 2**53 - 1
_DIGITS_OF_LARGEST_INTEGER: Final = len(str(LARGEST_INTEGER))

PublicKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
"""A 32-byte public key (Ed25519 or X25519) in unpadded URL-safe base64."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 digest in lower-case hexadecimal."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]
"""A name for datasets, plugins and options: lower case, digits, `_`, `.` and `-`, at most 63 characters."""
_REORDERING: Final = r"\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""What no text for people holds: further control characters, separators of lines, and what changes the direction."""
ONE_LINE: Final = rf"^[^\x00-\x1f{_REORDERING}]*$"
LINES: Final = rf"^[^\x00-\x08\x0b\x0c\x0e-\x1f{_REORDERING}]*$"
Label = Annotated[str, Field(min_length=1, max_length=200, pattern=ONE_LINE)]
"""A short text for people, without control characters."""
Remark = Annotated[str, Field(max_length=200, pattern=ONE_LINE)]
"""A short text for people, or none."""
Prose = Annotated[str, Field(pattern=LINES)]
"""A longer text for people: lines and tabs, and no other control characters."""
Seconds = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
"""A moment as whole seconds since 1970-01-01 UTC."""

_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""An escaped NUL character: after an even number of backslashes. Databases refuse it inside texts."""
_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""A whole string, to the end of the text where it is not closed, or a bracket outside of strings.

A string that is not closed must match too: were it skipped, the search would begin anew at every quotation mark
inside it, and the time would grow with the square of the length.
"""


class WireError(ValueError):
    """A message that was refused. `code` may leave the host; `detail` is for the host's own log."""

    def __init__(self, code: RefusalCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Message(BaseModel):
    """A frozen message with a fixed schema. Subclasses declare fields; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, data: bytes | str, limit: int = MAXIMUM_MESSAGE_BYTES) -> Self:
        """Read a message of this type from UTF-8 JSON.

        Raises `WireError` with `too_large`, `malformed` or `unknown_field`.
        """
        text = check_json(data, limit)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise WireError(_code_of(error), f"{cls.__name__}: {_summary(error)}") from None

    def encode(self) -> str:
        """The JSON text of this message, as it is signed and stored."""
        return self.model_dump_json()


def check_json(data: bytes | str, limit: int = MAXIMUM_MESSAGE_BYTES) -> str:
    """Return `data` as text if it is one JSON value within all limits, else raise `WireError`."""
    if len(data) > limit:
        raise WireError(RefusalCode.TOO_LARGE, f"{len(data)} bytes exceed the limit of {limit}")
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
    except UnicodeDecodeError:
        raise WireError(RefusalCode.MALFORMED, "not UTF-8") from None
    _check_depth(text)
    if _NUL.search(text):
        raise WireError(RefusalCode.MALFORMED, "a string has a NUL character")
    try:
        json.loads(
            text,
            object_pairs_hook=_without_repeated_names,
            parse_constant=_refuse_constant,
            parse_int=_bounded_integer,
            parse_float=_finite_number,
        )
    except WireError:
        raise
    except (ValueError, RecursionError) as error:
        raise WireError(RefusalCode.MALFORMED, f"not JSON: {error}") from None
    return text


def _check_depth(text: str) -> None:
    depth = 0
    for found in _BRACKETS.finditer(text):
        character = text[found.start()]
        depth += (character in "[{") - (character in "]}")
        if depth > MAXIMUM_DEPTH:
            raise WireError(RefusalCode.MALFORMED, f"nested deeper than {MAXIMUM_DEPTH} levels")


def _without_repeated_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise WireError(RefusalCode.MALFORMED, "an object repeats a name")
    return found


def _refuse_constant(constant: str) -> float:
    raise WireError(RefusalCode.MALFORMED, f"{constant} is not a number in a message")


def _bounded_integer(digits: str) -> int:
    if len(digits) > _DIGITS_OF_LARGEST_INTEGER + 1 or abs(int(digits)) > LARGEST_INTEGER:
        raise WireError(RefusalCode.MALFORMED, "an integer is outside ±(2^53 - 1)")
    return int(digits)


def _finite_number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise WireError(RefusalCode.MALFORMED, "a number is not finite")
    return number


def _code_of(error: ValidationError) -> RefusalCode:
    kinds = {problem["type"] for problem in error.errors(include_url=False, include_input=False)}
    return RefusalCode.UNKNOWN_FIELD if "extra_forbidden" in kinds else RefusalCode.MALFORMED


def _summary(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'message'}: {p['msg']}" for p in problems)
