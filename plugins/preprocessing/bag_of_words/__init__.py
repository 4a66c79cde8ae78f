"""How often each entry of a vocabulary occurs in a row."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fedcore.plugin_api import Indices, Matrix, Options, PreprocessingStep, ValueKind


class BagOfWordsOptions(Options):
    norm: Annotated[
        Literal["none", "l2"], Field(description="l2: each row is scaled to length 1; none: counts stay")
    ] = "l2"


class BagOfWords(PreprocessingStep[BagOfWordsOptions]):
    """Column `c` counts the entry with number `c + 1`, so the matrix is as wide as the vocabulary is large."""

    name = "bag_of_words"
    version = "1"
    summary = "Counts the entries of a vocabulary, one column each."
    Options = BagOfWordsOptions
    takes = ValueKind.INDICES
    gives = ValueKind.MATRIX

    def apply(self, value: Indices) -> Matrix:
        """The matrix: columns in rising order within a row."""
        from fedcore.plugin_api.sparse import matrix_of_codes

        columns = np.arange(value.size, dtype=np.int32) << 1
        return matrix_of_codes(value.numbers - 1, value.offsets, columns, value.size, self.options.norm)

    @classmethod
    def warm(cls) -> None:
        import fedcore.plugin_api.sparse  # noqa: F401
