"""What the tables of `owner.toml` are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from fedcore.wire.encoding import Name


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
