"""What the catalogue says of a dataset besides title and description: a table of `owner.toml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from fedcore.owner.sections import DataFile, Section
from fedcore.wire.catalogue import Sensitivity
from fedcore.wire.encoding import Name, Prose, Remark


class CatalogueEntry(Section):
    """Terms, contact and columns as the catalogue shows them, and the mock sample. None of it is a permission."""

    licence: Remark = Field(default="", description="the licence of the data, such as CC BY-NC 4.0")
    terms: Annotated[Prose, Field(max_length=4000)] = Field(
        default="", description="the terms of use, as scientists read them"
    )
    sensitivity: Sensitivity = Field(
        default=Sensitivity.CONFIDENTIAL,
        description="public, internal, confidential, or special (special categories of personal data)",
    )
    price: Remark = Field(default="", description="what the data is worth, or what its use costs")
    contact: Remark = Field(default="", description="whom scientists ask about the data")
    columns: dict[Name, Remark] = Field(
        default_factory=dict, description="what a column holds, in a line, by the column's name"
    )
    mock: Literal["generated", "file", "none"] = Field(
        default="generated",
        description="whether the rows that scientists develop on are generated from the schema, never from rows, or "
        "are those of mock_files, or there are none",
    )
    mock_files: tuple[DataFile, ...] = Field(
        default=(),
        description='with mock = "file": the files whose rows are published; see that none of them is real',
    )

    @field_validator("mock_files")
    @classmethod
    def _files_are_named_where_they_are_used(
        cls, files: tuple[DataFile, ...], info: ValidationInfo
    ) -> tuple[DataFile, ...]:
        if files and info.data.get("mock") != "file":
            raise ValueError(
                'Files for the mock sample are read with mock = "file" only. Write it, or remove them.'
            )
        return files

    @property
    def has_files(self) -> bool:
        """Whether the mock sample comes from files that the owner has named."""
        return self.mock == "file"
