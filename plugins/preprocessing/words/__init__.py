"""Words."""

from __future__ import annotations

import string
from functools import cached_property
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from fedcore.plugin_api import Options, PreprocessingStep, Text, Tokens, ValueKind


class WordsOptions(Options):
    keep: Annotated[
        str, Field(max_length=32, description="Punctuation marks that belong to words, such as _ or -")
    ] = ""

    @field_validator("keep")
    @classmethod
    def _only_punctuation(cls, keep: str) -> str:
        if not set(keep) <= set(string.punctuation):
            raise ValueError(f"only marks among {string.punctuation} can be kept")
        return keep


class Words(PreprocessingStep[WordsOptions]):
    """The longest runs of ASCII letters, digits, bytes from 0x80 on, and the marks to keep."""

    name = "words"
    version = "1"
    summary = "Splits text into words: runs of letters and digits."
    Options = WordsOptions
    takes = ValueKind.TEXT
    gives = ValueKind.TOKENS

    def apply(self, value: Text) -> Tokens:
        from .kernels import words_of

        return words_of(value, self._in_words)

    @cached_property
    def _in_words(self) -> NDArray[np.bool_]:
        table = np.zeros(256, np.bool_)
        table[0x80:] = True
        table[[ord(letter) for letter in string.ascii_letters + string.digits + self.options.keep]] = True
        return table

    @classmethod
    def warm(cls) -> None:
        from . import kernels  # noqa: F401
