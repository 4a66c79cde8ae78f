"""Character n-grams: every piece of one to three bytes of a text."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from fedcore.plugin_api import Options, PreprocessingStep, Text, Tokens, ValueKind


class CharNgramsOptions(Options):
    minimum: Annotated[int, Field(ge=1, le=3, description="The fewest bytes in a piece")] = 1
    maximum: Annotated[int, Field(ge=1, le=3, description="The most bytes in a piece")] = 3

    @model_validator(mode="after")
    def _in_order(self) -> CharNgramsOptions:
        if self.minimum > self.maximum:
            raise ValueError("minimum is at most maximum")
        return self


class CharNgrams(PreprocessingStep[CharNgramsOptions]):
    """All pieces of `minimum` to `maximum` bytes of each row, by the byte that they end at, shorter ones first.

    Renaming such pieces hides little (see the backend `keyed_tokens`), so an owner's policy allows this step by
    name, or not at all.
    """

    name = "char_ngrams"
    version = "1"
    summary = "Cuts text into overlapping pieces of 1 to 3 bytes."
    Options = CharNgramsOptions
    takes = ValueKind.TEXT
    gives = ValueKind.TOKENS
    shows_characters = True

    def apply(self, value: Text) -> Tokens:
        from .kernels import ngrams_of

        return ngrams_of(value, self.options.minimum, self.options.maximum)

    @classmethod
    def warm(cls) -> None:
        from . import kernels  # noqa: F401
