"""Features hashed into a fixed number of columns."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fedcore.plugin_api import Matrix, Options, PreprocessingStep, Pseudonyms, ValueKind


class HashColumnsOptions(Options):
    columns: Annotated[int, Field(ge=2, le=4_194_304, description="The width of the matrix")] = 4096
    signed: Annotated[
        bool,
        Field(description="Whether half of the tokens count as -1, so that collisions cancel on average"),
    ] = True
    norm: Annotated[
        Literal["none", "l2"], Field(description="l2: each row is scaled to length 1; none: counts stay")
    ] = "l2"


class HashColumns(PreprocessingStep[HashColumnsOptions]):
    """A token's number gives its column and sign; a row has the sum of its tokens in each column.

    Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009. With a backend whose key
    the owners hold, columns and signs are keyed too: which tokens collide differs from run to run.
    """

    name = "hash_columns"
    version = "1"
    summary = "Counts tokens in a fixed number of columns, chosen by hash."
    Options = HashColumnsOptions
    takes = ValueKind.PSEUDONYMS
    gives = ValueKind.MATRIX

    def apply(self, value: Pseudonyms) -> Matrix:
        """The matrix: columns in rising order within a row, sums that cancel to 0 left out."""
        from fedcore.plugin_api.sparse import matrix_of_codes

        # The low half chooses the column, the top bit the sign, so that the two are independent.
        low = value.ids & np.uint64(0xFFFFFFFF)
        columns = ((low * np.uint64(self.options.columns)) >> np.uint64(32)).astype(np.int32)
        signs = (value.ids >> np.uint64(63)).astype(np.int32) * np.int32(self.options.signed)
        return matrix_of_codes(
            value.codes, value.offsets, columns << 1 | signs, self.options.columns, self.options.norm
        )

    @classmethod
    def warm(cls) -> None:
        import fedcore.plugin_api.sparse  # noqa: F401
