"""Rows of one length."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fedcore.plugin_api import Indices, Options, PreprocessingStep, Sequence, ValueKind


class PadOptions(Options):
    length: Annotated[int, Field(ge=1, le=65_536, description="The length of every row")] = 250
    side: Annotated[Literal["left", "right"], Field(description="Where the zeros go in a shorter row")] = (
        "left"
    )


class Pad(PreprocessingStep[PadOptions]):
    """A shorter row is filled with 0 on one side; of a longer row the first `length` numbers stay."""

    name = "pad"
    version = "1"
    summary = "Fills or cuts every row to one length."
    Options = PadOptions
    takes = ValueKind.INDICES
    gives = ValueKind.SEQUENCE

    def apply(self, value: Indices) -> Sequence:
        length = self.options.length
        kept = np.minimum(np.diff(value.offsets), length)
        ends = np.cumsum(kept)
        within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - kept, kept)
        rows = np.repeat(np.arange(len(value)), kept)
        shift = np.repeat(length - kept, kept) if self.options.side == "left" else 0
        ids = np.zeros((len(value), length), np.int32)
        ids[rows, within + shift] = value.numbers[np.repeat(value.offsets[:-1], kept) + within]
        return Sequence(ids, value.size)
