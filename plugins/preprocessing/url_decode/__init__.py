"""Percent escapes as the bytes that they stand for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fedcore.plugin_api import Options, PreprocessingStep, Text, ValueKind


class UrlDecodeOptions(Options):
    times: Annotated[
        int, Field(ge=1, le=5, description="How often to decode: attackers escape the percent sign itself")
    ] = 1
    plus: Annotated[bool, Field(description="Whether a plus sign is a space, as forms write it")] = False


class UrlDecode(PreprocessingStep[UrlDecodeOptions]):
    """`%41` becomes `A` (RFC 3986, section 2.1); what is no escape, such as `%zz`, stays."""

    name = "url_decode"
    version = "1"
    summary = "Decodes percent escapes."
    Options = UrlDecodeOptions
    takes = ValueKind.TEXT
    gives = ValueKind.TEXT

    def apply(self, value: Text) -> Text:
        from fedcore.plugin_api.text import url_decoded

        return url_decoded(value, self.options.times, self.options.plus)

    @classmethod
    def warm(cls) -> None:
        import fedcore.plugin_api.text  # noqa: F401
