"""What an owner tells of a dataset before anybody may use it: its schema, its terms, and rows that are made up.

A mock sample is for developing a pipeline on. Its rows are generated from the schema on the owner's host, unless the
owner has named a file of their own for it; either way none of the dataset's rows is read for it. It travels as
columns of text, so that whoever receives it needs no reader.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, model_validator

from fedcore.wire.encoding import Digest, Message, Name

MAXIMUM_MOCK_BYTES: Final = 256 * 1024
"""The most bytes in a mock sample, as JSON."""

MAXIMUM_MOCK_ROWS: Final = 10_000


class Sensitivity(StrEnum):
    """How much harm it would do if the rows became known, by their owner's judgement.

    `special` stands for the special categories of personal data of the GDPR, article 9: health, say.
    """

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    SPECIAL = "special"


class ColumnKind(StrEnum):
    """What a column holds. An `identifier` names a person or a machine: a user, an address."""

    TEXT = "text"
    CATEGORY = "category"
    NUMBER = "number"
    TIME = "time"
    IDENTIFIER = "identifier"


class MockRef(Message):
    """A mock sample by the SHA-256 of its bytes."""

    digest: Digest
    size: Annotated[int, Field(ge=1, le=MAXIMUM_MOCK_BYTES)]


class MockSample(Message):
    """Made-up rows of a dataset's schema: the cells of each column, and the class number of each row.

    Bytes that are no UTF-8, and NUL, stand as U+FFFD.
    """

    columns: Annotated[dict[Name, tuple[str, ...]], Field(min_length=1, max_length=256)]
    classes: Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)]
    labels: Annotated[
        tuple[Annotated[int, Field(ge=0, le=63)], ...], Field(min_length=1, max_length=MAXIMUM_MOCK_ROWS)
    ]

    @model_validator(mode="after")
    def _consistent(self) -> MockSample:
        if {len(cells) for cells in self.columns.values()} != {len(self.labels)}:
            raise ValueError("A mock sample has one cell in each column, and one label, for every row.")
        if max(self.labels) >= len(self.classes):
            raise ValueError("A label of a mock sample is the number of one of its classes.")
        return self
