"""A preprocessing step: how long a row is, as one more word of the row."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from fedcore.plugin_api import Options, PreprocessingStep, Text, ValueKind


class LengthBucketOptions(Options):
    """Options of `length_bucket`."""

    width: Annotated[int, Field(ge=1, le=65_536, description="How many bytes of length share a bucket")] = 32
    buckets: Annotated[
        int, Field(ge=2, le=100, description="How many buckets; the last holds all longer rows")
    ] = 16


class LengthBucket(PreprocessingStep[LengthBucketOptions]):
    """Appends a space and the word `lengthN` to each row; N is its length in bytes over `width`, rounded down."""

    name = "length_bucket"
    version = "1"
    summary = "Adds a word to each row that says how long the row is."
    Options = LengthBucketOptions
    takes = ValueKind.TEXT
    gives = ValueKind.TEXT

    def apply(self, value: Text) -> Text:
        lengths = np.diff(value.offsets)
        buckets = np.minimum(lengths // self.options.width, self.options.buckets - 1)
        words = [b" length%d" % number for number in range(self.options.buckets)]
        return Text.from_rows(row + words[number] for row, number in zip(value, buckets, strict=True))
