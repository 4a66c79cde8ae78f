"""Punctuation taken out."""

from __future__ import annotations

import string
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from fedcore.plugin_api import Options, PreprocessingStep, Text, ValueKind


class StripPunctuationOptions(Options):
    replacement: Annotated[
        Literal["space", "nothing"], Field(description="What stands in place of each punctuation mark")
    ] = "space"
    keep: Annotated[str, Field(max_length=32, description="Punctuation marks that stay")] = ""

    @field_validator("keep")
    @classmethod
    def _only_punctuation(cls, keep: str) -> str:
        if not set(keep) <= set(string.punctuation):
            raise ValueError(f"only marks among {string.punctuation} can be kept")
        return keep


class StripPunctuation(PreprocessingStep[StripPunctuationOptions]):
    """The 32 punctuation marks of ASCII become spaces, or vanish; all other bytes stay."""

    name = "strip_punctuation"
    version = "1"
    summary = "Takes ASCII punctuation out, or puts spaces in its place."
    Options = StripPunctuationOptions
    takes = ValueKind.TEXT
    gives = ValueKind.TEXT

    def apply(self, value: Text) -> Text:
        from fedcore.plugin_api.text import mapped, without

        if self.options.replacement == "nothing":
            return without(value, self._stripped)
        spaces = np.arange(256, dtype=np.uint8)
        spaces[self._stripped] = ord(" ")
        return mapped(value, spaces)

    @cached_property
    def _stripped(self) -> NDArray[np.bool_]:
        marks = np.zeros(256, np.bool_)
        marks[[ord(mark) for mark in set(string.punctuation) - set(self.options.keep)]] = True
        return marks

    @classmethod
    def warm(cls) -> None:
        import fedcore.plugin_api.text  # noqa: F401
