"""Some columns of the records as one text."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fedcore.plugin_api import InvalidOptions, Options, PreprocessingStep, Records, Text, ValueKind


class FieldsOptions(Options):
    names: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=63)]],
        Field(min_length=1, max_length=16, description="The columns to take, in order"),
    ]
    separator: Annotated[str, Field(max_length=8, description="What stands between two columns")] = " "


class Fields(PreprocessingStep[FieldsOptions]):
    """Each row's columns `names`, one after the other with `separator` between them."""

    name = "fields"
    version = "1"
    summary = "Takes some columns of the records as one text."
    Options = FieldsOptions
    takes = ValueKind.RECORDS
    gives = ValueKind.TEXT

    def apply(self, value: Records) -> Text:
        """The text. Raises `InvalidOptions` for a column that the records do not have."""
        from fedcore.plugin_api.text import joined

        missing = [name for name in self.options.names if name not in value.columns]
        if missing:
            known = ", ".join(value.columns)
            raise InvalidOptions(self.name, {"names": f"no column {', '.join(missing)}; there are: {known}"})
        columns = [value.columns[name] for name in self.options.names]
        return joined(columns, self.options.separator.encode())

    @classmethod
    def warm(cls) -> None:
        import fedcore.plugin_api.text  # noqa: F401
