"""What the sections of `owner.toml` are made of."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fedcore.wire.encoding import Name

_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00")

Flag = Annotated[bool, Field(strict=True)]


def whole(minimum: int, maximum: int) -> Any:
    """A whole number within these bounds."""
    return Field(strict=True, ge=minimum, le=maximum)


def _check_hours(text: str) -> str:
    start, _, end = text.partition("-")
    if not all(_TIME.fullmatch(time) for time in (start, end)) or start == end:
        raise ValueError(f"{text!r} is no time of day. Write it from-to in UTC, such as 08:00-18:00.")
    return text


Hours = Annotated[str, AfterValidator(_check_hours)]


class Section(BaseModel):
    """A table of the file. Frozen; a setting that it does not have is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataFile(Section):
    """One file of a dataset."""

    path: Annotated[str, Field(min_length=1)] = Field(
        description="where the file lies; a relative path counts from the folder of owner.toml"
    )
    label: Name | None = Field(
        default=None, description="the class of all rows of the file, where it holds one class only"
    )
